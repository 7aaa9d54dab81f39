"""Ending a mount of ours: unmounted while nobody uses it, or detached at once.

By umount2(2) where we may, else through fusermount3. Nothing here looks below the mount: what is mounted is learned
from the mount table.
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path
from typing import Final

from readyfs.errors import MountPointError
from readyfs.fuse.fusermount import FUSERMOUNT, FUSERMOUNT_TIMEOUT_S, run_fusermount
from readyfs.fuse.mount_table import mounts_at, resolve_mount_point
from readyfs.privileges import Capability, has_capability
from readyfs.text import escape_text

# include/uapi/linux/mount.h and fs.h, umount2(2).
_MNT_DETACH: Final = 2
_UMOUNT_NOFOLLOW: Final = 8

_libc: Final = ctypes.CDLL(None, use_errno=True)


class MountBusyError(MountPointError):
    """An ordinary unmount was refused because something is still in use below the mount point."""


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
    _fusermount(place, lazy=lazy)


def _umount2(place: Path, *, lazy: bool) -> None:
    flags = _UMOUNT_NOFOLLOW | (_MNT_DETACH if lazy else 0)
    if _libc.umount2(ctypes.c_char_p(os.fsencode(place)), ctypes.c_int(flags)) == 0:
        return
    code = ctypes.get_errno()
    if code == errno.EBUSY:
        raise _busy(place)
    raise MountPointError(f"cannot unmount {_show(place)} ({os.strerror(code)})", "see umount(2) for the reason")


def _fusermount(place: Path, *, lazy: bool) -> None:
    try:
        done = run_fusermount("-u", *(["-z"] if lazy else []), "--", os.fspath(place))
    except TimeoutError:
        raise MountPointError(
            f"{FUSERMOUNT} did not unmount {_show(place)} within {FUSERMOUNT_TIMEOUT_S:g} s",
            "try again, or unmount as root",
        ) from None
    if done.returncode == 0:
        return
    said = escape_text(done.stderr.strip().removeprefix(f"{FUSERMOUNT}: ".encode()))
    if "busy" in said:
        raise _busy(place)
    raise MountPointError(f"cannot unmount {_show(place)} ({said})", "unmount as the user who mounted it, or as root")


def _busy(place: Path) -> MountBusyError:
    return MountBusyError(f"{_show(place)} is in use", "end the processes that use it, or detach it lazily")


def _show(path: Path) -> str:
    return escape_text(os.fsencode(path))
