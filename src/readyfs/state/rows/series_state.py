"""The rows of one series, put together from what a database hands over, and told in the forms of the port."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TypeAlias

from readyfs.partition import NOT_SET, PartitionStatus, SeriesKey, WithheldReason
from readyfs.series_rows import SeriesRows
from readyfs.state.filters import Filters
from readyfs.state.reader import SeriesDays, SeriesState, StateRow
from readyfs.state.rows.columns import UnusualError
from readyfs.state.rows.judge import RowJudge
from readyfs.state.rows.parser import Row
from readyfs.state.rows.series_chunk import ChunkReader, SeriesChunk
from readyfs.state.store import StateTable

Found: TypeAlias = tuple[tuple[Any, ...] | None, list[Row]]
"""A `SeriesChunk` as a tuple, with those rows of it that are not plain; or None with all rows of a series."""

TWICE: Final = "two ready rows are of this date"

_LAST: Final = 2**31
"""Stands behind every date."""


class SeriesMaker:
    """Makes the rows of series from what a database found."""

    def __init__(self, table: StateTable, filters: Filters) -> None:
        self._admits = filters.admits
        self._judge = RowJudge(table, filters)
        self._chunks = ChunkReader(table.ready, filters)

    def make(self, batches: Iterable[list[Found]]) -> Iterator[SeriesState]:
        """Yield the series that have a row which the filters admit."""
        for batch in batches:
            chunks = [SeriesChunk(*cells) for cells, _ in batch if cells is not None]
            times = iter(zip(chunks, self._chunks.times(chunks), strict=True)) if chunks else iter(())
            for cells, rows in batch:
                state = state_of(self._judge.rows(rows)) if cells is None else self._of_chunk(*next(times), rows)
                if state is not None:
                    yield state

    def _of_chunk(self, chunk: SeriesChunk, times: Sequence[int] | None, rows: list[Row]) -> SeriesState | None:
        series = chunk.series
        if not self._admits(series):
            return None
        odd = list(self._judge.rows(rows))
        try:
            if any(row.status is PartitionStatus.READY for row in odd):
                raise UnusualError
            ready = self._chunks.read(chunk, times)
        except UnusualError:
            return state_of(self._judge.rows([*self._chunks.cells(chunk), *rows]))
        if len(odd) > 1:
            odd.sort(key=by_date)
        return SeriesState(series, ready, odd) if odd or len(ready) else None


def rows_of(state: SeriesState, word: str, statuses: frozenset[PartitionStatus] | None = None) -> Iterator[StateRow]:
    """Yield the rows of a series by date, of these statuses; `word` is what ready rows say."""
    others: Sequence[StateRow] = state.others
    if statuses is not None:
        others = [row for row in others if row.status in statuses]
        if PartitionStatus.READY not in statuses:
            yield from others
            return
    place, end = 0, len(others)
    series, ready = state.series, PartitionStatus.READY
    for date, run_id, updated_at_ns, record_count, version in state.ready.columns:
        while place < end and by_date(others[place]) < date:
            yield others[place]
            place += 1
        yield StateRow(series, date, ready, word, run_id, updated_at_ns, record_count, version, None, NOT_SET, None, "")
    yield from others[place:]


def days_of(state: SeriesState) -> SeriesDays:
    """Return what the rows of a series say of its dates."""
    others = state.others
    if others and others[-1].date is None:
        others = others[: bisect_left(others, _LAST, key=by_date)]
    return SeriesDays(state.series, state.ready.dates, others, max(state.ready.updated_at_ns, default=NOT_SET))


def state_of(rows: Iterable[StateRow]) -> SeriesState | None:
    """Return the rows of one series, None without any; of ready rows of one date none can be shown."""
    found = sorted(rows, key=by_date)
    if not found:
        return None
    times = Counter(row.date for row in found if row.status is PartitionStatus.READY)
    ready: list[tuple[int, bytes, int, int, bytes | None]] = []
    others: list[StateRow] = []
    for row in found:
        if row.date is None or row.status is not PartitionStatus.READY:
            others.append(row)
        elif times[row.date] > 1:
            withheld = row._replace(
                status=PartitionStatus.WITHHELD, withheld=WithheldReason.AMBIGUOUS_PATH, detail=TWICE
            )
            others.append(withheld)
        else:
            ready.append((row.date, row.run_id, row.updated_at_ns, row.record_count, row.schema_version))
    columns = list(zip(*ready, strict=True)) or [()] * 5
    dates, run_ids, updated_at_ns, counts, versions = columns
    rows_now = SeriesRows(
        array("i", dates), tuple(run_ids), array("q", updated_at_ns), array("q", counts), tuple(versions), True
    )
    return SeriesState(found[0].series, rows_now, others)


def by_key(row: StateRow) -> tuple[SeriesKey, int]:
    """Return what rows are sorted by."""
    return row.series, by_date(row)


def by_date(row: StateRow) -> int:
    """Return what the rows of a series are sorted by; those without a date come last."""
    return _LAST if row.date is None else row.date
