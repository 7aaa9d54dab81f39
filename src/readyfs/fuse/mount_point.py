"""The mount point: is it fit to be mounted on, and how a mount on it ends.

Each refusal is one line that names the thing and the remedy. Nothing here looks below a mount: what is mounted is
learned from the mount table, and only whether one of ours is dead is asked, with a time limit.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shlex
import shutil
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from readyfs.errors import FuseError, MountPointError
from readyfs.fuse.mount_table import (
    Mount,
    is_alive,
    mount_containing,
    mounts_at,
    read_mount_table,
    resolve_mount_point,
)
from readyfs.privileges import Capability, has_capability
from readyfs.text import escape_text

# include/uapi/linux/mount.h and fs.h, umount2(2).
_MNT_DETACH: Final = 2
_UMOUNT_NOFOLLOW: Final = 8

_FUSERMOUNT: Final = "fusermount3"
_FUSERMOUNT_TIMEOUT_S: Final = 10.0
_MOST_DEAD_MOUNTS: Final = 64

_libc: Final = ctypes.CDLL(None, use_errno=True)


class MountBusyError(MountPointError):
    """An ordinary unmount was refused because something is still in use below the mount point."""


@dataclass(frozen=True, slots=True)
class Reserved:
    """A path of our own that a mount point must not touch, and what it is, e.g. "raw root"."""

    path: Path
    what: str


def prepare_mount_point(path: Path, reserved: Sequence[Reserved]) -> None:
    """Clear what a dead readyfs left at the mount point, then make sure that it can be mounted on.

    Raises `MountPointError` if something is mounted there, if it is missing, a symbolic link, not a directory, not
    empty or not ours to use, and if it is, holds or lies in one of the `reserved` paths (links and bind mounts
    resolved).
    """
    place = resolve_mount_point(path)
    _clear_dead(place)
    check_mount_point(place, reserved)


def check_mount_point(place: Path, reserved: Sequence[Reserved]) -> None:
    """Raise what `prepare_mount_point` raises, at a resolved mount point, and change nothing."""
    _refuse_mounted(place)
    _refuse_unfit(place)
    for item in reserved:
        check_overlap(place, item)
    _refuse_not_empty(place)


def check_overlap(place: Path, item: Reserved) -> None:
    """Raise `MountPointError` if a resolved mount point is, holds or lies in a path of our own."""
    real = Path(os.path.realpath(item.path))
    table = read_mount_table()
    for ours, theirs in ((place, real), (_location(table, place), _location(table, real))):
        if ours == theirs:
            relation = "is"
        elif ours.is_relative_to(theirs):
            relation = "lies inside"
        elif theirs.is_relative_to(ours):
            relation = "would hide"
        else:
            continue
        raise MountPointError(
            f"mount point {_show(place)} {relation} the {item.what} {_show(item.path)}",
            f"choose a mount point apart from the {item.what}",
        )


def check_fuse(
    privileged: bool,
    allow_other: bool,
    *,
    device: Path = Path("/dev/fuse"),
    fusermount: str = _FUSERMOUNT,
    fuse_conf: Path = Path("/etc/fuse.conf"),
) -> None:
    """Raise `FuseError` if this machine cannot give us a FUSE mount.

    `privileged` says that we mount ourselves (CAP_SYS_ADMIN); otherwise the set-uid helper does, and it must be
    installed and, for `allow_other`, permitted by fuse.conf(5).
    """
    _check_device(device)
    if privileged:
        return
    if shutil.which(fusermount) is None:
        raise FuseError(
            f"{fusermount} is not installed, and without it only root can mount",
            "install Debian's package fuse3 (apt-get install fuse3)",
        )
    if allow_other and not permits_allow_other(fuse_conf):
        raise FuseError(
            f"allow-other is not permitted to ordinary users by {fuse_conf}",
            f"add the line 'user_allow_other' to {fuse_conf}, or use --no-allow-other",
        )


def permits_allow_other(fuse_conf: Path) -> bool:
    """Tell whether fuse.conf(5) lets an ordinary user's mount be read by others."""
    try:
        text = fuse_conf.read_bytes()
    except OSError:
        return False  # fusermount3 reads a missing or unreadable file as one that permits nothing
    return any(line.partition(b"#")[0].strip() == b"user_allow_other" for line in text.splitlines())


def unmount(path: Path) -> None:
    """Unmount the readyfs at `path`, without waiting for whoever uses it.

    Raises `MountBusyError` while it is in use, and `MountPointError` if no readyfs is mounted there or the kernel
    refuses.
    """
    _end_mount(path, lazy=False)


def detach(path: Path) -> None:
    """Take the readyfs at `path` out of the tree at once; what is open there goes on until it is closed.

    Raises `MountPointError` if no readyfs is mounted there or the kernel refuses.
    """
    _end_mount(path, lazy=True)


def _show(path: Path) -> str:
    return escape_text(os.fsencode(path))


def _quote(path: Path) -> str:
    """Return a path as one word for a shell."""
    return escape_text(os.fsencode(shlex.quote(os.fspath(path))))


def _clear_dead(place: Path) -> None:
    for _ in range(_MOST_DEAD_MOUNTS):
        stack = mounts_at(place)
        if not stack or not stack[-1].is_readyfs or is_alive(stack[-1]):
            return
        detach(place)
        structlog.get_logger("readyfs.mount").warning(
            "cleared a dead mount", mountpoint=_show(place), source=escape_text(stack[-1].source)
        )


