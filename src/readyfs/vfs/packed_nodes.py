"""Nodes as rows: the columns that are needed to make a node anew, of which the first ones are its identity.

Used by `inode_table`. The kernel may know millions of directories, so those are not kept as objects: a row holds what
cannot be derived, and refers to names that the catalog or another row holds anyway. It holds the lineage of its run
itself, not the catalog's series: a node means its run for as long as the kernel holds it (V5, V6), and must not keep
alive what was replaced around it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypeVar

from readyfs.partition import NOT_SET, Partition, PartitionKey, SeriesKey
from readyfs.vfs.inode_number import LIVE, InodeNumber, NodeKind, TreeName
from readyfs.vfs.nodes import AboveNode, BrokenNode, DateNode, Node
from readyfs.vfs.packed_rows import SHARDS, MakeRows

N = TypeVar("N", bound=Node)


class _Identity(NamedTuple):
    """How many of a row's columns, from the first on, are the identity of its node; the key is not counted."""

    integers: int
    references: int


class PackedNodes(Generic[N]):
    """The nodes of one type, with lookup counts, in rows; abstract. The caller holds a lock."""

    integers: int
    references: int
    identity: _Identity
    path: int
    """Which of the references is the path above, with its tree."""

    def __init__(self, make_rows: MakeRows) -> None:
        self.rows = make_rows(self.integers, self.references)

    def get(self, inode: InodeNumber) -> N | None:
        """Return a node, made anew, or None."""
        row = self.rows.get(inode)
        return None if row is None else self._unpack(inode, *row)

    def count(self, node: N, is_free: Callable[[InodeNumber, PackedNodes[Any]], bool]) -> bool:
        """Count one lookup of a node; return False if its number belongs to another.

        `is_free` tells whether a number that is not known here is known to nobody else.
        """
        inode = node.inode
        integers, references = self._pack(node)
        known = self.rows.get(inode)
        if known is None:
            if not is_free(inode, self):
                return False
            self.rows.add(inode, integers, references)
            self._note(references, 1)
            return True
        numbers, names = self.identity
        if known[0][:numbers] != integers[:numbers] or known[1][:names] != references[:names]:
            return False
        return self.rows.count(inode)

    def update(self, node: N) -> None:
        """Keep what became of a node beside its identity, if it is there."""
        known = self.rows.get(node.inode)
        if known is not None:
            integers, references = self._pack(node)
            self._note(references, 1)  # first, lest its series be missed by whoever asks without the lock
            self.rows.update(node.inode, integers, references)
            self._note(known[1], -1)

    def lower(self, inode: InodeNumber, count: int) -> bool:
        """Lower a lookup count; at zero the node is gone. Returns whether it was there."""
        gone = self.rows.lower(inode, count)
        if gone:
            self._note(gone, -1)
        return gone is not None

    def nodes_of(self, tree: TreeName) -> list[N]:
        """Return the nodes of a view."""
        found: list[N] = []
        for shard in range(SHARDS):
            for key, path in self.rows.scan(shard, self.path):
                if path.__class__ is _InView and path.tree == tree:
                    node = self.get(InodeNumber(key))
                    assert node is not None
                    found.append(node)
        return found

    def _note(self, references: Sequence[Any], change: int) -> None:
        """Take notice of a row that came (1) or went (-1)."""

    @abstractmethod
    def _pack(self, node: N) -> tuple[tuple[int, ...], tuple[Any, ...]]:
        """Return a node's integers and references, its identity first."""

    @abstractmethod
    def _unpack(self, inode: InodeNumber, integers: Any, references: Any) -> N:
        """Return the node that `_pack` took apart."""


class AboveNodes(PackedNodes[AboveNode]):
    """The path."""

    integers, references, identity, path = 0, 1, _Identity(0, 1), 0

    def _pack(self, node: AboveNode) -> tuple[tuple[int, ...], tuple[Any, ...]]:
        return (), (_pack_path(node.path, node.tree),)

    def _unpack(self, inode: InodeNumber, integers: Any, references: Any) -> AboveNode:
        return AboveNode(inode, NodeKind.ABOVE, *_unpack_path(references[0]))


