"""Nodes as rows: the columns that are needed to make a node anew, of which the first ones are its identity.

Used by `inode_table`. The kernel may know millions of directories and files, so those are not kept as objects: a row
holds what cannot be derived, and refers to names that the catalog or another row holds anyway. It holds the lineage of
its run itself, not the catalog's series: a node means its run for as long as the kernel holds it (V5, V6), and must not
keep alive what was replaced around it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar, cast

from readyfs.partition import NOT_SET, Partition, PartitionKey, RunKey, SeriesKey
from readyfs.raw.store import RawStat
from readyfs.vfs.inode_number import LIVE, InodeNumber, NodeKind, TreeName
from readyfs.vfs.nodes import AboveNode, BrokenNode, DateNode, Node, RawNode
from readyfs.vfs.packed_rows import SHARDS, Integers, MakeRows, References

N = TypeVar("N", bound=Node)


REGULAR: Final = 1
SUPERSEDED: Final = 2
SERVABLE: Final = 4
"""Bits of a raw node's state: a regular file; one that was replaced; one that the request loop may serve."""
PUBLISHED: Final = 8
"""All its times show what was published."""
PUSHED: Final = 16
"""The kernel was given its bytes."""
GENERATION_SHIFT: Final = 16
_DATE_BITS: Final = 22
"""Enough for 9999-12-31; the sealing is behind them."""
_DATE_MASK: Final = (1 << _DATE_BITS) - 1
_IDENTITY_BITS: Final = REGULAR | PUBLISHED | -1 << GENERATION_SHIFT
"""Those of a state that tell nodes of one place apart; whether a directory's time was published does not."""


_MOST_LOOKUPS: Final = 1 << 62
"""More than any node has; a request may name 64 bits without a sign."""


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
    """Which of the references is the path above or holds it, with its tree."""

    def __init__(self, make_rows: MakeRows) -> None:
        self.rows = make_rows(self.integers, self.references)

    def get(self, inode: InodeNumber) -> N | None:
        """Return a node, made anew, or None."""
        row = self.rows.get(inode)
        return None if row is None else self._unpack(inode, *row)

    def holds(self, node: N) -> bool | None:
        """Return whether a node is held as it is; None if none of this type is held by its number."""
        row = self.rows.get(node.inode)
        return None if row is None else row == self._pack(node)

    def count(self, node: N, is_free: Callable[[InodeNumber, PackedNodes[Any]], bool]) -> bool:
        """Count one lookup of a node; return False if its number belongs to another.

        `is_free` tells whether a number that is not known here is known to nobody else.
        """
        inode = node.inode
        integers, references = row = self._pack(node)
        known = self.rows.get(inode)
        if known is None:
            if not is_free(inode, self):
                return False
            self.rows.add(inode, integers, references)
            self._note(references, 1)
            return True
        return (known == row or self._is_same(integers, references, *known)) and self.rows.count(inode, 1) is not None

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
        gone = self.rows.count(inode, -min(count, _MOST_LOOKUPS))
        if gone:
            self._note(gone, -1)
        return gone is not None

    def nodes_of(self, tree: TreeName) -> list[N]:
        """Return the nodes of a view."""
        found: list[N] = []
        for shard in range(SHARDS):
            for key, path in self.rows.scan(shard, self.path):
                if path.__class__ is _Home:
                    path = path.path
                if path.__class__ is _InView and path.tree == tree:
                    node = self.get(InodeNumber(key))
                    assert node is not None
                    found.append(node)
        return found

    def _is_same(self, integers: Integers, references: References, known: Integers, names: References) -> bool:
        """Whether the row of a node and a known one are of the same identity."""
        numbers, objects = self.identity
        return known[:numbers] == integers[:numbers] and names[:objects] == references[:objects]

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

    def live_run(self, inode: InodeNumber) -> RunKey | None:
        """Return the run of a date directory of the live tree, None for all else."""
        row = self.rows.get(inode)
        if row is None:
            return None
        integers, references = row
        series, run_id, path, _ = cast(_DateReferences, references)
        return None if run_id is None or path.__class__ is _InView else (PartitionKey(series, integers[0]), run_id)

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


