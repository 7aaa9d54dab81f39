"""Directories down to the dates as rows, and what a broken run shows below its date; see `packed_nodes`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeAlias, cast

from readyfs.partition import NOT_SET, Partition, PartitionKey, RunKey, SeriesKey
from readyfs.vfs.inode_number import LIVE, InodeNumber, NodeKind
from readyfs.vfs.nodes import AboveNode, BrokenNode, DateNode
from readyfs.vfs.packed_nodes import Identity, PackedNodes
from readyfs.vfs.packed_path import InView, pack_path, unpack_path
from readyfs.vfs.packed_rows import MakeRows

_DateReferences: TypeAlias = tuple[Any, bytes | None, Any, bytes | None]


class AboveNodes(PackedNodes[AboveNode]):
    """The path."""

    integers, references, identity, path = 0, 1, Identity(0, 1), 0

    def _pack(self, node: AboveNode) -> tuple[tuple[int, ...], tuple[Any, ...]]:
        return (), (pack_path(node.path, node.tree),)

    def _unpack(self, inode: InodeNumber, integers: Any, references: Any) -> AboveNode:
        return AboveNode(inode, NodeKind.ABOVE, *unpack_path(references[0]))


class DateNodes(PackedNodes[DateNode]):
    """The date and its row of the state table; where no row is, because the path is ambiguous, that stands for it."""

    integers, references, identity, path = 3, 4, Identity(1, 3), 2

    def __init__(self, make_rows: MakeRows) -> None:
        super().__init__(make_rows)
        self._by_series: dict[SeriesKey, int] = {}

    def live_run(self, inode: InodeNumber) -> RunKey | None:
        """Return the run of a date directory of the live tree, None for all else."""
        row = self.rows.get(inode)
        if row is None:
            return None
        integers, references = row
        series, run_id, path, _ = cast(_DateReferences, references)
        return None if run_id is None or path.__class__ is InView else (PartitionKey(series, integers[0]), run_id)

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

    integers, references, identity, path = 4, 6, Identity(1, 5), 2

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
    path = node.above if node.tree is LIVE else pack_path(node.above, node.tree)
    if partition is None:
        return (node.date, NOT_SET, NOT_SET), (node.name, None, path, None)
    (series, date), run_id, updated_at_ns, record_count, schema_version = partition
    return (date, updated_at_ns, record_count), (series, run_id, path, schema_version)


def _unpack_date(inode: InodeNumber, integers: Any, references: Any) -> DateNode:
    date, updated_at_ns, record_count = integers
    series, run_id, above, schema_version = references
    tree = LIVE
    if above.__class__ is InView:
        tree, above = above
    if run_id is None:
        return DateNode(inode, NodeKind.BROKEN_DATE, above, date, None, tree, series)
    partition = Partition(PartitionKey(series, date), run_id, updated_at_ns, record_count, schema_version)
    return DateNode(inode, NodeKind.DATE, above, date, partition, tree)


@lru_cache(maxsize=1024)
def _shared(relpath: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Return one object for equal places: most runs have the same few."""
    return relpath
