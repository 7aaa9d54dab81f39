"""One series: the ready dates of one (source, customer, query) with their runs, in compact parallel columns.

Built by `readyfs.catalog.build`, read by every directory above it. Invariant: dates are sorted and unique, and
two series with the same digest are the same content under the same key.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice, pairwise
from operator import ge

from readyfs.catalog.digests import Blocks, hash_parts, little_endian
from readyfs.partition import NOT_SET, Partition, PartitionKey, SeriesKey
from readyfs.series_rows import SeriesRows


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """The ready partitions of one series; `ambiguous` holds the dates that two of its own rows claim.

    `blocks` has what the digest is made of, so that a change costs the hash of few rows.
    """

    key: SeriesKey
    dates: array[int]
    run_ids: tuple[bytes, ...]
    updated_at_ns: array[int]
    record_counts: array[int]
    schema_versions: tuple[bytes | None, ...]
    ambiguous: tuple[int, ...]
    newest_ns: int
    blocks: Blocks
    digest: bytes

    def __len__(self) -> int:
        return len(self.dates)

    def find(self, date: int) -> Partition | None:
        """Return the ready partition of a date, or None."""
        place = self.place(date)
        return None if place < 0 else self.at(place)

    def place(self, date: int) -> int:
        """Return the position of a date, -1 if it is not ready."""
        place = bisect_left(self.dates, date)
        return place if place < len(self.dates) and self.dates[place] == date else -1

    def at(self, index: int) -> Partition:
        """Return the partition at a position of the sorted dates."""
        return Partition(
            PartitionKey(self.key, self.dates[index]),
            self.run_ids[index],
            self.updated_at_ns[index],
            self.record_counts[index],
            self.schema_versions[index if len(self.schema_versions) > 1 else 0],
        )


def build_series(key: SeriesKey, rows: SeriesRows) -> Series:
    """Sort the rows of one series, set apart the dates that stand twice, and hash the result."""
    ambiguous: tuple[int, ...] = ()
    if not rows.is_ordered and any(map(ge, rows.dates, islice(rows.dates, 1, None))):
        rows, ambiguous = _sorted_unique(rows)
    versions = _shortened(rows.schema_versions)
    newest_ns = max(rows.updated_at_ns, default=NOT_SET)
    return _series(key, rows, versions, ambiguous, newest_ns, Blocks.of(rows, versions))


def patch_series(before: Series, rows: SeriesRows, changed: Collection[int]) -> Series:
    """Return what `build_series` does for ordered rows that differ from those of `before` at no other dates.

    There must be rows, and nothing ambiguous before.
    """
    newest_ns = NOT_SET
    came: list[bytes | None] = []
    for date in changed:
        place = bisect_left(rows.dates, date)
        if place < len(rows) and rows.dates[place] == date:
            came.append(rows.schema_versions[place])
            newest_ns = max(newest_ns, rows.updated_at_ns[place])
    versions = before.schema_versions
    if versions is not rows.schema_versions and (len(versions) != 1 or came.count(versions[0]) != len(came)):
        versions = _shortened(rows.schema_versions)
    if newest_ns < before.newest_ns:
        # Another row may have been the newest, and still be.
        were = (before.updated_at_ns[place] for place in map(before.place, changed) if place >= 0)
        newest_ns = max(rows.updated_at_ns) if before.newest_ns in were else before.newest_ns
    return _series(before.key, rows, versions, (), newest_ns, before.blocks.patched(rows, versions, changed))


def _series(
    key: SeriesKey,
    rows: SeriesRows,
    versions: tuple[bytes | None, ...],
    ambiguous: tuple[int, ...],
    newest_ns: int,
    blocks: Blocks,
) -> Series:
    return Series(
        key=key,
        dates=rows.dates,
        run_ids=rows.run_ids,
        updated_at_ns=rows.updated_at_ns,
        record_counts=rows.record_counts,
        schema_versions=versions,
        ambiguous=ambiguous,
        newest_ns=newest_ns,
        blocks=blocks,
        digest=hash_parts(b"series", (*key, little_endian(array("i", ambiguous)), blocks.digests)),
    )


def _shortened(versions: tuple[bytes | None, ...]) -> tuple[bytes | None, ...]:
    return versions[:1] if len(set(versions)) == 1 else versions


def _sorted_unique(rows: SeriesRows) -> tuple[SeriesRows, tuple[int, ...]]:
    order = sorted(range(len(rows)), key=rows.dates.__getitem__)
    twice = {rows.dates[a] for a, b in pairwise(order) if rows.dates[a] == rows.dates[b]}
    return rows.take([index for index in order if rows.dates[index] not in twice]), tuple(sorted(twice))
