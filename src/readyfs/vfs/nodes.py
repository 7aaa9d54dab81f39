"""Nodes: our record of a directory or file that the kernel knows.

Each says what it is (`identity`), which makes its inode number (`inode_number`), and holds what its answers are made
of. There is one class for each way of answering, and one function that makes a node of it.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias, assert_never

from readyfs.manifest.form import Form
from readyfs.partition import NOT_SET, Partition, RunKey
from readyfs.raw.store import RawStat
from readyfs.vfs.inode_number import (
    LIVE,
    ROOT_INODE,
    Identity,
    InodeNumber,
    NodeKind,
    TreeName,
    above_inode,
    date_inode,
    directory_identity,
    directory_inode,
    file_identity,
    file_inode,
    inode_number,
    run_identity,
)

VIEWS_NAME: Final = b"views"
"""The directory of the control directory that holds the views by their fingerprints."""
_FILE_KINDS: Final = (NodeKind.RAW_FILE, NodeKind.BROKEN_FILE, NodeKind.CONTROL_FILE, NodeKind.MANIFEST, NodeKind.LINK)


@dataclass(slots=True, eq=False)
class Node:
    """What every node has.

    Abstract to the type checker alone: with ABC's metaclass, telling nodes apart takes four times as long.
    """

    inode: InodeNumber
    kind: NodeKind

    @property
    @abstractmethod
    def identity(self) -> Identity:
        """What the inode number hashes."""

    @property
    def is_directory(self) -> bool:
        """Whether the node has entries."""
        return self.kind not in _FILE_KINDS


@dataclass(slots=True, eq=False)
class AboveNode(Node):
    """The root of a tree (an empty path) or a directory over the dates; it means what the tree's catalog says."""

    path: tuple[bytes, ...] = ()
    tree: TreeName = LIVE

    @property
    def identity(self) -> Identity:
        """What the inode number hashes."""
        return (self.kind.value, self.tree, *self.path)


@dataclass(slots=True, eq=False)
class DateNode(Node):
    """A date directory: one run of one partition, or (without a partition) an ambiguous path.

    That has a `name` in the directory `above`, which tells it from others; for a run the partition does.
    """

    above: tuple[bytes, ...] = ()
    date: int = 0
    partition: Partition | None = None
    tree: TreeName = LIVE
    name: bytes = b""

    @property
    def identity(self) -> Identity:
        """What the inode number hashes."""
        if self.partition is None:
            return (self.kind.value, self.tree, *self.above, self.name)
        return (self.kind.value, self.tree, *run_identity(self.partition))


@dataclass(slots=True, eq=False)
class RawNode(Node):
    """A directory of a sealed run in one tree, or a regular file of it in every tree that shows the run.

    `generation` is 0 unless the raw file was seen to change under a number that the kernel still holds. `superseded`
    says that it was replaced, though by its equal, `pushed` that the kernel was given its bytes. `above` leads to the
    directory that holds the date. `published_ns` is what all its times show, `NOT_SET` where they are the raw file's.
    `sealing` numbers the look at the run that it comes from. `place` is the path of the run's directory from the raw
    root on, empty if it is not known.
    """

    partition: Partition
    above: tuple[bytes, ...]
    relpath: tuple[bytes, ...]
    stat: RawStat
    generation: int
    superseded: bool = False
    pushed: bool = False
    published_ns: int = NOT_SET
    sealing: int = 0
    tree: TreeName = LIVE
    place: bytes = b""

    @property
    def identity(self) -> Identity:
        """What the inode number hashes."""
        if self.kind is NodeKind.RAW_DIRECTORY:
            return directory_identity(self.partition, self.relpath, self.tree)
        return file_identity(self.partition, self.relpath, self.generation, self.published_ns)

    def is_same_file(self, other: RawNode) -> bool:
        """Whether another record is of the same file: a number that the kernel forgot may come back for another."""
        return self.inode == other.inode and self.stat == other.stat and self.identity == other.identity


@dataclass(slots=True, eq=False, kw_only=True)
class BrokenNode(Node):
    """A required or remembered name of a run that cannot be served: a file of it is seen and never opened (V10)."""

    date_node: DateNode
    relpath: tuple[bytes, ...]

    @property
    def tree(self) -> TreeName:
        """The tree that it is seen in."""
        return self.date_node.tree

    @property
    def identity(self) -> Identity:
        """What the inode number hashes."""
        return (self.kind.value, *self.date_node.identity, *self.relpath)


@dataclass(slots=True, eq=False)
class ControlNode(Node):
    """The hidden control directory (an empty name), a directory in it, or one of its files as it was at one moment.

    `serial` tells the moments apart, so that the size and bytes of one node agree for as long as anybody holds it.
    `time_ns` is the moment in nanoseconds since the epoch.
    """

    name: bytes = b""
    serial: int = 0
    document: bytes = b""
    time_ns: int = 0

    @property
    def identity(self) -> Identity:
        """What the inode number hashes."""
        return (self.kind.value, self.name, *(() if self.is_directory else (b"%d" % self.serial,)))


@dataclass(slots=True, eq=False, kw_only=True)
class LinkNode(Node):
    """A symbolic link: another one for each target, so that whatever the kernel keeps of it stays true.

    `place` says where it stands, as far as that tells it from others of its name; the time is in nanoseconds.
    """

    place: Identity
    name: bytes
    target: bytes
    time_ns: int

    @property
    def identity(self) -> Identity:
        """What the inode number hashes."""
        return (self.kind.value, *self.place, b"", self.name, self.target, self.time_ns.to_bytes(8, "little"))


