"""Nodes: our record of a directory or file that the kernel knows, and the inode number that names it.

An inode number hashes what the node *is*, so it survives a remount, is the same on every machine, and is never
reused for other bytes: another run is another inode.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NewType, TypeAlias

from readyfs.partition import Partition, SeriesKey, render_date
from readyfs.raw.store import RawStat

InodeNumber = NewType("InodeNumber", int)
ROOT_INODE: Final = InodeNumber(1)
"""FUSE_ROOT_ID of linux/fuse.h."""

LIVE: Final = b"live"
"""The root of the tree that follows the state. A directory's identity holds its root, because the kernel gives a
directory one place only; a file's does not, so that views of one run share their pages."""


class NodeKind(Enum):
    """What a node is; decides in one place where its answers come from."""

    ABOVE = b"above"  # the root and the directories over the dates: the catalog in force
    DATE = b"date"  # a partition's directory: its attributes from the catalog, its entries from the raw store
    RAW_DIRECTORY = b"raw-directory"
    RAW_FILE = b"raw-file"
    BROKEN_DATE = b"broken-date"  # a path that two ready rows claim
    BROKEN_DIRECTORY = b"broken-directory"  # stands for a directory of a run that cannot be served
    BROKEN_FILE = b"broken-file"  # stands for a file of a run that cannot be served
    CONTROL_DIRECTORY = b"control-directory"
    CONTROL_FILE = b"control-file"


Identity: TypeAlias = tuple[bytes, ...]
_HASH: Final = blake2b(digest_size=8)


def inode_number(identity: Identity) -> InodeNumber:
    """Return 63 bits of BLAKE2b over the length-prefixed parts; 0 and 1 are taken by the protocol and skipped.

    63, because Java and SQLite read numbers above 2**63 as negative.
    """
    return _number(_text(identity))


def _text(identity: Identity) -> bytes:
    return b"".join([len(part).to_bytes(4, "little") + part for part in identity])


def _number(text: bytes) -> InodeNumber:
    digest = _HASH.copy()
    digest.update(text)
    number = int.from_bytes(digest.digest(), "little") >> 1
    return InodeNumber(number if number > ROOT_INODE else number + 2)


_DATE_TEXT: Final = _text((NodeKind.DATE.value, LIVE))
_RAW_DIRECTORY_TEXT: Final = _text((NodeKind.RAW_DIRECTORY.value, LIVE))
_RAW_FILE_TEXT: Final = _text((NodeKind.RAW_FILE.value,))
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
    """A date directory: one run of one partition, or (without a partition) an ambiguous path."""

    above: tuple[bytes, ...] = ()
    date: int = 0
    partition: Partition | None = None

    @property
    def identity(self) -> Identity:
        """What the inode number hashes."""
        if self.partition is None:
            return (self.kind.value, LIVE, *self.above, render_date(self.date))
        return (self.kind.value, LIVE, *_run_identity(self.partition))


@dataclass(slots=True, eq=False, kw_only=True)
class RawNode(Node):
    """A directory or regular file of a sealed run.

    `generation` is 0 unless the raw file was seen to change under a number that the kernel still holds. `superseded`
    says that it was replaced, though by its equal. `above` leads to the directory that holds the date.
    """

    partition: Partition
    above: tuple[bytes, ...]
    relpath: tuple[bytes, ...]
    stat: RawStat
    generation: int
    superseded: bool = False

    @property
    def identity(self) -> Identity:
        """What the inode number hashes."""
        return _raw_identity(self.kind, self.partition, self.relpath, self.generation)


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


def root_node() -> AboveNode:
    """Return the node of the mount root."""
    return AboveNode(ROOT_INODE, NodeKind.ABOVE)


def above_node(path: tuple[bytes, ...]) -> AboveNode:
    """Return a node for the directory at a path of names."""
    return AboveNode(above_inode(path), NodeKind.ABOVE, path)


def above_inode(path: tuple[bytes, ...]) -> InodeNumber:
    """Return the inode number of the directory at a path of names."""
    return inode_number((NodeKind.ABOVE.value, LIVE, *path)) if path else ROOT_INODE


def date_node(above: tuple[bytes, ...], date: int, partition: Partition | None) -> DateNode:
    """Return a node for a date directory below `above`; no partition means an ambiguous path."""
    if partition is not None:
        return DateNode(date_inode(partition), NodeKind.DATE, above, date, partition)
    node = DateNode(ROOT_INODE, NodeKind.BROKEN_DATE, above, date, None)
    node.inode = inode_number(node.identity)
    return node


def date_inode(partition: Partition) -> InodeNumber:
    """Return the inode number of a partition's date directory."""
    return _number(_DATE_TEXT + _run_text(partition))


def raw_node(
    kind: NodeKind,
    partition: Partition,
    above: tuple[bytes, ...],
    relpath: tuple[bytes, ...],
    stat: RawStat,
    generation: int = 0,
) -> RawNode:
    """Return a node for what lies at `relpath` within a sealed run."""
    number = raw_inode(kind, partition, relpath, generation)
    return RawNode(
        inode=number, kind=kind, partition=partition, above=above, relpath=relpath, stat=stat, generation=generation
    )


def raw_inode(kind: NodeKind, partition: Partition, relpath: tuple[bytes, ...], generation: int = 0) -> InodeNumber:
    """Return the inode number of what lies at `relpath` within a sealed run."""
    what = _RAW_DIRECTORY_TEXT if kind is NodeKind.RAW_DIRECTORY else _RAW_FILE_TEXT
    changed = _text((generation.to_bytes(4, "little"),)) if generation else b""
    return _number(what + _run_text(partition) + _text(relpath) + changed)


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


def _numbered(node: ControlNode) -> ControlNode:
    node.inode = inode_number(node.identity)
    return node


def _run_identity(partition: Partition) -> Identity:
    return (*partition.key.series, render_date(partition.key.date), partition.run_id)


def _run_text(partition: Partition) -> bytes:
    """Return the text of `_run_identity`."""
    (series, date), run_id, *_ = partition
    return _series_text(series) + _text((render_date(date), run_id))


@lru_cache(maxsize=4096)
def _series_text(series: SeriesKey) -> bytes:
    return _text(series)


def _raw_identity(kind: NodeKind, partition: Partition, relpath: tuple[bytes, ...], generation: int) -> Identity:
    root = (LIVE,) if kind is NodeKind.RAW_DIRECTORY else ()
    changed = (generation.to_bytes(4, "little"),) if generation else ()
    return (kind.value, *root, *_run_identity(partition), *relpath, *changed)
