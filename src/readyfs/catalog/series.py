"""One series: the ready dates of one (source, customer, query) with their runs, in blocks of neighbouring dates.

Built by `readyfs.catalog.build`, read by every directory above it. Invariant: dates are sorted and unique, and
two series with the same digest are the same content under the same key. Series share the blocks that are the same, so
that a catalog that is kept costs what differs.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from operator import ge

from readyfs.catalog.digests import hash_parts
from readyfs.partition import NOT_SET, Partition, PartitionKey, SeriesKey
from readyfs.series_rows import Row, SeriesRows
from readyfs.series_rows.blocks import (
    Blocks,
    digests_of,
    find_row,
    join_blocks,
    little_endian,
    rows_from,
    share_blocks,
)


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """The ready partitions of one series; `ambiguous` holds the dates that two of its own rows claim."""

    key: SeriesKey
    blocks: Blocks
    ambiguous: tuple[int, ...]
    newest_ns: int
    digest: bytes

    def __len__(self) -> int:
        return sum(map(len, self.blocks))

    def __iter__(self) -> Iterator[int]:
        return iter(self.dates)

    @property
    def dates(self) -> array[int]:
        """All dates, sorted; made anew for whoever asks, and so are the other columns."""
        return join_blocks(self.blocks).dates

    @property
    def run_ids(self) -> tuple[bytes, ...]:
        """The run id of each date."""
        return join_blocks(self.blocks).run_ids

    @property
    def updated_at_ns(self) -> array[int]:
        """When each row was updated."""
        return join_blocks(self.blocks).updated_at_ns

    @property
    def record_counts(self) -> array[int]:
        """The record count of each row."""
        return join_blocks(self.blocks).record_counts

    @property
    def schema_versions(self) -> tuple[bytes | None, ...]:
        """The schema version of each row, or one if all have the same."""
        return join_blocks(self.blocks).compact().schema_versions

    def row(self, date: int) -> Row | None:
        """Return the row of a date, or None if it is not ready."""
        return find_row(self.blocks, date)

    def find(self, date: int) -> Partition | None:
        """Return the ready partition of a date, or None."""
        row = find_row(self.blocks, date)
        if row is None:
            return None
        return Partition(PartitionKey(self.key, date), row[1], row[2], row[3], row[4])

    def at(self, index: int) -> Partition:
        """Return the partition at a position of the sorted dates."""
        for block in self.blocks:
            if index < block.size:
                return self.partition(block.at(index))
            index -= block.size
        raise IndexError(index)

    def meanings_from(self, index: int) -> Iterator[tuple[int, Partition]]:
        """Yield each date with its partition, from a position of the sorted dates on."""
        key = self.key
        for date, run_id, updated_at_ns, record_count, schema_version in rows_from(self.blocks, index):
            yield date, Partition(PartitionKey(key, date), run_id, updated_at_ns, record_count, schema_version)

    def partition(self, row: Row) -> Partition:
        """Return the partition of one of the rows."""
        date, run_id, updated_at_ns, record_count, schema_version = row
        return Partition(PartitionKey(self.key, date), run_id, updated_at_ns, record_count, schema_version)

    def has_runs_of(self, other: Series) -> bool:
        """Tell whether both have the same dates, each with the same run id."""
        return len(self.blocks) == len(other.blocks) and all(
            mine is theirs or mine.has_runs_of(theirs) for mine, theirs in zip(self.blocks, other.blocks, strict=True)
        )


def build_series(key: SeriesKey, rows: SeriesRows, before: Series | None = None) -> Series:
    """Sort the rows of one series, set apart the dates that stand twice, and hash the result.

    What is equal in the series as it was before is shared with it.
    """
    ambiguous: tuple[int, ...] = ()
    if not rows.is_ordered and any(map(ge, rows.dates, islice(rows.dates, 1, None))):
        rows, ambiguous = _sorted_unique(rows)
    blocks = rows.blocks if before is None else share_blocks(rows.blocks, before.blocks)
    return _series(key, blocks, ambiguous, max(rows.updated_at_ns, default=NOT_SET))


def patch_series(before: Series, rows: SeriesRows, changed: Collection[int]) -> Series:
    """Return what `build_series` does for ordered rows that differ from those of `before` at no other dates.

    There must be rows, and nothing ambiguous before.
    """
    newest_ns = max((row[2] for row in map(rows.row, changed) if row is not None), default=NOT_SET)
    if newest_ns < before.newest_ns:
        # Another row may have been the newest, and still be.
        were = (row[2] for row in map(before.row, changed) if row is not None)
        newest_ns = max(rows.updated_at_ns) if before.newest_ns in were else before.newest_ns
    return _series(before.key, share_blocks(rows.blocks, before.blocks), (), newest_ns)


def _series(key: SeriesKey, blocks: Blocks, ambiguous: tuple[int, ...], newest_ns: int) -> Series:
    digest = hash_parts(b"series", (*key, little_endian(array("i", ambiguous)), digests_of(blocks)))
    return Series(key, blocks, ambiguous, newest_ns, digest)


def _sorted_unique(rows: SeriesRows) -> tuple[SeriesRows, tuple[int, ...]]:
    dates = rows.dates
    order = sorted(range(len(rows)), key=dates.__getitem__)
    twice = {dates[a] for a, b in pairwise(order) if dates[a] == dates[b]}
    return rows.take([index for index in order if dates[index] not in twice]), tuple(sorted(twice))
