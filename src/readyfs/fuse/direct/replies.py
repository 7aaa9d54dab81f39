"""Answers as bytes: entries, attributes and listings packed in the kernel's structures."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from readyfs.fuse.direct.protocol import ATTR_OUT, DIRENT, ENTRY_OUT
from readyfs.vfs.attributes import BLOCK_BYTES, IO_BYTES, Attributes, Entry, NegativeEntry
from readyfs.vfs.listing import ListedEntry
from readyfs.vfs.nodes import Node

_NS: Final = 1_000_000_000
CACHE_PAGE: Final = 4096
_DT_DIR: Final = stat.S_IFDIR >> 12
_NO_ENTRY: Final = (0,) * 22
_NO_ENTRY_OUT: Final = bytes(ENTRY_OUT.size)
_PADDING: Final = tuple(b"\0" * (-length % 8) for length in range(8))
"""What aligns a record to 8 bytes (FUSE_DIRENT_ALIGN), by the last three bits of its name's length."""


@lru_cache(maxsize=16)
def _split(timeout_s: float) -> tuple[int, int]:
    """Return whole seconds and nanoseconds."""
    whole = int(timeout_s)
    return whole, int((timeout_s - whole) * _NS)


def entry_out(entry: Entry) -> bytes:
    """Return the answer to a LOOKUP that found something."""
    attributes = entry.attributes
    inode, size = attributes.inode, attributes.size
    seconds, ns = divmod(attributes.time_ns, _NS)
    valid, valid_ns = _split(entry.entry_timeout_s)
    attr_valid, attr_valid_ns = _split(entry.attr_timeout_s)
    return ENTRY_OUT.pack(
        *(inode, 0, valid, attr_valid, valid_ns, attr_valid_ns),
        *(inode, size, -(-size // BLOCK_BYTES), seconds, seconds, seconds, ns, ns, ns),
        *(attributes.mode, 1, attributes.uid, attributes.gid, 0, IO_BYTES, 0),
    )


def negative_out(entry: NegativeEntry) -> bytes:
    """Return the answer to a LOOKUP whose absence the kernel may remember: inode 0 with a lifetime."""
    valid, valid_ns = _split(entry.timeout_s)
    return ENTRY_OUT.pack(0, 0, valid, 0, valid_ns, 0, *_NO_ENTRY[6:])


def attr_out(attributes: Attributes, timeout_s: float) -> bytes:
    """Return the answer to a GETATTR."""
    size = attributes.size
    seconds, ns = divmod(attributes.time_ns, _NS)
    return ATTR_OUT.pack(
        *(*_split(timeout_s), 0),
        *(attributes.inode, size, -(-size // BLOCK_BYTES), seconds, seconds, seconds, ns, ns, ns),
        *(attributes.mode, 1, attributes.uid, attributes.gid, 0, IO_BYTES, 0),
    )


def direntplus(name: bytes, entry: Entry, position: int) -> bytes:
    """Return one record of a READDIRPLUS whose entry counts as a lookup."""
    attributes = entry.attributes
    length = len(name)
    dirent = DIRENT.pack(attributes.inode, position, length, attributes.mode >> 12)
    return entry_out(entry) + dirent + name + _PADDING[length & 7]


def dot_direntplus(name: bytes, inode: int, position: int) -> bytes:
    """Return the record of `.` or `..`: no entry, because the kernel counts no lookup for them."""
    return _NO_ENTRY_OUT + DIRENT.pack(inode, position, len(name), _DT_DIR) + name + _PADDING[len(name) & 7]


def cached_bytes(name: bytes) -> int:
    """Return how many bytes a name takes in the kernel's cached listing: a plain record, without an entry."""
    return DIRENT.size + len(name) + 7 & ~7


class PackedListing(NamedTuple):
    """What there was room for: the records, the nodes of which each counts a lookup, and the position behind them.

    `cached` is how many bytes they take in the kernel's cached listing; `is_whole` says that nothing was left out.
    """

    body: bytes
    nodes: list[Node]
    reached: int
    cached: int
    is_whole: bool


PackEntry: TypeAlias = Callable[[Entry], bytes]
PackListing: TypeAlias = Callable[
    [Iterable[ListedEntry], int, int], PackedListing | tuple[bytes, list[Node], int, int, bool]
]


def pack_listing(found: Iterable[ListedEntry], position: int, room: int) -> PackedListing:
    """Pack entries behind a position, `room` bytes at most; src/native/pack.c does the same."""
    records: list[bytes] = []
    nodes: list[Node] = []
    reached, cached = position, 0
    for name, entry, next_position, counted in found:
        if counted:
            record = direntplus(name, entry, next_position)
        else:
            record = dot_direntplus(name, entry.attributes.inode, next_position)
        room -= len(record)
        if room < 0:
            return PackedListing(b"".join(records), nodes, reached, cached, False)
        records.append(record)
        reached = next_position
        cached += cached_bytes(name)
        if counted:
            nodes.append(entry.node)
    return PackedListing(b"".join(records), nodes, reached, cached, True)


class PageFill:
    """Where the kernel's cached listing ends: it keeps plain records, none across a page (fs/fuse/readdir.c).

    A cached listing whose last page is full to the byte ends early for a reader who began before it was cached.
    """

    def __init__(self) -> None:
        self._used = 0

    def add(self, name: bytes) -> None:
        """Add a record."""
        length = cached_bytes(name)
        self._used = self._used + length if self._used + length <= CACHE_PAGE else length

    @property
    def is_exact(self) -> bool:
        """Whether the last page is full to the byte."""
        return self._used == CACHE_PAGE
