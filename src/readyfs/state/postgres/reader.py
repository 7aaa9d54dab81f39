"""Reading a PostgreSQL state for people's questions: all rows, in any status, as of one snapshot.

Whatever the table is, it is read row by row, each column as the text that a mount reads of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeVar

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from readyfs.partition import PartitionKey, PartitionStatus
from readyfs.state.filters import Filters
from readyfs.state.postgres.asked import Asker
from readyfs.state.postgres.cells import render_text
from readyfs.state.postgres.connection import PostgresConnection
from readyfs.state.postgres.facts import find_columns_of, look_at_table
from readyfs.state.postgres.outage import explain_outage
from readyfs.state.postgres.row_plan import plan_judged_rows
from readyfs.state.reader import SeriesDays, StateRow, is_of
from readyfs.state.rows.days import days_of
from readyfs.state.rows.fetch import RowBuffer
from readyfs.state.rows.judge import READER_FIELDS, RowJudge, in_key_order
from readyfs.state.rows.parser import Row
from readyfs.state.store import StateTable
from readyfs.state.url import render_label

_SERIES: Final = ("source", "customer_id", "query_name")
_BARE: Final = frozenset({"text", "varchar"})
"""Types that are compared with texts as they are, so that an index serves."""

T = TypeVar("T")


class PostgresReader:
    """See `StateReader`; one thread at a time calls it. Each call makes a connection of its own."""

    def __init__(self, engine: sa.Engine, url: sa.URL, table: StateTable, filters: Filters, timeout_s: float) -> None:
        self.label = render_label(url)
        self._engine = engine
        self._url = url
        self._table = table
        self._filters = filters
        self._timeout_s = timeout_s

    def rows(self, statuses: frozenset[PartitionStatus] | None = None) -> Iterator[StateRow]:
        """See `StateReader`."""
        rows = self._in_transaction(self._read_all)
        return in_key_order(RowJudge(self._table, self._filters).rows(rows, statuses))

    def series(self) -> Iterator[SeriesDays]:
        """See `StateReader`."""
        return days_of(self.rows())

    def find(self, key: PartitionKey) -> list[StateRow]:
        """See `StateReader`."""
        rows = self._in_transaction(lambda connection: self._read_series(connection, key))
        return [row for row in RowJudge(self._table, self._filters).rows(rows) if is_of(row, key)]

    def close(self) -> None:
        """Release the engine; no connection stays open between calls."""
        self._engine.dispose()

    def _read_all(self, connection: PostgresConnection) -> Iterator[Row]:
        relations = look_at_table(connection, Asker(self.label), self._table, self.label)
        found = find_columns_of(relations, self._table, self.label, READER_FIELDS)
        plan = plan_judged_rows(relations[0], found, self._table.ready, self._table.failed)
        buffer = RowBuffer()
        with connection.stream(plan.statement, plan.parameters) as cursor:
            buffer.fill(cursor)
        return (row for rows in buffer.drain() for row in plan.read(rows))

    def _read_series(self, connection: PostgresConnection, key: PartitionKey) -> list[Row]:
        relations = look_at_table(connection, Asker(self.label), self._table, self.label)
        found = find_columns_of(relations, self._table, self.label, READER_FIELDS)
        plan = plan_judged_rows(relations[0], found, self._table.ready, self._table.failed)
        conditions, parameters = [], list(plan.parameters)
        for field, value in zip(_SERIES, key.series, strict=True):
            if not value:
                continue  # any source
            column = relations[0].columns[found[field] or ""]
            if column.type_name in _BARE:
                conditions.append(f"{column.quoted} = %s AND {render_text(column)} = %s")
                parameters += [value, value]
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        return plan.read([*connection.rows(plan.statement + where, parameters)])

    def _in_transaction(self, action: Callable[[PostgresConnection], T]) -> T:
        connection: PostgresConnection | None = None
        try:
            connection = PostgresConnection(self._engine, self._timeout_s)
            with connection.transaction(self._table.table):
                return action(connection)
        except (SQLAlchemyError, psycopg.Error, OSError, ValueError) as error:
            # No chain: a driver's traceback may show the URL.
            raise explain_outage(error, self._table, self._url, self._timeout_s) from None
        finally:
            if connection is not None:
                connection.close()