def _refuse_mounted(place: Path) -> None:
    stack = mounts_at(place)
    if not stack:
        return
    top = stack[-1]
    if top.is_readyfs:
        raise MountPointError(
            f"readyfs is already mounted at {_show(place)}", f"end it with: readyfs umount {_quote(place)}"
        )
    raise MountPointError(
        f"{escape_text(top.fs_type)} ({escape_text(top.source)}) is already mounted at {_show(place)}",
        "choose another mount point" if place == Path("/") else "choose another mount point, or unmount that first",
    )


def _refuse_unfit(place: Path) -> None:
    try:
        mode = place.lstat().st_mode
        target = place.readlink() if stat.S_ISLNK(mode) else None
    except FileNotFoundError:
        raise MountPointError(
            f"mount point {_show(place)} does not exist", f"create it with: mkdir -p {_quote(place)}"
        ) from None
    except OSError as error:
        raise _unreadable(place, error) from None
    if target is not None:
        raise MountPointError(
            f"mount point {_show(place)} is a symbolic link to {_show(target)}", "give the directory that it points to"
        )
    if not stat.S_ISDIR(mode):
        raise MountPointError(f"mount point {_show(place)} is not a directory", "give an empty directory")
    # fusermount3 demands this, and says so less clearly; mount(2) does not.
    if not has_capability(Capability.SYS_ADMIN) and not os.access(place, os.W_OK, effective_ids=True):
        raise MountPointError(
            f"mount point {_show(place)} is not writable for you", "give an empty directory of your own"
        )


def _refuse_not_empty(place: Path) -> None:
    try:
        with os.scandir(place) as found:
            first = next(found, None)
    except OSError as error:
        raise _unreadable(place, error) from None
    if first is not None:
        raise MountPointError(
            f"mount point {_show(place)} is not empty (it holds {escape_text(os.fsencode(first.name))})",
            "give an empty directory",
        )


def _unreadable(place: Path, error: OSError) -> MountPointError:
    return MountPointError(
        f"mount point {_show(place)} cannot be looked at ({error.strerror})", "check its parent directories"
    )


def _location(table: Sequence[Mount], path: Path) -> Path:
    """Return where a path lies on its file system, as `MAJOR:MINOR/path`: the same for all bind mounts of it."""
    mount = mount_containing(table, path)
    if mount is None:
        return path
    major, minor = mount.device
    return Path(f"{major}:{minor}", mount.root.relative_to("/"), path.relative_to(mount.mount_point))


def _check_device(device: Path) -> None:
    try:
        if not stat.S_ISCHR(device.stat().st_mode):
            raise FuseError(f"{device} is not a device", "remove it and run: mknod -m 666 /dev/fuse c 10 229")
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        raise FuseError(
            f"{device} does not exist",
            "load the kernel module (modprobe fuse), or give the container --device /dev/fuse",
        ) from None
    except PermissionError as error:
        raise FuseError(
            f"{device} cannot be opened ({error.strerror})",
            "let this user (or container) read and write the device, or mount as root",
        ) from None
    except OSError as error:
        raise FuseError(
            f"{device} cannot be opened ({error.strerror})", "load the kernel module (modprobe fuse)"
        ) from None


def _end_mount(path: Path, *, lazy: bool) -> None:
    place = resolve_mount_point(path)
    stack = mounts_at(place)
    if not stack:
        raise MountPointError(
            f"nothing is mounted at {_show(place)}", "see readyfs status for the mounts that are there"
        )
    if not stack[-1].is_readyfs:
        raise MountPointError(
            f"what is mounted at {_show(place)} is {escape_text(stack[-1].fs_type)}, not readyfs",
            "use umount(8) for it",
        )
    if has_capability(Capability.SYS_ADMIN):
        _umount2(place, lazy=lazy)
        return
    uid, _ = stack[-1].owner
    if uid != os.geteuid():  # fusermount3 says that there is no such mount
        raise MountPointError(f"{_show(place)} was mounted by user {uid}", "unmount it as that user, or as root")
    _run_fusermount(place, lazy=lazy)


def _umount2(place: Path, *, lazy: bool) -> None:
    flags = _UMOUNT_NOFOLLOW | (_MNT_DETACH if lazy else 0)
    if _libc.umount2(ctypes.c_char_p(os.fsencode(place)), ctypes.c_int(flags)) == 0:
        return
    code = ctypes.get_errno()
    if code == errno.EBUSY:
        raise _busy(place)
    raise MountPointError(f"cannot unmount {_show(place)} ({os.strerror(code)})", "see umount(2) for the reason")


def _run_fusermount(place: Path, *, lazy: bool) -> None:
    command = [_FUSERMOUNT, "-u", *(["-z"] if lazy else []), "--", os.fspath(place)]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_FUSERMOUNT_TIMEOUT_S,
            env={**os.environ, "LC_ALL": "C"},
            check=False,
        )
    except FileNotFoundError:
        raise FuseError(f"{_FUSERMOUNT} is not installed", "install Debian's package fuse3") from None
    except subprocess.TimeoutExpired:
        raise MountPointError(
            f"{_FUSERMOUNT} did not unmount {_show(place)} within {_FUSERMOUNT_TIMEOUT_S:g} s",
            "try again, or unmount as root",
        ) from None
    if done.returncode == 0:
        return
    said = escape_text(done.stderr.strip().removeprefix(f"{_FUSERMOUNT}: ".encode()))
    if "busy" in said:
        raise _busy(place)
    raise MountPointError(f"cannot unmount {_show(place)} ({said})", "unmount as the user who mounted it, or as root")


def _busy(place: Path) -> MountBusyError:
    return MountBusyError(f"{_show(place)} is in use", "end the processes that use it, or detach it lazily")
