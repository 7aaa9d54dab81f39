"""Nodes: our record of a directory or file that the kernel knows.

Each says what it is (`identity`), which makes its inode number (`inode_number`), and holds what its answers are made
of. There is one class for each way of answering, and one function that makes a node of it.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Final, TypeAlias, assert_never

from readyfs.partition import NOT_SET, Partition
from readyfs.raw.store import RawStat
from readyfs.vfs.inode_number import (
    LIVE,
    ROOT_INODE,
    Identity,
    InodeNumber,
    NodeKind,
    above_inode,
    date_inode,
    inode_number,
    raw_identity,
    raw_inode,
    run_identity,
)

_FILE_KINDS: Final = (NodeKind.RAW_FILE, NodeKind.BROKEN_FILE, NodeKind.CONTROL_FILE)


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
    """The mount root (an empty path) or a directory over the dates; it means whatever the catalog says now."""

    path: tuple[bytes, ...] = ()

    @property
    def identity(self) -> Identity:
        """What the inode number hashes."""
        return (self.kind.value, LIVE, *self.path)


@dataclass(slots=True, eq=False)
class DateNode(Node):
    """A date directory: one run of one partition, or (without a partition) an ambiguous path.

    That has a `name` in the directory `above`, which tells it from others; for a run the partition does.
    """

    above: tuple[bytes, ...] = ()
    date: int = 0
    partition: Partition | None = None
    name: bytes = b""

    @property
    def identity(self) -> Identity:
        """What the inode number hashes."""
        if self.partition is None:
            return (self.kind.value, LIVE, *self.above, self.name)
        return (self.kind.value, LIVE, *run_identity(self.partition))


@dataclass(slots=True, eq=False, kw_only=True)
class RawNode(Node):
    """A directory or regular file of a sealed run.

    `generation` is 0 unless the raw file was seen to change under a number that the kernel still holds. `superseded`
    says that it was replaced, though by its equal. `above` leads to the directory that holds the date. `published_ns`
    is what all its times show, `NOT_SET` where they are the raw file's. `sealing` numbers the look at the run that it
    comes from.
    """

    partition: Partition
    above: tuple[bytes, ...]
    relpath: tuple[bytes, ...]
    stat: RawStat
    generation: int
    superseded: bool = False
    published_ns: int = NOT_SET
    sealing: int = 0

    @property
    def identity(self) -> Identity:
        """What the inode number hashes."""
        return raw_identity(self.kind, self.partition, self.relpath, self.generation, self.published_ns)


@dataclass(slots=True, eq=False, kw_only=True)
class BrokenNode(Node):
    """A required or remembered name of a run that cannot be served: a file of it is seen and never opened (V10)."""

    date_node: DateNode
    relpath: tuple[bytes, ...]

    @property
    def identity(self) -> Identity:
        """What the inode number hashes."""
        return (self.kind.value, *self.date_node.identity, *self.relpath)


@dataclass(slots=True, eq=False)
class ControlNode(Node):
    """The hidden control directory (an empty name), or one of its files as it was at one moment.

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
        return (self.kind.value, self.name, *((b"%d" % self.serial,) if self.name else ()))


RunNode: TypeAlias = DateNode | RawNode | BrokenNode
"""A node of one run: its directory, or what lies below that."""


def root_node() -> AboveNode:
    """Return the node of the mount root."""
    return AboveNode(ROOT_INODE, NodeKind.ABOVE)


def above_node(path: tuple[bytes, ...]) -> AboveNode:
    """Return a node for the directory at a path of names."""
    return AboveNode(above_inode(path), NodeKind.ABOVE, path)


def date_node(above: tuple[bytes, ...], partition: Partition) -> DateNode:
    """Return a node for the date directory of a partition's run, below `above`."""
    return DateNode(date_inode(partition), NodeKind.DATE, above, partition.key.date, partition)


def ambiguous_node(above: tuple[bytes, ...], name: bytes, date: int) -> DateNode:
    """Return a node for the directory of an ambiguous path."""
    node = DateNode(ROOT_INODE, NodeKind.BROKEN_DATE, above, date, None, name)
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
) -> RawNode:
    """Return a node for what lies at `relpath` within a sealed run."""
    number = raw_inode(kind, partition, relpath, generation, published_ns)
    return RawNode(
        inode=number,
        kind=kind,
        partition=partition,
        above=above,
        relpath=relpath,
        stat=stat,
        generation=generation,
        published_ns=published_ns,
        sealing=sealing,
    )


def broken_node(kind: NodeKind, date: DateNode, relpath: tuple[bytes, ...]) -> BrokenNode:
    """Return a node that stands for what lies at `relpath` within a run that cannot be served."""
    node = BrokenNode(inode=ROOT_INODE, kind=kind, date_node=date, relpath=relpath)
    node.inode = inode_number(node.identity)
    return node


def control_directory() -> ControlNode:
    """Return the node of the control directory."""
    return _numbered(ControlNode(ROOT_INODE, NodeKind.CONTROL_DIRECTORY))


def control_file(name: bytes, serial: int, document: bytes, time_ns: int) -> ControlNode:
    """Return a node for a file of the control directory as it is now."""
    return _numbered(ControlNode(ROOT_INODE, NodeKind.CONTROL_FILE, name, serial, document, time_ns))


def place_in_run(node: RunNode) -> tuple[DateNode, tuple[bytes, ...]]:
    """Return the date directory over a node, and the node's path below it."""
    match node:
        case DateNode():
            return node, ()
        case RawNode():
            return date_node(node.above, node.partition), node.relpath
        case BrokenNode():
            return node.date_node, node.relpath
        case _:
            assert_never(node)


def parent_inode(node: Node) -> InodeNumber:
    """Return the inode number of the directory that holds a node."""
    match node:
        case AboveNode():
            return above_inode(node.path[:-1])
        case DateNode():
            return above_inode(node.above)
        case RawNode():
            if len(node.relpath) == 1:
                return date_inode(node.partition)
            return raw_inode(NodeKind.RAW_DIRECTORY, node.partition, node.relpath[:-1], 0, node.published_ns)
        case BrokenNode():
            if len(node.relpath) == 1:
                return node.date_node.inode
            return broken_node(NodeKind.BROKEN_DIRECTORY, node.date_node, node.relpath[:-1]).inode
        case _:
            return ROOT_INODE


def _numbered(node: ControlNode) -> ControlNode:
    node.inode = inode_number(node.identity)
    return node
