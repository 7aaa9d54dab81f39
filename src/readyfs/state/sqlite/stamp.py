"""What the kernel tells of a file's identity and content, by statx(2): more than Python's `os.stat` passes on.

Inode numbers are used again, so a file is told from a later one by its time of birth too. Where a filesystem keeps no
such time it is 0, and the number alone must do.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Final, NamedTuple

# linux/stat.h, linux/fcntl.h
_AT_FDCWD: Final = -100
_BASIC_STATS: Final = 0x7FF
_BIRTH: Final = 0x800
_ATTR_MOUNT_ROOT: Final = 0x2000
_FIELDS: Final = struct.Struct("=IIQIIIHxxQQQQ 16x qIxxxx qIxxxx qIxxxx 8x II 112x")
"""struct statx: mask, blksize, attributes, nlink, uid, gid, mode, ino, size, blocks, attributes_mask; atime (left out),
btime, ctime, mtime; rdev (left out), dev."""

_libc: Final = ctypes.CDLL(None, use_errno=True)


class FileStamp(NamedTuple):
    """A file at one moment."""

    device: tuple[int, int]
    inode: int
    birth_ns: int
    size: int
    mtime_ns: int
    ctime_ns: int
    mode: int
    owner: int
    links: int
    is_mount: bool
    """Whether the file itself is mounted at its path, and not a directory above it."""

    @property
    def identity(self) -> tuple[tuple[int, int], int, int]:
        """Which file it is, whatever it holds."""
        return self.device, self.inode, self.birth_ns


def stamp(path: str | bytes) -> FileStamp:
    """Return what is at a path, symbolic links followed; raise `OSError`."""
    buffer = ctypes.create_string_buffer(_FIELDS.size)
    if _libc.statx(_AT_FDCWD, os.fsencode(path), 0, _BASIC_STATS | _BIRTH, buffer) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    mask, _, attributes, links, owner, _, mode, inode, size, _, _, *times, major, minor = _FIELDS.unpack(buffer.raw)
    birth_ns, ctime_ns, mtime_ns = (times[at] * 1_000_000_000 + times[at + 1] for at in (0, 2, 4))
    return FileStamp(
        (major, minor),
        inode,
        birth_ns if mask & _BIRTH else 0,
        size,
        mtime_ns,
        ctime_ns,
        mode,
        owner,
        links,
        bool(attributes & _ATTR_MOUNT_ROOT),
    )
