"""Reading a state in any other database for people's questions: all rows, in any status, as of one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from readyfs.partition import PartitionKey, PartitionStatus
from readyfs.state.database.plan import DatabasePlan
from readyfs.state.database.session import DatabaseSession
from readyfs.state.filters import Filters
from readyfs.state.reader import SeriesDays, StateRow, is_of
from readyfs.state.rows.days import days_of
from readyfs.state.rows.fetch import CHUNK_ROWS, RowBuffer
from readyfs.state.rows.judge import READER_FIELDS, RowJudge, in_key_order
from readyfs.state.store import StateTable


class DatabaseReader:
    """See `StateReader`; one thread at a time calls it. Each call makes a connection of its own."""

    def __init__(self, engine: sa.Engine, url: sa.URL, table: StateTable, filters: Filters, timeout_s: float) -> None:
        self._session = DatabaseSession(engine, url, timeout_s)
        self.label = self._session.label
        self._table = table
        self._filters = filters

    def rows(self, statuses: frozenset[PartitionStatus] | None = None) -> Iterator[StateRow]:
        """See `StateReader`."""
        return in_key_order(self._read(None, statuses))

    def series(self) -> Iterator[SeriesDays]:
        """See `StateReader`."""
        return days_of(self.rows())

    def find(self, key: PartitionKey) -> list[StateRow]:
        """See `StateReader`."""
        return [row for row in self._read(key, None) if is_of(row, key)]

    def close(self) -> None:
        """Release the engine; no connection stays open between calls."""
        self._session.close()

    def _read(self, key: PartitionKey | None, statuses: frozenset[PartitionStatus] | None) -> Iterator[StateRow]:
        buffer = RowBuffer()
        with self._session.transaction() as (connection, _):
            plan = DatabasePlan.look(connection, self._table, self._filters, self.label, READER_FIELDS)
            statement: sa.Select[Any] = plan.judged()
            if key is not None:
                statement = statement.where(*plan.of_series(key.series))
            # Streamed by the server, where its driver can: else the driver would hold all rows as objects.
            with connection.execute(statement, execution_options={"yield_per": CHUNK_ROWS}) as result:
                buffer.fill(result)
        judge = RowJudge(self._table, self._filters)
        return judge.rows((row for rows in buffer.drain() for row in rows), statuses)
