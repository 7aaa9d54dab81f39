"""What the kernel must forget: in terms of inode numbers and names, for any engine.

Before a catalog is put into force, the names that it changes in each directory that the kernel knows. Forgetting one
waits for requests in flight in its directory. The kernel puts what a listing says of each name into its cache, as late
as it likes, and over what it was told meanwhile: so no answer of the next catalog may be given before that.

Once it is in force, the listings and attributes of those directories. The order carries weight: one name is forgotten
first, because a listing dropped before that could be filled again by a late reply.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from readyfs.catalog.delta import Delta
from readyfs.layout import MountLayout
from readyfs.partition import run_of
from readyfs.vfs.inode_number import (
    ROOT_INODE,
    InodeNumber,
    TreeName,
    above_inode,
    date_inode,
    directory_inode,
)
from readyfs.vfs.inode_table import InodeTable
from readyfs.vfs.nodes import VIEWS_NAME, AboveNode, DateNode, RawNode, control_directory, parent_inode


@dataclass(frozen=True, slots=True)
class Invalidation:
    """Entries of one directory to forget, then (where `listing` says so) its listing and attributes.

    `touched` are inodes whose attributes alone changed.
    """

    directory: InodeNumber
    names: tuple[bytes, ...]
    touched: tuple[InodeNumber, ...] = ()
    listing: bool = True


def plan_names(delta: Delta, inodes: InodeTable) -> Iterator[Invalidation]:
    """Yield the changed names that the kernel may know; directories that it never saw cost nothing."""
    for change in delta.directories:
        inode = above_inode(change.path)
        if change.names and inodes.peek(inode) is not None:
            yield Invalidation(inode, change.names, listing=False)


def plan_invalidations(delta: Delta, inodes: InodeTable) -> Iterator[Invalidation]:
    """Yield what else the kernel knows of a delta."""
    for change in delta.directories:
        inode = above_inode(change.path)
        if inodes.peek(inode) is None:
            continue
        touched = tuple(known for known in map(date_inode, change.touched) if inodes.peek(known) is not None)
        yield Invalidation(inode, change.names[:1], touched, listing=bool(change.names))


def plan_expiry(tree: TreeName, inodes: InodeTable, layout: MountLayout) -> Iterator[Invalidation]:
    """Yield what makes the kernel ask again for every name of a view that it knows, its root's first.

    With the root's name most of what lies below is forgotten. What somebody holds is not, nor are the names in it.
    """
    root = above_inode((), tree)
    if inodes.peek(root) is None:
        return  # then the kernel holds nothing below it
    yield Invalidation(control_directory(VIEWS_NAME).inode, (tree,))
    runs = {}
    for node in inodes.nodes_of(tree):
        yield Invalidation(node.inode, ())
        match node:
            case AboveNode() if node.path:
                yield Invalidation(parent_inode(node), (node.path[-1],))
            case DateNode():
                partition, name = node.partition, node.name
                if partition is not None:
                    runs[run_of(partition)] = partition
                    *_, name = layout.path_of(*partition.key)
                yield Invalidation(parent_inode(node), (name,))
            case RawNode():
                yield Invalidation(parent_inode(node), (node.relpath[-1],))
    for file in inodes.raw_nodes_of(runs):
        if not file.is_directory:
            yield Invalidation(directory_inode(file.partition, file.relpath[:-1], tree), (file.relpath[-1],))


def plan_root_invalidation(top_names: tuple[bytes, ...]) -> Invalidation:
    """Return what makes every walk from the mount root ask again (V11), and every listing of it, were it empty."""
    return Invalidation(ROOT_INODE, top_names)
