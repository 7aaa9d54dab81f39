"""Reading a state in any other database for people's questions: all rows, in any status, as of one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from readyfs.partition import PartitionKey
from readyfs.state.database.plan import DatabasePlan
from readyfs.state.database.session import DatabaseSession
from readyfs.state.filters import Filters
from readyfs.state.rows.fetch import CHUNK_ROWS
from readyfs.state.rows.judge import READER_FIELDS
from readyfs.state.rows.parser import Row
from readyfs.state.rows.pump import Put, pumped
from readyfs.state.rows.reading import Reading, group_rows, series_of
from readyfs.state.rows.series_state import Found
from readyfs.state.store import StateTable


class DatabaseReader(Reading):
    """See `StateReader`; one thread at a time calls it. Each call makes a connection of its own.

    Where the database can sort keys by their bytes, rows are streamed; else all of them are held for it.
    """

    def __init__(self, engine: sa.Engine, url: sa.URL, table: StateTable, filters: Filters, timeout_s: float) -> None:
        super().__init__(table, filters)
        self._session = DatabaseSession(engine, url, timeout_s)
        self.label = self._session.label

    def close(self) -> None:
        """Release the engine; no connection stays open between calls."""
        self._session.close()

    def has_one_source(self) -> bool:
        """Return False: what a database's own order takes for one source may be two."""
        return False

    def _find_series(self, *, full: bool) -> Iterator[list[Found]]:
        def read(put: Put) -> None:
            with self._session.transaction() as (connection, _):
                plan = self._look(connection)
                order = plan.byte_order()
                rows = _stream(connection, plan.judged().order_by(*order))
                for found in group_rows(rows if order else sorted(rows, key=series_of)):
                    put([found])

        return pumped(read)

    def _find_waiting(self) -> Iterator[Row]:
        def read(put: Put) -> None:
            with self._session.transaction() as (connection, _):
                plan = self._look(connection)
                # A collation may take other words for the ready one; which they are is judged here.
                condition = sa.true() if plan.is_judged_here else sa.not_(sa.func.coalesce(plan.is_ready, sa.false()))
                put(list(_stream(connection, plan.judged().where(condition))))

        for batch in pumped(read):
            yield from batch

    def _find_rows(self, key: PartitionKey) -> list[Row]:
        with self._session.transaction() as (connection, _):
            plan = self._look(connection)
            return list(_stream(connection, plan.judged().where(*plan.of_series(key.series))))

    def _look(self, connection: sa.Connection) -> DatabasePlan:
        return DatabasePlan.look(connection, self._table, self._filters, self.label, READER_FIELDS)


def _stream(connection: sa.Connection, statement: sa.Select[Any]) -> Iterator[Row]:
    # Streamed by the server, where its driver can: else the driver would hold all rows as objects.
    with connection.execute(statement, execution_options={"yield_per": CHUNK_ROWS}) as result:
        while rows := result.fetchmany(CHUNK_ROWS):
            yield from map(tuple, rows)
