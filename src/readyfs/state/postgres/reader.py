"""Reading a PostgreSQL state for people's questions: all rows, in any status, as of one snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from readyfs.partition import PartitionKey
from readyfs.state.filters import Filters
from readyfs.state.postgres.asked import Asker
from readyfs.state.postgres.connection import PostgresConnection
from readyfs.state.postgres.facts import find_columns_of, look_at_table
from readyfs.state.postgres.outage import explain_outage
from readyfs.state.postgres.series_plan import SeriesPlan
from readyfs.state.rows.judge import READER_FIELDS
from readyfs.state.rows.parser import Row
from readyfs.state.rows.pump import Put, pumped
from readyfs.state.rows.reading import Reading
from readyfs.state.rows.series_state import Found
from readyfs.state.store import StateTable
from readyfs.state.url import render_label

T = TypeVar("T")


class PostgresReader(Reading):
    """See `StateReader`; one thread at a time calls it. Each call makes a connection of its own."""

    def __init__(self, engine: sa.Engine, url: sa.URL, table: StateTable, filters: Filters, timeout_s: float) -> None:
        super().__init__(table, filters)
        self.label = render_label(url)
        self._engine = engine
        self._url = url
        self._timeout_s = timeout_s

    def close(self) -> None:
        """Release the engine; no connection stays open between calls."""
        self._engine.dispose()

    def has_one_source(self) -> bool:
        """See `StateReader`."""
        return self._in_transaction(SeriesPlan.has_one_source)

    def _find_series(self, *, full: bool) -> Iterator[list[Found]]:
        def read(put: Put) -> None:
            self._in_transaction(lambda plan: plan.read_series(put, full=full))

        return pumped(read)

    def _find_waiting(self) -> Iterator[Row]:
        def read(put: Put) -> None:
            self._in_transaction(lambda plan: plan.read_waiting(put))

        for batch in pumped(read):
            yield from batch

    def _find_rows(self, key: PartitionKey) -> list[Row]:
        return self._in_transaction(lambda plan: plan.rows_of(key.series))

    def _in_transaction(self, action: Callable[[SeriesPlan], T]) -> T:
        connection: PostgresConnection | None = None
        try:
            connection = PostgresConnection(self._engine, self._timeout_s)
            with connection.transaction(self._table.table):
                relations = look_at_table(connection, Asker(self.label), self._table, self.label)
                found = find_columns_of(relations, self._table, self.label, READER_FIELDS)
                return action(SeriesPlan(connection, relations[0], found, self._table, self._filters))
        except (SQLAlchemyError, psycopg.Error, OSError, ValueError) as error:
            # No chain: a driver's traceback may show the URL.
            raise explain_outage(error, self._table, self._url, self._timeout_s) from None
        finally:
            if connection is not None:
                connection.close()
