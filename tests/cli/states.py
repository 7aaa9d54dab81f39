"""State tables in each kind of store, with rows of days that are told by how many days ago they were."""

from __future__ import annotations

import datetime
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

import pytest

STORES: Final = ("sqlite", "postgres", "mariadb")
_COLUMNS: Final = "source, customer_id, query_name, logical_date, status, current_run_id, updated_at"


def days_ago(number: int) -> str:
    """Return a date of UTC."""
    return (datetime.datetime.now(datetime.UTC).date() - datetime.timedelta(number)).isoformat()


@dataclass(frozen=True, slots=True)
class Row:
    """One row; what is failed or pending keeps its run only if it names one."""

    days_ago: int
    status: str = "success"
    run_id: str | None = "r1"
    customer: str = "c1"
    query: str = "q1"
    source: str = "ads"
    updated_days_ago: int | None = None

    def values(self, offset: str) -> tuple[object, ...]:
        """Return the cells; a time without an offset is one of UTC where the column has none."""
        updated = self.days_ago - 1 if self.updated_days_ago is None else self.updated_days_ago
        at = f"{days_ago(updated)} 05:00:00{offset}"
        return (self.source, self.customer, self.query, days_ago(self.days_ago), self.status, self.run_id, at)


@dataclass(frozen=True, slots=True)
class State:
    """A state table: its URL, and how rows are written."""

    url: str
    execute: Callable[[str, tuple[object, ...]], object]
    mark: str
    offset: str = "+00:00"

    def write(self, rows: Iterable[Row]) -> None:
        """Write rows."""
        cells = [row.values(self.offset) for row in rows]
        marks = ", ".join([f"({', '.join([self.mark] * 7)})"] * len(cells))
        self.execute(f"INSERT INTO partition_state({_COLUMNS}) VALUES {marks}", tuple(chain.from_iterable(cells)))


def make_state(kind: str, path: Path, request: pytest.FixtureRequest) -> State:
    """Return an empty state table in a store of a kind."""
    if kind != "sqlite":
        database = request.getfixturevalue(kind)
        offset = "" if kind == "mariadb" else "+00:00"
        return State(database.url(), lambda statement, values: database.execute(statement, *values), "%s", offset)
    file = path / "state.db"

    def execute(statement: str, values: tuple[object, ...] = ()) -> None:
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            connection.execute(statement, values)

    execute(
        "CREATE TABLE partition_state(source TEXT, customer_id TEXT, query_name TEXT, logical_date TEXT, status TEXT,"
        " current_run_id TEXT, schema_version TEXT, record_count INTEGER, updated_at TEXT, error_message TEXT,"
        " attempt_count INTEGER, PRIMARY KEY (source, customer_id, query_name, logical_date))"
    )
    return State(str(file), execute, "?")