class RawNodes(PackedNodes[RawNode]):
    """First what the request loop reads of a file (src/native/native.h), then the rest; see `RawNode`.

    The integers: size, time and number of the raw file, the time that is shown, `state`, the date with the sealing,
    and the row's two. The references: the paths of the run's directory and of the node in it, what nodes of one
    series share, and the run id. The bits of `state` say of which kind the node is and what became of it; behind them
    is the generation.
    """

    integers, references, path = 8, 4, 2

    def sealed_size(self, inode: InodeNumber) -> int | None:
        """Return the size in bytes of a regular file, None for all else."""
        row = self.rows.get(inode)
        return row[0][0] if row is not None and row[0][4] & REGULAR else None

    def holds(self, node: RawNode) -> bool | None:
        """See `PackedNodes.holds`; who makes a node of a name does not know whether its bytes were given away."""
        row = self.rows.get(node.inode)
        if row is None or not row[0][4] & PUSHED:
            return None if row is None else row == self._pack(node)
        return row == self._pack(replace(node, pushed=True))

    def note_pushed(self, inode: InodeNumber) -> None:
        """Note that the kernel was given the bytes of a file, if that is there."""
        row = self.rows.get(inode)
        if row is not None:
            (*before, state, dated, updated_at_ns, record_count), references = row
            self.rows.update(inode, (*before, state | PUSHED, dated, updated_at_ns, record_count), references)

    def nodes_in(self, shard: int, run_ids: Collection[bytes]) -> list[RawNode]:
        """Return the nodes of a shard whose run has one of some ids, whatever its partition."""
        found = [self.get(InodeNumber(key)) for key, run_id in self.rows.scan(shard, 3) if run_id in run_ids]
        return [node for node in found if node is not None]

    def _pack(self, node: RawNode) -> tuple[tuple[int, ...], tuple[Any, ...]]:
        (series, date), run_id, updated_at_ns, record_count, schema_version = node.partition
        size, mtime_ns, file = node.stat
        state, shown_ns = node.generation << GENERATION_SHIFT, mtime_ns
        if node.kind is NodeKind.RAW_FILE:
            state |= REGULAR | SERVABLE if node.place else REGULAR
        if node.superseded:
            state |= SUPERSEDED
        if node.pushed:
            state |= PUSHED
        if node.published_ns != NOT_SET:
            state, shown_ns = state | PUBLISHED, node.published_ns
        path = node.above if node.tree is LIVE else _pack_path(node.above, node.tree)
        shown_ns = shown_ns if shown_ns > 0 else 0
        dated = date | node.sealing << _DATE_BITS
        return (
            (size, mtime_ns, file, shown_ns, state, dated, updated_at_ns, record_count),
            (node.place, _joined(node.relpath), _home(series, path, schema_version), run_id),
        )

    def _unpack(self, inode: InodeNumber, integers: Any, references: Any) -> RawNode:
        size, mtime_ns, file, shown_ns, state, dated, updated_at_ns, record_count = integers
        place, relpath, (series, path, schema_version), run_id = references
        above, tree = _unpack_path(path)
        return RawNode(
            inode,
            NodeKind.RAW_FILE if state & REGULAR else NodeKind.RAW_DIRECTORY,
            Partition(PartitionKey(series, dated & _DATE_MASK), run_id, updated_at_ns, record_count, schema_version),
            above,
            (*relpath.split(b"/"),),
            RawStat(size, mtime_ns, file),
            state >> GENERATION_SHIFT,
            state & SUPERSEDED != 0,
            state & PUSHED != 0,
            shown_ns if state & PUBLISHED else NOT_SET,
            dated >> _DATE_BITS,
            tree,
            place,
        )

    def _is_same(self, integers: Integers, references: References, known: Integers, names: References) -> bool:
        _, _, _, shown_ns, state, dated, *_ = integers
        _, _, _, known_shown_ns, known_state, known_dated, *_ = known
        if (state ^ known_state) & _IDENTITY_BITS or (dated ^ known_dated) & _DATE_MASK:
            return False
        _, relpath, (series, path, _), run_id = cast(_RawReferences, references)
        _, known_relpath, (known_series, known_path, _), known_run_id = cast(_RawReferences, names)
        if relpath != known_relpath or run_id != known_run_id or series != known_series:
            return False
        if state & REGULAR:
            return not state & PUBLISHED or shown_ns == known_shown_ns
        return _unpack_path(path)[1] == _unpack_path(known_path)[1]


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


class _Home(NamedTuple):
    """What the nodes of a series have in common: where its dates are is packed with the tree."""

    series: SeriesKey
    path: Any
    schema_version: bytes | None


_DateReferences: TypeAlias = tuple[Any, bytes | None, Any, bytes | None]
_RawReferences: TypeAlias = tuple[bytes, bytes, _Home, bytes]
_home = lru_cache(maxsize=1024)(_Home)
_joined = lru_cache(maxsize=1024)(b"/".join)
"""Makes one object for equal places below runs: many have the same few."""


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
