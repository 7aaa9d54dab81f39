"""Listing a directory (READDIRPLUS): as many entries as the kernel has room for, and what its cache needs besides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from readyfs.fuse.direct.replies import (
    CACHE_PAGE,
    PackListing,
    PageFill,
    dot_direntplus,
)
from readyfs.vfs.filesystem import Filesystem
from readyfs.vfs.inode_number import InodeNumber
from readyfs.vfs.listing import DOTS, DirectoryPass, position_after
from readyfs.vfs.nodes import Node

MAX_ENDS: Final = 4096
MAX_BYTES: Final = 1 << 20
"""No kernel has room for more at a time (FUSE_MAX_MAX_PAGES), and memory for it is taken beforehand."""


class Ends(Protocol):
    """Where the last pass over a directory ended: the kernel asks once more behind the last entry."""

    def note_end(self, inode: InodeNumber, position: int) -> None:
        """Note that a listing ended so."""
        ...

    def take_end(self, inode: InodeNumber, position: int) -> bool:
        """Forget where a directory's listing ended; return whether it was there."""
        ...


class EndTable:
    """Ends by directory."""

    def __init__(self) -> None:
        self._ends: dict[InodeNumber, int] = {}

    def note_end(self, inode: InodeNumber, position: int) -> None:
        """See `Ends`."""
        if len(self._ends) >= MAX_ENDS:
            self._ends.clear()  # left behind by readers who closed their directory before its end
        self._ends[inode] = position

    def take_end(self, inode: InodeNumber, position: int) -> bool:
        """See `Ends`."""
        return self._ends.pop(inode, None) == position != 0


class Listings:
    """Answers requests for entries; called by workers.

    `drop_listing` makes the kernel drop what it has cached of a directory's listing.
    """

    def __init__(
        self,
        filesystem: Filesystem,
        drop_listing: Callable[[InodeNumber], None],
        ends: Ends,
        pack: PackListing,
    ) -> None:
        self._fs = filesystem
        self._pack = pack
        self._drop_listing = drop_listing
        self._ends = ends

    def read(self, inode: InodeNumber, position: int, size: int, may_block: bool) -> tuple[bytes, list[Node]]:
        """Return the entries behind a position, `size` bytes at most, and the nodes of which each counts a lookup."""
        if self._ends.take_end(inode, position):
            return b"", []
        while True:
            found = self._fs.read_directory(inode, position, may_block=may_block)
            body, nodes = self._fill(inode, found, position, size)
            if self._fs.remember_listed(found, nodes):
                return body, nodes

    def _fill(self, inode: InodeNumber, found: DirectoryPass, position: int, size: int) -> tuple[bytes, list[Node]]:
        body, nodes, reached, cached, is_whole = self._pack(found, position, min(size, MAX_BYTES))
        if is_whole:
            further = self._further_dot(inode, found, reached) if position or cached >= CACHE_PAGE else b""
            if further and len(further) <= size - len(body):
                body += further
            elif not further and body and found.cacheable:
                self._ends.note_end(inode, reached)
            elif not further and not body and not found.cacheable:
                # All its entries are in the kernel's cache by now: this pass must be the last that is made from them.
                self._drop_listing(inode)
        return body, nodes

    def _further_dot(self, inode: InodeNumber, found: DirectoryPass, position: int) -> bytes:
        """Return one more `.` for a listing that fills its last page of the kernel's cache to the byte.

        A reader that began before it was cached would see it end early otherwise (V7).
        """
        fill = PageFill()
        names = tuple(found.names())
        for name in names:
            fill.add(name)
        if not fill.is_exact or position != position_after(found.listing.stamp, len(names) - 1):
            return b""  # no need, or it was given already
        return dot_direntplus(DOTS[0], inode, position + 1)