class DateNodes(PackedNodes[DateNode]):
    """The date and its row of the state table; where no row is, because the path is ambiguous, that stands for it."""

    integers, references, identity, path = 3, 4, _Identity(1, 3), 2

    def __init__(self, make_rows: MakeRows) -> None:
        super().__init__(make_rows)
        self._by_series: dict[SeriesKey, int] = {}

    def holds_run_of(self, series: SeriesKey) -> bool:
        """Whether any of the nodes is of a run of the series. Needs no lock."""
        return series in self._by_series

    def _note(self, references: Sequence[Any], change: int) -> None:
        series, run_id, *_ = references
        if run_id is not None:
            count = self._by_series.get(series, 0) + change
            if count:
                self._by_series[series] = count
            else:
                del self._by_series[series]

    def _pack(self, node: DateNode) -> tuple[tuple[int, ...], tuple[Any, ...]]:
        return _pack_date(node)

    def _unpack(self, inode: InodeNumber, integers: Any, references: Any) -> DateNode:
        return _unpack_date(inode, integers, references)


class BrokenNodes(PackedNodes[BrokenNode]):
    """The place below the date directory and what stands there, and that directory's row with its number."""

    integers, references, identity, path = 4, 6, _Identity(1, 5), 2

    def _pack(self, node: BrokenNode) -> tuple[tuple[int, ...], tuple[Any, ...]]:
        (date, *lineage), (series, run_id, path, schema_version) = _pack_date(node.date_node)
        relpath = _shared(node.relpath)
        return (date, *lineage, node.date_node.inode), (series, run_id, path, node.kind, relpath, schema_version)

    def _unpack(self, inode: InodeNumber, integers: Any, references: Any) -> BrokenNode:
        *numbers, date_inode = integers
        series, run_id, path, kind, relpath, schema_version = references
        date = _unpack_date(InodeNumber(date_inode), numbers, (series, run_id, path, schema_version))
        return BrokenNode(inode=inode, kind=kind, date_node=date, relpath=relpath)


def _pack_date(node: DateNode) -> tuple[tuple[int, int, int], tuple[Any, ...]]:
    partition = node.partition
    path = node.above if node.tree is LIVE else _pack_path(node.above, node.tree)
    if partition is None:
        return (node.date, NOT_SET, NOT_SET), (node.name, None, path, None)
    (series, date), run_id, updated_at_ns, record_count, schema_version = partition
    return (date, updated_at_ns, record_count), (series, run_id, path, schema_version)


def _unpack_date(inode: InodeNumber, integers: Any, references: Any) -> DateNode:
    date, updated_at_ns, record_count = integers
    series, run_id, above, schema_version = references
    tree = LIVE
    if above.__class__ is _InView:
        tree, above = above
    if run_id is None:
        return DateNode(inode, NodeKind.BROKEN_DATE, above, date, None, tree, series)
    partition = Partition(PartitionKey(series, date), run_id, updated_at_ns, record_count, schema_version)
    return DateNode(inode, NodeKind.DATE, above, date, partition, tree)


class _InView(NamedTuple):
    """The path of a directory in a view; one in the live tree, of which there are the most, is kept as it is."""

    tree: TreeName
    path: tuple[bytes, ...]


_in_view = lru_cache(maxsize=1024)(_InView)
"""Makes one object for equal paths: the dates of a directory come together."""


def _pack_path(path: tuple[bytes, ...], tree: TreeName) -> tuple[bytes, ...] | _InView:
    return path if tree == LIVE else _in_view(tree, path)


def _unpack_path(packed: tuple[bytes, ...] | _InView) -> tuple[tuple[bytes, ...], TreeName]:
    return (packed.path, packed.tree) if isinstance(packed, _InView) else (packed, LIVE)


@lru_cache(maxsize=1024)
def _shared(relpath: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Return one object for equal places: most runs have the same few."""
    return relpath
