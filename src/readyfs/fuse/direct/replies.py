"""Answers as bytes: entries, attributes and listings packed in the kernel's structures."""

from __future__ import annotations

import stat
from typing import Final

from readyfs.fuse.direct.protocol import ATTR_OUT, DIRENT, DIRENT_ALIGNMENT, DIRENTPLUS, ENTRY_OUT
from readyfs.vfs.attributes import IO_BYTES, Attributes, Entry, NegativeEntry

_NS: Final = 1_000_000_000
_PAGE: Final = 4096
_DT_DIR: Final = stat.S_IFDIR >> 12
_NO_ENTRY: Final = (0,) * 22


def _attr(attributes: Attributes) -> tuple[int, ...]:
    """Return struct fuse_attr."""
    seconds, nanoseconds = divmod(attributes.time_ns, _NS)
    return (
        *(attributes.inode, attributes.size, attributes.blocks),
        *(seconds, seconds, seconds, nanoseconds, nanoseconds, nanoseconds),
        *(attributes.mode, 1, attributes.uid, attributes.gid, 0, IO_BYTES, 0),
    )


def _entry(entry: Entry) -> tuple[int, ...]:
    """Return struct fuse_entry_out."""
    valid, valid_ns = _seconds(entry.entry_timeout_s)
    attr_valid, attr_valid_ns = _seconds(entry.attr_timeout_s)
    return (entry.attributes.inode, 0, valid, attr_valid, valid_ns, attr_valid_ns, *_attr(entry.attributes))


def _seconds(timeout_s: float) -> tuple[int, int]:
    whole = int(timeout_s)
    return whole, int((timeout_s - whole) * _NS)


def entry_out(entry: Entry) -> bytes:
    """Return the answer to a LOOKUP that found something."""
    return ENTRY_OUT.pack(*_entry(entry))


def negative_out(entry: NegativeEntry) -> bytes:
    """Return the answer to a LOOKUP whose absence the kernel may remember: inode 0 with a lifetime."""
    valid, valid_ns = _seconds(entry.timeout_s)
    return ENTRY_OUT.pack(0, 0, valid, 0, valid_ns, 0, *_NO_ENTRY[6:])


def attr_out(attributes: Attributes, timeout_s: float) -> bytes:
    """Return the answer to a GETATTR."""
    valid, valid_ns = _seconds(timeout_s)
    return ATTR_OUT.pack(valid, valid_ns, 0, *_attr(attributes))


def direntplus(name: bytes, entry: Entry, position: int) -> bytes:
    """Return one record of a READDIRPLUS whose entry counts as a lookup."""
    attributes = entry.attributes
    record = DIRENTPLUS.pack(*_entry(entry), attributes.inode, position, len(name), attributes.mode >> 12)
    return record + name + b"\0" * (-len(name) % DIRENT_ALIGNMENT)


def dot_direntplus(name: bytes, inode: int, position: int) -> bytes:
    """Return the record of `.` or `..`: no entry, because the kernel counts no lookup for them."""
    record = DIRENTPLUS.pack(*_NO_ENTRY, inode, position, len(name), _DT_DIR)
    return record + name + b"\0" * (-len(name) % DIRENT_ALIGNMENT)


class PageFill:
    """Where the kernel's cached listing ends: it keeps plain records, none across a page (fs/fuse/readdir.c).

    A cached listing whose last page is full to the byte ends early for a reader who began before it was cached.
    """

    def __init__(self) -> None:
        self._used = 0

    def add(self, name: bytes) -> None:
        """Add a record."""
        length = DIRENT.size + len(name)
        length += -length % DIRENT_ALIGNMENT
        self._used = self._used + length if self._used + length <= _PAGE else length

    @property
    def is_exact(self) -> bool:
        """Whether the last page is full to the byte."""
        return self._used == _PAGE
