"""Nodes as rows: the columns that are needed to make a node anew, of which the first ones are its identity.

Used by `inode_table`. The kernel may know millions of directories, so those are not kept as objects: a row holds what
cannot be derived, and refers to names that the catalog or another row holds anyway. It holds the lineage of its run
itself, not the catalog's series: a node means its run for as long as the kernel holds it (V5, V6), and must not keep
alive what was replaced around it.
"""

from __future__ import annotations

from abc import abstractmethod
from array import array
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypeVar

from readyfs.partition import NOT_SET, Partition, PartitionKey, SeriesKey
from readyfs.vfs.inode_number import LIVE, InodeNumber, NodeKind, TreeName
from readyfs.vfs.nodes import AboveNode, BrokenNode, DateNode, Node
from readyfs.vfs.packed_rows import SHARD_MASK, SHARDS, PackedShard

N = TypeVar("N", bound=Node)


class _Identity(NamedTuple):
    """How many of a row's columns, from the first on, are the identity of its node; the key is not counted."""

    integers: int
    references: int


class PackedNodes(Generic[N]):
    """The nodes of one type, `length` of them, with lookup counts; abstract. The caller holds a lock.

    The integers of a row are its key, its count, and then `integers` further ones.
    """

    integers: int
    references: int
    identity: _Identity
    path: int
    """Which of the references is the path above, with its tree."""

    def __init__(self) -> None:
        self._shards: list[PackedShard | None] = [None] * SHARDS
        self.length = 0

    def __contains__(self, inode: InodeNumber) -> bool:
        shard = self._shards[inode & SHARD_MASK]
        return shard is not None and shard.find(inode) >= 0

    def get(self, inode: InodeNumber) -> N | None:
        """Return a node, made anew, or None."""
        shard = self._shards[inode & SHARD_MASK]
        if shard is None or (slot := shard.find(inode)) < 0:
            return None
        row, width, span = shard.slots[slot], shard.width, shard.span
        return self._unpack(
            inode,
            shard.integers[row * width - self.integers : row * width],
            shard.references[row * span - span : row * span],
        )

    def lookups(self, inode: InodeNumber) -> int:
        """Return a node's lookup count, 0 if it is not there."""
        shard = self._shards[inode & SHARD_MASK]
        if shard is None or (slot := shard.find(inode)) < 0:
            return 0
        return shard.integers[shard.slots[slot] * shard.width - shard.width + 1]

    def count(self, node: N, is_free: Callable[[InodeNumber, PackedNodes[Any]], bool]) -> bool:
        """Count one lookup of a node; return False if its number belongs to another.

        `is_free` tells whether a number that is not known here is known to nobody else.
        """
        inode = node.inode
        shard = self._shards[inode & SHARD_MASK]
        if shard is None:
            shard = self._shards[inode & SHARD_MASK] = PackedShard(2 + self.integers, self.references)
        slot = shard.find(inode)
        integers, references = self._pack(node)
        if slot < 0:
            if not is_free(inode, self):
                return False
            shard.add(slot, (inode, 1, *integers), references)
            self.length += 1
            self._note(references, 1)
            return True
        row = shard.slots[slot] - 1
        first, base = row * shard.width + 1, row * shard.span
        numbers, names = self.identity
        if numbers and shard.integers[first + 1] != integers[0]:
            return False
        if shard.references[base : base + names] != [*references[:names]]:
            return False
        shard.integers[first] += 1
        return True

    def update(self, node: N) -> None:
        """Keep what became of a node beside its identity, if it is there."""
        shard = self._shards[node.inode & SHARD_MASK]
        if shard is None or (slot := shard.find(node.inode)) < 0:
            return
        integers, references = self._pack(node)
        row, width, span = shard.slots[slot], shard.width, shard.span
        shard.integers[row * width - self.integers : row * width] = array("q", integers)
        former = shard.references[row * span - span : row * span]
        self._note(references, 1)  # first, lest its series be missed by whoever asks without the lock
        shard.references[row * span - span : row * span] = references
        self._note(former, -1)

    def lower(self, inode: InodeNumber, count: int) -> bool:
        """Lower a lookup count; at zero the node is gone. Returns whether it was there."""
        at = inode & SHARD_MASK
        shard = self._shards[at]
        if shard is None or (slot := shard.find(inode)) < 0:
            return False
        counted = (shard.slots[slot] - 1) * shard.width + 1
        left = shard.integers[counted] - count
        if left > 0:
            shard.integers[counted] = left
            return True
        self.length -= 1
        first = (shard.slots[slot] - 1) * shard.span
        self._note(shard.references[first : first + shard.span], -1)
        if len(shard) == 1:
            self._shards[at] = None
        else:
            shard.remove(slot)
        return True

    def nodes_of(self, tree: TreeName) -> list[N]:
        """Return the nodes of a view."""
        at = self.path
        found: list[N] = []
        for shard in filter(None, self._shards):
            width, span = shard.width, shard.span
            paths: list[Any] = shard.references[at::span]
            for row, path in enumerate(paths):
                if path.__class__ is _InView and path.tree == tree:
                    node = self.get(InodeNumber(shard.integers[row * width]))
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

    def __init__(self) -> None:
        super().__init__()
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
    partition, path = node.partition, _pack_path(node.above, node.tree)
    if partition is None:
        return (node.date, NOT_SET, NOT_SET), (None, None, path, None)
    (series, date), run_id, updated_at_ns, record_count, schema_version = partition
    return (date, updated_at_ns, record_count), (series, run_id, path, schema_version)


def _unpack_date(inode: InodeNumber, integers: Any, references: Any) -> DateNode:
    date, updated_at_ns, record_count = integers
    series, run_id, path, schema_version = references
    above, tree = _unpack_path(path)
    if run_id is None:
        return DateNode(inode, NodeKind.BROKEN_DATE, above, date, None, tree)
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
