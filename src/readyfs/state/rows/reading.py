"""What all readers of a state share: the answers that follow from rows series by series."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

from readyfs.partition import PartitionKey, PartitionStatus, SeriesKey
from readyfs.state.filters import Filters
from readyfs.state.reader import SeriesDays, SeriesState, StateRow, is_of
from readyfs.state.rows.judge import RowJudge, read_series
from readyfs.state.rows.parser import Row
from readyfs.state.rows.series_state import Found, SeriesMaker, by_key, days_of, rows_of
from readyfs.state.store import StateTable

WAITING: Final = frozenset({PartitionStatus.PENDING, PartitionStatus.FAILED, PartitionStatus.REPROCESSING})
"""The statuses of rows that do not have the ready word."""


def series_of(row: Row) -> SeriesKey:
    """Return the series of a row that begins with a verdict."""
    return read_series(*row[1:4])


def rows_in(series: SeriesKey, rows: Iterable[Row]) -> list[Row]:
    """Return those rows that are of a series."""
    return [row for row in rows if series_of(row) == series]


def group_rows(rows: Iterable[Row]) -> Iterator[Found]:
    """Yield rows, which come in the order of their series, series by series."""
    for _, some in groupby(rows, key=series_of):
        yield None, list(some)


class Reading(ABC):
    """The part of a `StateReader` that is the same for every kind of database."""

    def __init__(self, table: StateTable, filters: Filters) -> None:
        self._table = table
        self._filters = filters

    def rows(self, statuses: frozenset[PartitionStatus] | None = None) -> Iterator[StateRow]:
        """See `StateReader`."""
        if statuses is not None and statuses <= WAITING:
            # They are few in most tables.
            judge = RowJudge(self._table, self._filters)
            yield from sorted(judge.rows(self._find_waiting(), statuses), key=by_key)
            return
        maker = SeriesMaker(self._table, self._filters)
        for state in maker.make(self._find_series(full=True)):
            yield from rows_of(state, self._table.ready, statuses)

    def by_series(self) -> Iterator[SeriesState]:
        """See `StateReader`."""
        return SeriesMaker(self._table, self._filters).make(self._find_series(full=True))

    def series(self) -> Iterator[SeriesDays]:
        """See `StateReader`."""
        return map(days_of, SeriesMaker(self._table, self._filters).make(self._find_series(full=False)))

    def find(self, key: PartitionKey) -> list[StateRow]:
        """See `StateReader`."""
        rows = RowJudge(self._table, self._filters).rows(self._find_rows(key))
        return [row for row in rows if is_of(row, key)]

    @abstractmethod
    def _find_series(self, *, full: bool) -> Iterator[list[Found]]:
        """Yield in batches what the database holds of each series, in the order of their keys.

        If it is not `full`, of dates and times alone.
        """

    @abstractmethod
    def has_one_source(self) -> bool:
        """See `StateReader`."""

    @abstractmethod
    def _find_waiting(self) -> Iterator[Row]:
        """Yield the rows that do not have the ready word, in any order."""

    @abstractmethod
    def _find_rows(self, key: PartitionKey) -> list[Row]:
        """Return the rows of a key, and maybe others; an empty source stands for any."""