@dataclass(slots=True, eq=False, kw_only=True)
class ManifestNode(Node):
    """A manifest: of a catalog, which it does not hold, a directory and a form.

    `broken` are the runs that were known to be broken, in order, and `damage` tells such sets apart, so that the bytes
    of one inode never change. Size in bytes, time in nanoseconds since the epoch.
    """

    fingerprint: str
    path: tuple[bytes, ...]
    form: Form
    size: int
    time_ns: int
    broken: tuple[RunKey, ...]
    damage: bytes

    @property
    def identity(self) -> Identity:
        """What the inode number hashes."""
        return (self.kind.value, self.fingerprint.encode(), self.form.value, self.damage, *self.path)


RunNode: TypeAlias = DateNode | RawNode | BrokenNode
"""A node of one run: its directory, or what lies below that."""


def root_node() -> AboveNode:
    """Return the node of the mount root."""
    return AboveNode(ROOT_INODE, NodeKind.ABOVE)


def above_node(path: tuple[bytes, ...], tree: TreeName = LIVE) -> AboveNode:
    """Return a node for the directory at a path of names."""
    return AboveNode(above_inode(path, tree), NodeKind.ABOVE, path, tree)


def date_node(above: tuple[bytes, ...], partition: Partition, tree: TreeName = LIVE) -> DateNode:
    """Return a node for the date directory of a partition's run, below `above`."""
    return DateNode(date_inode(partition, tree), NodeKind.DATE, above, partition.key.date, partition, tree)


def ambiguous_node(above: tuple[bytes, ...], name: bytes, date: int, tree: TreeName = LIVE) -> DateNode:
    """Return a node for the directory of an ambiguous path."""
    node = DateNode(ROOT_INODE, NodeKind.BROKEN_DATE, above, date, None, tree, name)
    node.inode = inode_number(node.identity)
    return node


def raw_node(
    kind: NodeKind,
    partition: Partition,
    above: tuple[bytes, ...],
    relpath: tuple[bytes, ...],
    stat: RawStat,
    generation: int = 0,
    published_ns: int = NOT_SET,
    sealing: int = 0,
    tree: TreeName = LIVE,
    place: bytes = b"",
) -> RawNode:
    """Return a node for what lies at `relpath` within a sealed run; the tree is a directory's."""
    if kind is NodeKind.RAW_DIRECTORY:
        number = directory_inode(partition, relpath, tree)
    else:
        number = file_inode(partition, relpath, generation, published_ns)
    seen = (False, False)  # neither superseded nor pushed
    return RawNode(number, kind, partition, above, relpath, stat, generation, *seen, published_ns, sealing, tree, place)


def broken_node(kind: NodeKind, date: DateNode, relpath: tuple[bytes, ...]) -> BrokenNode:
    """Return a node that stands for what lies at `relpath` within a run that cannot be served."""
    node = BrokenNode(inode=ROOT_INODE, kind=kind, date_node=date, relpath=relpath)
    node.inode = inode_number(node.identity)
    return node


def control_directory(name: bytes = b"") -> ControlNode:
    """Return the node of the control directory, or of a directory in it."""
    return _numbered(ControlNode(ROOT_INODE, NodeKind.CONTROL_DIRECTORY, name))


def control_file(name: bytes, serial: int, document: bytes, time_ns: int) -> ControlNode:
    """Return a node for a file of the control directory as it is now."""
    return _numbered(ControlNode(ROOT_INODE, NodeKind.CONTROL_FILE, name, serial, document, time_ns))


def link_node(place: Identity, name: bytes, target: bytes, time_ns: int) -> LinkNode:
    """Return a node for a symbolic link."""
    node = LinkNode(inode=ROOT_INODE, kind=NodeKind.LINK, place=place, name=name, target=target, time_ns=time_ns)
    node.inode = inode_number(node.identity)
    return node


def manifest_node(
    fingerprint: str,
    path: tuple[bytes, ...],
    form: Form,
    size: int,
    time_ns: int,
    broken: tuple[RunKey, ...],
    damage: bytes,
) -> ManifestNode:
    """Return a node for a manifest."""
    node = ManifestNode(
        inode=ROOT_INODE,
        kind=NodeKind.MANIFEST,
        fingerprint=fingerprint,
        path=path,
        form=form,
        size=size,
        time_ns=time_ns,
        broken=broken,
        damage=damage,
    )
    node.inode = inode_number(node.identity)
    return node


def place_in_run(node: RunNode) -> tuple[DateNode, tuple[bytes, ...]]:
    """Return the date directory over a node, and the node's path below it."""
    match node:
        case DateNode():
            return node, ()
        case RawNode():
            return date_node(node.above, node.partition, node.tree), node.relpath
        case BrokenNode():
            return node.date_node, node.relpath
        case _:
            assert_never(node)


_above_dates = lru_cache(maxsize=1024)(above_inode)
"""Every listing of a run names the directory above it, which many have in common."""


def parent_inode(node: Node) -> InodeNumber:
    """Return the inode number of the directory that holds a node; of a regular file that of the live tree."""
    match node:
        case AboveNode() if not node.path and node.tree != LIVE:
            return control_directory(VIEWS_NAME).inode
        case AboveNode():
            return above_inode(node.path[:-1], node.tree)
        case DateNode():
            return _above_dates(node.above, node.tree)
        case RawNode():
            return directory_inode(node.partition, node.relpath[:-1], node.tree)
        case BrokenNode():
            if len(node.relpath) == 1:
                return node.date_node.inode
            return broken_node(NodeKind.BROKEN_DIRECTORY, node.date_node, node.relpath[:-1]).inode
        case ControlNode() if node.name:
            return control_directory().inode
        case _:
            return ROOT_INODE


def _numbered(node: ControlNode) -> ControlNode:
    node.inode = inode_number(node.identity)
    return node
