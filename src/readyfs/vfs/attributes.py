"""What stat(2) sees, and for how long the kernel may believe it (V9)."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from mmap import PAGESIZE
from typing import Final, NamedTuple

from readyfs.partition import NOT_SET
from readyfs.vfs.file_times import FileTimes
from readyfs.vfs.inode_number import InodeNumber
from readyfs.vfs.nodes import Node

FOREVER_S: Final = 10 * 365 * 86400.0
"""Below a sealed run nothing ever changes; the kernel clips timeouts to its own maximum."""
NEGATIVE_TIMEOUT_S: Final = 2.0
BLOCK_BYTES: Final = 512
"""The unit of st_blocks, whatever st_blksize is (stat(2))."""
IO_BYTES: Final = 128 * 1024
"""st_blksize: what a tool should read at a time."""
BROKEN_FILE_BYTES: Final = PAGESIZE
"""The size of a broken file: whole pages and not empty, so that nobody takes it for read unread (decision 0026)."""
_EPOCH_ORDINAL: Final = 719163
_DAY_NS: Final = 86_400_000_000_000


class Attributes(NamedTuple):
    """The attributes of one node; size in bytes, time in nanoseconds since the epoch (mtime, ctime and atime alike)."""

    inode: InodeNumber
    mode: int
    size: int
    time_ns: int
    uid: int
    gid: int

    @property
    def blocks(self) -> int:
        """st_blocks: ceil(size / 512)."""
        return -(-self.size // BLOCK_BYTES)


class Entry(NamedTuple):
    """A name's answer: its node, its attributes, and how many seconds the kernel may keep each."""

    node: Node
    attributes: Attributes
    entry_timeout_s: float
    attr_timeout_s: float


class NegativeEntry(NamedTuple):
    """There is no such name, and the kernel may remember that for so many seconds (0: not at all)."""

    timeout_s: float


@dataclass(frozen=True, slots=True)
class Presentation:
    """How nodes look: fixed by settings for the life of the mount."""

    uid: int
    gid: int
    file_mode: int = 0o444
    dir_mode: int = 0o555
    name_timeout_s: float = 60.0
    xattrs: bool = True
    file_times: FileTimes = FileTimes.RAW

    @property
    def negative_timeout_s(self) -> float:
        """How long the kernel may remember that a name above a run is absent."""
        return min(NEGATIVE_TIMEOUT_S, self.name_timeout_s)

    def directory(self, inode: InodeNumber, time_ns: int) -> Attributes:
        """Return a directory's attributes."""
        mode = stat.S_IFDIR | self.dir_mode
        return tuple.__new__(Attributes, (inode, mode, 0, time_ns if time_ns > 0 else 0, self.uid, self.gid))

    def link(self, inode: InodeNumber, size: int, time_ns: int) -> Attributes:
        """Return a symbolic link's attributes; size in bytes of its target."""
        return Attributes(inode, stat.S_IFLNK | 0o777, size, time_ns if time_ns > 0 else 0, self.uid, self.gid)

    def manifest(self, inode: InodeNumber, size: int, time_ns: int) -> Attributes:
        """Return a manifest's attributes: who may not list a directory may not read its manifest either."""
        mode = stat.S_IFREG | (self.file_mode & self.dir_mode)
        return Attributes(inode, mode, size, time_ns if time_ns > 0 else 0, self.uid, self.gid)

    def file(self, inode: InodeNumber, size: int, time_ns: int) -> Attributes:
        """Return a regular file's attributes."""
        mode = stat.S_IFREG | self.file_mode
        return tuple.__new__(Attributes, (inode, mode, size, time_ns if time_ns > 0 else 0, self.uid, self.gid))


def date_time_ns(updated_at_ns: int, date: int) -> int:
    """Return a date directory's time: its row's `updated_at`, or midnight UTC of the date where there is none."""
    return updated_at_ns if updated_at_ns != NOT_SET else max((date - _EPOCH_ORDINAL) * _DAY_NS, 0)
