"""What the kernel must forget: in terms of inode numbers and names, for any engine.

After a refresh, for each changed directory that the kernel knows: its changed entries first, its listing and
attributes last. The order carries weight: forgetting an entry waits for requests in flight in that directory, and a
listing dropped before that could be filled again by a late reply.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from readyfs.catalog.delta import Delta
from readyfs.partition import Partition
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


def plan_invalidations(delta: Delta, inodes: InodeTable, *, published_times: bool = False) -> Iterator[Invalidation]:
    """Yield what the kernel knows of a delta; directories that it never saw cost nothing.

    With `published_times` a row that is touched gives its run's files another time and so another number: their names
    are forgotten too, while who has one open keeps what it opened.
    """
    moved: list[Partition] = []
    for change in delta.directories:
        inode = above_inode(change.path)
        if inodes.peek(inode) is None:
            continue
        known = [partition for partition in change.touched if inodes.peek(date_inode(partition)) is not None]
        yield Invalidation(inode, change.names, tuple(map(date_inode, known)), listing=bool(change.names))
        if published_times:
            moved += known
    if moved:
        names = inodes.names_in_runs((partition.key, partition.run_id) for partition in moved)
        for partition in moved:
            yield Invalidation(date_inode(partition), tuple(names[partition.key, partition.run_id]))


def plan_root_invalidation(top_names: tuple[bytes, ...]) -> Invalidation:
    """Return what makes every walk from the mount root ask again (V11), and every listing of it, were it empty."""
    return Invalidation(ROOT_INODE, top_names)
