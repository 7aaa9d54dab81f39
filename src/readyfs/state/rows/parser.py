"""Parsing rows: one pass from fetched rows to series, in which a row that cannot be parsed is withheld.

A `RowParser` lives for one load and runs after the transaction has ended, so its time holds up nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeAlias

from readyfs.partition import SeriesKey, WithheldExample, WithheldReason, WithheldTally, render_date
from readyfs.series_rows import SeriesRows
from readyfs.state.rows.columns import Chunk, UnusualError, add_chunk, split_rows
from readyfs.state.rows.records import Records
from readyfs.state.rows.status import says_ready
from readyfs.state.rows.values import (
    BadValueError,
    parse_id,
    parse_logical_date,
    parse_record_count,
    parse_schema_version,
    parse_updated_at,
    quote_value,
    show_value,
)
from readyfs.state.rows.vocabulary import Vocabulary
from readyfs.text import escape_text

ROW_FIELDS: Final = (
    "source",
    "customer_id",
    "query_name",
    "logical_date",
    "status",
    "current_run_id",
    "updated_at",
    "record_count",
    "schema_version",
)
"""The order of the cells in a row, by the names of their settings in `StateTable`."""
KEY_FIELDS: Final = ROW_FIELDS[:4]
"""What tells one partition from another."""
NO_RUN_ID: Final = "the row is ready and has no run id"

_PARSERS: Final[dict[str, Callable[[object], object]]] = {
    "source": parse_id,
    "customer_id": parse_id,
    "query_name": parse_id,
    "logical_date": parse_logical_date,
    "current_run_id": parse_id,
    "updated_at": parse_updated_at,
    "record_count": parse_record_count,
    "schema_version": parse_schema_version,
}

_COUNT_LIMIT: Final = 2**63
"""As for `parse_record_count`."""

Row = Sequence[object]
RawKey: TypeAlias = tuple[object, object, object, object]
"""What stands in the key columns of a row, whether or not it means anything."""


def raw_key(row: Row) -> RawKey:
    """Return what stands in the key columns of a row; text in place of a cell that no dictionary takes."""
    source, customer, query, date = (repr(cell) if isinstance(cell, list | dict | set) else cell for cell in row[:4])
    return source, customer, query, date


class RowParser:
    """Collects the ready rows of one load; `odd` holds the first of those that are withheld, if they are to be kept.

    Texts of dates are remembered by their bytes; other types are parsed anew, because a dictionary takes 1, 1.0 and
    True for one key.
    """

    def __init__(self, ready: str, vocabulary: Vocabulary, odd_rows_kept: int = 0) -> None:
        self._ready = ready.encode()
        self._odd_rows_kept = odd_rows_kept
        self.odd: dict[RawKey, WithheldExample] = {}
        self._vocabulary = vocabulary
        self._records = Records(vocabulary)
        self.withheld = WithheldTally()
        self.rows = 0

    def series(self) -> dict[SeriesKey, SeriesRows]:
        """Return the series that have a row, sorted by date; to be called once, at the end."""
        return dict(self._records.drain())

    @property
    def has_duplicates(self) -> bool:
        """Whether a partition stands twice; known once `series` was called."""
        return self._records.has_duplicates

    def take_withheld(self) -> WithheldTally:
        """Return what was withheld since the last call."""
        withheld, self.withheld = self.withheld, WithheldTally()
        return withheld

    def try_chunk(self, chunk: Chunk) -> bool:
        """Take a splittable chunk of rows that are known to be ready, if each is plain; return False if it took none.

        None of what is taken in this way is withheld.
        """
        try:
            self.rows += add_chunk(chunk, self._vocabulary, self._records)
        except UnusualError:
            return False
        return True

    def feed_chunk(self, chunk: Chunk) -> None:
        """Take a splittable chunk of rows whose status was already seen to be ready."""
        if not self.try_chunk(chunk):
            self.feed(split_rows(chunk, self._ready))

    def feed(self, rows: Iterable[Row]) -> None:
        """Take rows whose cells stand in the order of `ROW_FIELDS`."""
        numbers, dates = self._vocabulary.series, self._vocabulary.dates
        runs, versions = self._vocabulary.runs, self._vocabulary.versions
        first, last = self._vocabulary.first_date, self._vocabulary.last_date
        for row in rows:
            source, customer, query, date, status, run, updated, count, version = row
            if status != self._ready and not says_ready(status, self._ready):
                continue
            try:
                series = numbers[
                    source if type(source) is bytes else parse_id(source),
                    customer if type(customer) is bytes else parse_id(customer),
                    query if type(query) is bytes else parse_id(query),
                ]
                if not numbers.admitted[series]:
                    continue
                ordinal = dates[date] if type(date) is bytes else parse_logical_date(date)
                if not first <= ordinal <= last:
                    continue
                run_id = run if type(run) is bytes else b"" if run is None else parse_id(run)
                if not run_id:
                    self._withhold(WithheldReason.NO_RUN_ID, row, NO_RUN_ID)
                    continue
                updated_at_ns = parse_updated_at(updated)
                record_count = count if type(count) is int and 0 <= count < _COUNT_LIMIT else parse_record_count(count)
                schema_version = parse_schema_version(version)
            except BadValueError:
                self._withhold_bad(row)
                continue
            self.rows += 1
            self._records.add(series, ordinal, runs[run_id], updated_at_ns, record_count, versions[schema_version])

    def _withhold(self, reason: WithheldReason, row: Row, detail: str) -> None:
        self.rows += 1
        subject = "/".join(_show_key(row))
        self.withheld.add(reason, subject, detail)
        if len(self.odd) < self._odd_rows_kept:
            self.odd[raw_key(row)] = WithheldExample(reason, subject, detail)

    def _withhold_bad(self, row: Row) -> None:
        kept = max(self.withheld.examples_per_reason, self._odd_rows_kept)
        if self.withheld.counts.get(WithheldReason.BAD_ROW, 0) < kept:
            self._withhold(WithheldReason.BAD_ROW, row, "; ".join(find_faults(row)))
        else:
            self.rows += 1
            self.withheld.add(WithheldReason.BAD_ROW, "", "")  # past the examples only the count is kept


def _show_key(row: Row) -> Iterator[str]:
    for value in row[:3]:
        try:
            yield show_value(parse_id(value))
        except BadValueError:
            yield show_value(value)
    try:
        yield escape_text(render_date(parse_logical_date(row[3])))
    except BadValueError:
        yield show_value(row[3])


def find_faults(row: Row) -> Iterator[str]:
    """Yield what is wrong with each cell that means nothing in its column."""
    for field, value in zip(ROW_FIELDS, row, strict=True):
        parse = _PARSERS.get(field)
        if parse is None or (field == "current_run_id" and value is None):
            continue
        try:
            parse(value)
        except BadValueError as error:
            yield f"{field} {error}: {quote_value(value)}"
