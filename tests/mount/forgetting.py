"""Having the kernel forget the names of one mount, and nothing of any other."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Final

# include/uapi/linux/mount.h
_MS_RDONLY: Final = 1
_MS_NOSUID: Final = 2
_MS_NODEV: Final = 4
_MS_NOEXEC: Final = 8
_MS_REMOUNT: Final = 32

_libc: Final = ctypes.CDLL(None, use_errno=True)


def drop_names(mountpoint: Path) -> None:
    """Have the kernel drop every name, inode and page of a mount that nobody uses.

    A remount does that for one file system (`reconfigure_super` calls `shrink_dcache_sb`, fs/super.c), where
    `/proc/sys/vm/drop_caches` would do it for the whole machine, other tests' mounts included. It changes no flag.
    """
    flags = _MS_REMOUNT | _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    if _libc.mount(None, os.fsencode(mountpoint), None, ctypes.c_ulong(flags), None):
        raise OSError(ctypes.get_errno(), "remount", os.fspath(mountpoint))
