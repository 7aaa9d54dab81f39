"""The kernel's table of mounts: what is mounted where, found out without touching a mount.

`mountpoint(1)`, `stat` and `exists` are wrong about dead FUSE mounts and hang on stuck ones, so everything here is
read from `/proc/self/mountinfo` (proc_pid_mountinfo(5)); only `ask_mount` asks the mount itself, in a child process.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Final

READYFS_TYPE: Final = "fuse.readyfs"
"""The type under which our mounts stand in the table."""

_MOUNTINFO: Final = Path("/proc/self/mountinfo")
_OCTAL: Final = re.compile(rb"\\([0-7]{3})")

ANSWER_TIMEOUT_S: Final = 4.0
"""How long `ask_mount` waits for a mount: with the start of a command, no more than 5 s."""


class Answer(Enum):
    """What a mount says when it is asked."""

    SERVED = "served"
    DEAD = "dead"
    """The kernel says that no daemon serves it (ENOTCONN)."""
    NONE = "none"
    """Its daemon hangs or is stopped, or the machine is very busy. It is not dead."""


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of the mount table.

    `device` is (major, minor), which identifies the file system in every mount namespace; `root` is the directory of
    that file system which is mounted; `super_options` are the file system's own options as opposed to the mount's.
    `propagation` holds the optional fields, such as `shared:1` and `master:2` (mount_namespaces(7)).
    """

    mount_id: int
    parent_id: int
    device: tuple[int, int]
    root: Path
    mount_point: Path
    fs_type: str
    source: str
    options: tuple[str, ...]
    super_options: tuple[str, ...]
    propagation: tuple[str, ...] = ()

    @property
    def is_readyfs(self) -> bool:
        """Whether the mount is one of ours, dead or alive."""
        return self.fs_type == READYFS_TYPE

    @property
    def owner(self) -> tuple[int, int]:
        """The user and group who mounted a FUSE file system (mount.fuse3(8)); root's where the table names none."""
        named = dict(option.partition("=")[::2] for option in self.super_options)
        return int(named.get("user_id", 0)), int(named.get("group_id", 0))


def read_mount_table(table: Path = _MOUNTINFO) -> tuple[Mount, ...]:
    """Return every mount of a process's namespace that its root directory can reach, in the kernel's order.

    `table` is a `mountinfo` file; the default is that of this process. Raises `OSError`.
    """
    return parse_mount_table(table.read_bytes())


def parse_mount_table(text: bytes) -> tuple[Mount, ...]:
    """Parse the text of a `mountinfo` file."""
    return tuple(_parse_line(line) for line in text.split(b"\n") if line)


def mounts_at(path: Path) -> list[Mount]:
    """Return the mounts stacked exactly at `path`, the visible one last; empty if nothing is mounted there.

    `path` must be resolved (`resolve_mount_point`); it is compared as text and never touched. Mounts that another one
    above them hides are left out.
    """
    return stack_at(read_mount_table(), path)


def stack_at(table: Iterable[Mount], path: Path) -> list[Mount]:
    """Do what `mounts_at` says with a table already read."""
    chain = _Chain(table)
    here = [mount for mount in chain.by_id.values() if mount.mount_point == path and chain.is_reachable(mount)]
    return sorted(here, key=chain.depth)


def mount_containing(table: Iterable[Mount], path: Path) -> Mount | None:
    """Return the visible mount on which a resolved absolute path lies, whether or not the path exists."""
    chain = _Chain(table)
    above = {path, *path.parents}
    around = [mount for mount in chain.by_id.values() if mount.mount_point in above and chain.is_reachable(mount)]
    return max(around, key=lambda mount: (len(mount.mount_point.parts), chain.depth(mount)), default=None)


def resolve_mount_point(path: str | Path) -> Path:
    """Return `realpath(parent)/name`: the one spelling of a mount point, found without touching the mount point.

    The parent directories are resolved, so a mount further up that hangs can still hold this up. A path that ends in
    `..` has no name of its own and is resolved whole. Raises `FileNotFoundError` for a relative path where the working
    directory is gone.
    """
    absolute = Path(path).absolute()
    if absolute.name in ("", ".."):
        return Path(os.path.realpath(absolute))
    return Path(os.path.realpath(absolute.parent)) / absolute.name


