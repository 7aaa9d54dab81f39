"""`ls`: the partitions of a state, one by one in the order of their keys, with the dates that have no row among them.

Rows go through as they come in, so that the memory that a list takes does not grow with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from readyfs.partition import NOT_SET, Partition, PartitionKey, PartitionStatus, SeriesKey
from readyfs.state.filters import Filters
from readyfs.state.reader import StateReader, StateRow

if TYPE_CHECKING:
    # Few lists ask for what is missing, and the others do without the time that this takes.
    from readyfs.consumer.cadence import Cadence

IN_THE_TABLE: Final = frozenset(PartitionStatus) - {PartitionStatus.MISSING, PartitionStatus.BROKEN}
"""What the rows of a table can be; `BROKEN` takes a look, and `MISSING` a cadence."""

FindBroken = Callable[[Sequence[Partition]], Iterable[str]]
"""Tells of each partition what makes its run broken, with an empty text of one that can be served."""

_AT_ONCE: Final = 256
"""How many rows are looked at together. Their order is kept, so the slowest look holds up the others."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What is wanted of a list: which statuses, and of each series only its newest ready date with `is_latest`.

    `cadence` says which dates are expected, from `since` or the first of a series up to `until`.
    """

    statuses: frozenset[PartitionStatus] = IN_THE_TABLE
    cadence: Cadence | None = None
    since: int | None = None
    until: int = 0
    is_latest: bool = False


def is_whole(listing: Listing) -> bool:
    """Tell whether a list is of all rows of the table, and of nothing else."""
    return listing.statuses >= IN_THE_TABLE and listing.cadence is None and not listing.is_latest


def filters_of(listing: Listing, filters: Filters) -> Filters:
    """Return the filters with which a list must read: what is missing shows only beside all rows of a series."""
    if listing.cadence is None:
        return filters
    return Filters(filters.sources, filters.customers, filters.queries)


def list_partitions(
    reader: StateReader, listing: Listing, filters: Filters, find_broken: FindBroken | None = None
) -> Iterator[StateRow]:
    """Yield what is wanted of the rows of a reader that was opened with `filters_of`; raise `StateError`."""
    statuses = listing.statuses
    if PartitionStatus.BROKEN in statuses:
        statuses |= {PartitionStatus.READY}
    if listing.cadence is not None or statuses >= IN_THE_TABLE:
        rows = reader.rows()
    else:
        rows = reader.rows(statuses - {PartitionStatus.MISSING, PartitionStatus.BROKEN})
    if listing.cadence is not None:
        rows = _in_range(_fill(rows, listing.cadence, listing), filters)
    if listing.is_latest:
        rows = _newest_ready(rows)
    if find_broken is not None:
        rows = _mark_broken(rows, find_broken)
    if listing.statuses >= IN_THE_TABLE and listing.cadence is None:
        return rows
    return (row for row in rows if row.status in listing.statuses)


def _fill(rows: Iterable[StateRow], cadence: Cadence, listing: Listing) -> Iterator[StateRow]:
    """Yield the rows with what is missing among them; a series comes with its dates in order."""
    for series, some in groupby(rows, key=itemgetter(0)):
        first = next(some)
        begin = listing.since if listing.since is not None else first.date
        # Where no row of a series has a date, nothing is expected of it.
        expected = () if begin is None else cadence.expected(begin, listing.until)
        yield from _fill_series(series, chain((first,), some), expected)  # noqa: B031 - all of it, once


def _fill_series(series: SeriesKey, rows: Iterable[StateRow], expected: Sequence[int]) -> Iterator[StateRow]:
    index, count = 0, len(expected)
    for row in rows:
        date = row.date
        while index < count and (date is None or expected[index] < date):
            yield _missing(series, expected[index])
            index += 1
        if index < count and expected[index] == date:
            index += 1
        yield row
    for left in range(index, count):
        yield _missing(series, expected[left])


def _missing(series: SeriesKey, date: int) -> StateRow:
    return StateRow(series, date, PartitionStatus.MISSING, "", b"", NOT_SET, NOT_SET, None, None, NOT_SET)


def _in_range(rows: Iterable[StateRow], filters: Filters) -> Iterator[StateRow]:
    """Yield rows of the dates that are wanted; those without a date as a reader does."""
    first, last = filters.date_range
    return (row for row in rows if row.date is None or first <= row.date <= last)


def _newest_ready(rows: Iterable[StateRow]) -> Iterator[StateRow]:
    """Yield the newest ready row of each series, which is where `latest` leads."""
    for _, some in groupby(rows, key=itemgetter(0)):
        newest = None
        for row in some:
            if row.status is PartitionStatus.READY:
                newest = row
        if newest is not None:
            yield newest


def _mark_broken(rows: Iterable[StateRow], find_broken: FindBroken) -> Iterator[StateRow]:
    """Yield rows, and as broken those that are ready and whose run cannot be served."""
    iterator = iter(rows)
    while some := list(islice(iterator, _AT_ONCE)):
        faults = iter(find_broken([_partition_of(row) for row in some if row.status is PartitionStatus.READY]))
        for row in some:
            if row.status is PartitionStatus.READY and (fault := next(faults)):
                yield row._replace(status=PartitionStatus.BROKEN, detail=fault)
            else:
                yield row


def _partition_of(row: StateRow) -> Partition:
    assert row.date is not None
    key = PartitionKey(row.series, row.date)
    return Partition(key, row.run_id, row.updated_at_ns, row.record_count, row.schema_version)
