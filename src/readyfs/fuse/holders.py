"""Who keeps a mount busy, read from /proc without a single request to the mount.

Nothing below the mount point is looked at, because the daemon that would have to answer may be the one that asks, or
may be stuck. Descriptors and directories are matched by mount id (`mnt_id` in proc_pid_fdinfo(5)), which stays true
after a lazy unmount; mappings by the device number of the file system.

What cannot be seen: processes of other users unless we are root, processes outside our pid namespace, threads with a
working directory of their own, and users that are no process (a mount below the mount point, a loop device, swap).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from readyfs.fuse.mount_table import Mount, read_mount_table
from readyfs.text import escape_text

_PROC: Final = Path("/proc")
_MNT_ID: Final = re.compile(rb"^mnt_id:\s*(\d+)", re.MULTILINE)
_DIRECTORIES: Final = (("cwd", "cwd"), ("root", "root"), ("exe", "running program"))


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that keeps a mount in use; `command` is its short name, escaped.

    `how` is "cwd", "root", "running program", "open file" or "mapped file".
    """

    pid: int
    command: str
    how: str


def find_holders(mount: Mount) -> list[Holder]:
    """Return the processes other than this one that use the mount, by process id, each way of use once.

    `mount` may be detached already, if it was read from the table before. Reading another process's mappings waits for
    a lock of its, so call this off the event loop and with a deadline. While it runs it refers to what it finds, so an
    ordinary unmount at that very moment may be refused as busy.
    """
    ids = _MountIds(mount)
    holders: list[Holder] = []
    for pid in sorted(int(entry.name) for entry in os.scandir(_PROC) if entry.name.isdigit()):
        if pid == os.getpid():
            continue
        process = _PROC / str(pid)
        holders.extend(Holder(pid, _command(process), how) for how in _ways_of_use(process, mount, ids))
    return holders


class _MountIds:
    """The ids under which one file system is mounted, for each mount namespace that is met."""

    __slots__ = ("_by_namespace", "_known", "_mount")

    def __init__(self, mount: Mount) -> None:
        self._mount = mount
        self._by_namespace: dict[str, frozenset[int]] = {}
        now = {other.mount_id: other.device for other in read_mount_table()}
        # An id that the table gives to another device was freed and given out again.
        self._known = frozenset({mount.mount_id} if now.get(mount.mount_id, mount.device) == mount.device else ())

    def of(self, process: Path) -> frozenset[int]:
        namespace = str((process / "ns/mnt").readlink())
        ids = self._by_namespace.get(namespace)
        if ids is None:
            table = read_mount_table(process / "mountinfo")
            ids = self._known | {other.mount_id for other in table if other.device == self._mount.device}
            self._by_namespace[namespace] = ids
        return ids


def _ways_of_use(process: Path, mount: Mount, ids: _MountIds) -> Iterator[str]:
    try:
        wanted = ids.of(process)
        for link, how in _DIRECTORIES:
            if _mount_id_of_link(process / link) in wanted:
                yield how
        if any(_mount_id(process / "fdinfo" / fd) in wanted for fd in os.listdir(process / "fdinfo")):
            yield "open file"
        if _maps_device(process, mount.device):
            yield "mapped file"
    except OSError:
        return  # it ended meanwhile, or is not ours to look at: the limit that the module states


def _mount_id_of_link(link: Path) -> int | None:
    """Return the id of the mount that a /proc link leads to.

    An `O_PATH` open of such a link goes straight to the directory: no lookup, no permission question and no open
    reaches the file system. Its text would not do: after a lazy unmount it no longer begins with the mount point.
    """
    try:
        fd = os.open(link, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return None  # a kernel thread has no program, a zombie no directory
    try:
        return _mount_id(Path(f"/proc/self/fdinfo/{fd}"))
    finally:
        os.close(fd)


def _mount_id(fdinfo: Path) -> int | None:
    try:
        found = _MNT_ID.search(fdinfo.read_bytes())
    except FileNotFoundError:
        return None  # closed meanwhile
    return int(found.group(1)) if found else None


def _maps_device(process: Path, device: tuple[int, int]) -> bool:
    wanted = rb"^\S+ \S+ \S+ %02x:%02x " % device
    return re.search(wanted, (process / "maps").read_bytes(), re.MULTILINE) is not None


def _command(process: Path) -> str:
    # Not cmdline: it is read from the process's memory, which can wait for a page of the very mount that hangs.
    try:
        return escape_text((process / "comm").read_bytes().rstrip(b"\n"))
    except OSError:
        return "?"  # it ended meanwhile
