"""Reading a SQLite state for people's questions: all rows, in any status, as of one transaction.

It goes without SQLAlchemy, whose import would take longer than most answers. The file is opened as for a load.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from readyfs.partition import PartitionKey, PartitionStatus
from readyfs.state.filters import Filters
from readyfs.state.reader import SeriesDays, StateRow, is_of
from readyfs.state.rows.days import days_of
from readyfs.state.rows.fetch import RowBuffer
from readyfs.state.rows.judge import READER_FIELDS, SAYS_FAILED, SAYS_OTHER, SAYS_READY, RowJudge, in_key_order
from readyfs.state.sqlite.connection import SqliteConnection
from readyfs.state.sqlite.looks import Looks
from readyfs.state.sqlite.names import quote
from readyfs.state.sqlite.status import says_word
from readyfs.state.store import StateTable
from readyfs.state.table import split_table
from readyfs.text import escape_text

_SERIES: Final = ("source", "customer_id", "query_name")


class SqliteReader:
    """See `StateReader`; one thread at a time calls it, and nothing is open between calls."""

    def __init__(self, path: Path, table: StateTable, filters: Filters, timeout_s: float) -> None:
        self.label = f"sqlite://{escape_text(str(path))}"
        self._table = table
        self._filters = filters
        self._looks = Looks(path, timeout_s)

    def rows(self, statuses: frozenset[PartitionStatus] | None = None) -> Iterator[StateRow]:
        """See `StateReader`."""
        self._looks.settled_version()
        buffer = self._looks.attempt(self._read_all)
        judge = RowJudge(self._table, self._filters)
        return in_key_order(judge.rows((row for some in buffer.drain() for row in some), statuses))

    def series(self) -> Iterator[SeriesDays]:
        """See `StateReader`."""
        return days_of(self.rows())

    def find(self, key: PartitionKey) -> list[StateRow]:
        """See `StateReader`."""
        self._looks.settled_version()
        rows = self._looks.attempt(lambda opened: self._read_series(opened, key))
        return [row for row in RowJudge(self._table, self._filters).rows(rows) if is_of(row, key)]

    def close(self) -> None:
        """Do nothing: nothing is open between calls."""

    def _read_all(self, opened: SqliteConnection) -> RowBuffer:
        columns = self._looks.columns(opened, self._table, READER_FIELDS)
        buffer = RowBuffer()
        try:
            self._looks.refuse_torn(opened)
            buffer.fill(opened.connection.execute(*self._select(columns)))
            self._looks.refuse_moved(opened)
        finally:
            opened.connection.rollback()
        return buffer

    def _read_series(self, opened: SqliteConnection, key: PartitionKey) -> list[tuple[object, ...]]:
        columns = self._looks.columns(opened, self._table, READER_FIELDS)
        statement, parameters = self._select(columns)
        conditions = []
        for field, value in zip(_SERIES, key.series, strict=True):
            if not value:
                continue  # any source
            name = quote(columns[field])
            # Text of any bytes, or a blob; as they are, an index serves.
            conditions.append(f"({name} IN (CAST(? AS TEXT), ?) OR typeof({name}) NOT IN ('text', 'blob'))")
            parameters = (*parameters, value, value)
        wanted = f"{statement} WHERE {' AND '.join(conditions)}"
        return opened.connection.execute(wanted, parameters).fetchall()

    def _select(self, columns: Mapping[str, str | None]) -> tuple[str, tuple[object, ...]]:
        status = columns["status"]
        assert status is not None
        is_ready, ready = says_word(status, self._table.ready)
        is_failed, failed = says_word(status, self._table.failed)
        verdict = f"CASE WHEN {is_ready} THEN {SAYS_READY} WHEN {is_failed} THEN {SAYS_FAILED} ELSE {SAYS_OTHER} END"
        cells = ", ".join(quote(columns[field]) for field in READER_FIELDS)
        return f"SELECT {verdict}, {cells} FROM {quote(split_table(self._table)[1])}", (*ready, *failed)
