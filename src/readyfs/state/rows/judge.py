"""Judging one row in any status as a mount judges ready ones, and telling people what it says.

The first cell is the database's verdict on the status: `SAYS_READY`, `SAYS_FAILED` or `SAYS_OTHER`. A database that
compares by a collation may take other words for one of the two; then it is `MAY_SAY`, and the cell itself is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

from readyfs.partition import NOT_SET, PartitionStatus, SeriesKey, WithheldReason
from readyfs.state.filters import Filters
from readyfs.state.reader import StateRow
from readyfs.state.rows.parser import NO_RUN_ID, ROW_FIELDS, Row, find_faults
from readyfs.state.rows.status import says_ready
from readyfs.state.rows.values import (
    BadValueError,
    parse_id,
    parse_logical_date,
    parse_record_count,
    parse_schema_version,
    parse_updated_at,
)
from readyfs.state.store import StateTable

READER_FIELDS: Final = (*ROW_FIELDS, "error_message", "attempt_count")
"""The order of the cells after the verdict, by the names of their settings in `StateTable`."""
SAYS_OTHER: Final = 0
SAYS_READY: Final = 1
SAYS_FAILED: Final = 2
MAY_SAY: Final = 3

_REMEMBERED: Final = 100_000

T = TypeVar("T")
U = TypeVar("U")


class RowJudge:
    """Makes a `StateRow` of each row that the filters admit."""

    def __init__(self, table: StateTable, filters: Filters) -> None:
        self._ready, self._failed = (word.encode("utf-8", "surrogateescape") for word in (table.ready, table.failed))
        self._table = table
        self._filters = filters
        self._first, self._last = filters.date_range
        self._admitted: dict[SeriesKey, bool] = {}
        self._dates = _Dates()

    def rows(self, rows: Iterable[Row], statuses: frozenset[PartitionStatus] | None = None) -> Iterator[StateRow]:
        """Yield what rows say: those that the filters admit, of these statuses."""
        for row in rows:
            judged = self.judge(row)
            if judged is not None and (statuses is None or judged.status in statuses):
                yield judged

    def judge(self, row: Row) -> StateRow | None:
        """Return what a row says, None if the filters do not admit it.

        Message and attempts are of rows that are not ready. What cannot be read of a key passes no filter but one that
        lets everything pass.
        """
        verdict, source, customer, query, day, said, run, updated, count, version, message, attempts = row
        if type(source) is type(customer) is type(query) is bytes:
            series = SeriesKey(source, customer, query)
        else:
            series = read_series(source, customer, query)
        date = self._dates[day] if type(day) is bytes else _read(parse_logical_date, day, None)
        if not self._admits(series) or not (date is None or self._first <= date <= self._last):
            return None
        run_id = b"" if run is None else _read(parse_id, run, None)
        says = self._verdict(said) if verdict == MAY_SAY else verdict
        if says == SAYS_READY and not run_id and None not in (date, run_id) and _is_readable(source, customer, query):
            # As in a mount, where such a row is not judged any further.
            status, withheld, detail = PartitionStatus.WITHHELD, WithheldReason.NO_RUN_ID, NO_RUN_ID
        elif says == SAYS_READY and (faults := "; ".join(find_faults(row[1:10]))):
            status, withheld, detail = PartitionStatus.WITHHELD, WithheldReason.BAD_ROW, faults
        else:
            status, withheld, detail = _STATUSES[says, bool(run_id)], None, ""
        return StateRow(
            series,
            date,
            status,
            self._table.ready if says == SAYS_READY else render_word(said) or "",
            run_id or b"",
            _read(parse_updated_at, updated, NOT_SET),
            NOT_SET if count is None else _read(parse_record_count, count, NOT_SET),
            None if version is None else _read(parse_schema_version, version, None),
            None if says == SAYS_READY or message is None else render_word(message),
            NOT_SET if says == SAYS_READY or attempts is None else _read(parse_record_count, attempts, NOT_SET),
            withheld,
            detail,
        )

    def _verdict(self, said: object) -> int:
        if says_ready(said, self._ready):
            return SAYS_READY
        return SAYS_FAILED if says_ready(said, self._failed) else SAYS_OTHER

    def _admits(self, series: SeriesKey) -> bool:
        admitted = self._admitted.get(series)
        if admitted is None:
            if len(self._admitted) > _REMEMBERED:
                self._admitted.clear()
            admitted = self._admitted[series] = self._filters.admits(series)
        return admitted


class _Dates(dict[bytes, int | None]):
    """Dates by their text, None for a text that is none."""

    def __missing__(self, text: bytes) -> int | None:
        if len(self) > _REMEMBERED:
            self.clear()
        date = self[text] = _read(parse_logical_date, text, None)
        return date


_STATUSES: Final[dict[tuple[object, bool], PartitionStatus]] = {
    (SAYS_READY, True): PartitionStatus.READY,
    (SAYS_FAILED, True): PartitionStatus.FAILED,
    (SAYS_FAILED, False): PartitionStatus.FAILED,
    (SAYS_OTHER, True): PartitionStatus.REPROCESSING,
    (SAYS_OTHER, False): PartitionStatus.PENDING,
}
"""By what the status says, and whether a run is named."""


def read_series(*parts: object) -> SeriesKey:
    """Return what can be read of the first three parts of a key."""
    source, customer, query = (_read(parse_id, part, b"") for part in parts)
    return SeriesKey(source, customer, query)


def _is_readable(*parts: object) -> bool:
    return None not in (_read(parse_id, part, None) for part in parts)


def render_word(cell: object) -> str | None:
    """Return what a cell says as text, None for NULL; what is not UTF-8 is escaped."""
    match cell:
        case bytes():
            return cell.decode("utf-8", "backslashreplace")
        case None:
            return None
        case bool():
            return str(cell).lower()
        case float():
            return f"{cell:.15g}"
    text = _read(parse_id, cell, None)
    return str(cell) if text is None else text.decode("utf-8", "backslashreplace")


def _read(parse: Callable[[object], T], cell: object, otherwise: U) -> T | U:
    try:
        return parse(cell)
    except BadValueError:
        return otherwise
