"""A few ready rows of a PostgreSQL table, read as a mount reads a view: no value fails the others."""

from __future__ import annotations

import psycopg
import sqlalchemy as sa

from readyfs.state.postgres.asked import Asker
from readyfs.state.postgres.connection import PostgresConnection
from readyfs.state.postgres.facts import find_columns_of, look_at_table
from readyfs.state.postgres.row_plan import plan_rows
from readyfs.state.rows.parser import Row
from readyfs.state.store import StateTable


def read_sample(engine: sa.Engine, table: StateTable, timeout_s: float, rows: int, label: str) -> list[Row]:
    """Return so many ready rows, cells in the order of `ROW_FIELDS`; raise OSError for what the driver raises."""
    connection = PostgresConnection(engine, timeout_s)
    try:
        with connection.transaction(None):
            relations = look_at_table(connection, Asker(label), table, label)
            plan = plan_rows(relations[0], find_columns_of(relations, table, label), table.ready)
            return plan.read([*connection.rows(f"{plan.statement} LIMIT {rows}", plan.parameters)])
    except psycopg.Error as error:
        raise OSError(str(error)) from None
    finally:
        connection.close()