def ask_mount(mount: Mount, timeout_s: float = ANSWER_TIMEOUT_S) -> Answer:
    """Find out whether a daemon still serves the mount.

    The question (`statvfs(3)`; `stat` is answered from the cache) is asked by a child process, because whoever waits
    for a stuck request cannot be killed. It concerns the visible mount at that place.
    """
    # Whoever only reads the table needs neither, and they are slow to import.
    import subprocess
    import threading

    script = _as_owner(mount) + _ASK
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", script, os.fspath(mount.mount_point)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
    try:
        return Answer.DEAD if child.wait(timeout_s) == errno.ENOTCONN else Answer.SERVED
    except subprocess.TimeoutExpired:
        child.kill()
        # Stuck in the kernel it dies only when the daemon answers or ends; whenever that is, someone must reap it.
        threading.Thread(target=child.wait, name="reap-statvfs", daemon=True).start()
        return Answer.NONE


# Exit codes below 128 are errno values: ENOTCONN is 107.
_ASK: Final = """
import os, sys
try:
    os.statvfs(sys.argv[1])
except OSError as error:
    sys.exit(error.errno)
"""


def _as_owner(mount: Mount) -> str:
    """Return the lines by which root becomes the mount's owner.

    The kernel answers `statvfs` by anyone else with success, dead or alive, where `allow_other` is off
    (fuse_statfs in fs/fuse/inode.c).
    """
    if os.geteuid() != 0 or "allow_other" in mount.super_options:
        return ""
    uid, gid = mount.owner
    return f"import os\nos.setgroups([])\nos.setresgid({gid}, {gid}, {gid})\nos.setresuid({uid}, {uid}, {uid})\n"


class _Chain:
    """Which mounts of a table can be reached by their path, and how deep each lies in the tree of mounts."""

    __slots__ = ("_children", "by_id")

    def __init__(self, table: Iterable[Mount]) -> None:
        self.by_id = {mount.mount_id: mount for mount in table}
        self._children: dict[int, list[Mount]] = {}
        for mount in self.by_id.values():
            self._children.setdefault(mount.parent_id, []).append(mount)

    def parent(self, mount: Mount) -> Mount | None:
        return self.by_id.get(mount.parent_id) if mount.parent_id != mount.mount_id else None

    def ancestry(self, mount: Mount) -> list[Mount]:
        found = [mount]
        while (above := self.parent(found[-1])) is not None and above not in found:
            found.append(above)
        return found

    def depth(self, mount: Mount) -> int:
        return len(self.ancestry(mount))

    def is_reachable(self, mount: Mount) -> bool:
        """Whether no mount on the same parent covers a directory on the way down to this one, at any level."""
        for step in self.ancestry(mount):
            above = set(step.mount_point.parents)
            if any(other.mount_point in above for other in self._children.get(step.parent_id, ())):
                return False
        return True


@lru_cache(maxsize=4096)
def _parse_line(line: bytes) -> Mount:
    # Kept, because the table is read again and again while few of its lines change.
    # Split at single spaces: an empty source leaves an empty field.
    fields = line.split(b" ")
    dash = fields.index(b"-", 6)
    major, _, minor = fields[2].partition(b":")
    return Mount(
        mount_id=int(fields[0]),
        parent_id=int(fields[1]),
        device=(int(major), int(minor)),
        root=Path(_unescape(fields[3])),
        mount_point=Path(_unescape(fields[4])),
        fs_type=_unescape(fields[dash + 1]),
        source=_unescape(fields[dash + 2]),
        options=tuple(_unescape(fields[5]).split(",")),
        super_options=tuple(_unescape(b" ".join(fields[dash + 3 :])).split(",")),
        propagation=tuple(map(_unescape, fields[6:dash])),
    )


def _unescape(field: bytes) -> str:
    return os.fsdecode(_OCTAL.sub(lambda match: bytes([int(match.group(1), 8)]), field))
