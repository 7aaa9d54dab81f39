"""What the kernel must forget: in terms of inode numbers and names, for any engine.

After a refresh, for each changed directory that the kernel knows: its changed entries first, its listing and
attributes last. The order carries weight: forgetting an entry waits for requests in flight in that directory, and a
listing dropped before that could be filled again by a late reply.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from readyfs.catalog.delta import Delta
from readyfs.vfs.inode_number import ROOT_INODE, InodeNumber, above_inode, date_inode
from readyfs.vfs.inode_table import InodeTable


@dataclass(frozen=True, slots=True)
class Invalidation:
    """Entries of one directory to forget, then (where `listing` says so) its listing and attributes.

    `touched` are inodes whose attributes alone changed.
    """

    directory: InodeNumber
    names: tuple[bytes, ...]
    touched: tuple[InodeNumber, ...] = ()
    listing: bool = True


def plan_invalidations(delta: Delta, inodes: InodeTable) -> Iterator[Invalidation]:
    """Yield what the kernel knows of a delta; directories that it never saw cost nothing."""
    for change in delta.directories:
        inode = above_inode(change.path)
        if inodes.peek(inode) is None:
            continue
        touched = tuple(known for known in map(date_inode, change.touched) if inodes.peek(known) is not None)
        yield Invalidation(inode, change.names, touched, listing=bool(change.names))


def plan_root_invalidation(top_names: tuple[bytes, ...]) -> Invalidation:
    """Return what makes every walk from the mount root ask again (V11), and every listing of it, were it empty."""
    return Invalidation(ROOT_INODE, top_names)
