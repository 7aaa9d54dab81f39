"""A state table in a MariaDB server, filled the way a validator fills it: one row, one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pymysql

from tests.mariadb.server import READER, READER_PASSWORD, MariadbServer

CREATE_TABLE: Final = """
CREATE TABLE partition_state(
    source          CHAR(12)     NOT NULL,
    customer_id     VARCHAR(100) NOT NULL,
    query_name      VARCHAR(100) NOT NULL,
    logical_date    DATE         NOT NULL,
    status          VARCHAR(20)  NOT NULL,
    current_run_id  VARCHAR(100),
    schema_version  VARCHAR(20),
    record_count    BIGINT,
    updated_at      DATETIME(6)  NOT NULL,
    PRIMARY KEY (source, customer_id, query_name, logical_date)
) ENGINE = InnoDB CHARACTER SET utf8mb4
"""
RUN: Final = "2024-06-02T04:05:06.789Z"


@dataclass(frozen=True, slots=True)
class MariadbDatabase:
    """One database with a `partition_state` table that the role `reader` may read."""

    server: MariadbServer
    name: str

    @classmethod
    def create(cls, server: MariadbServer, name: str) -> MariadbDatabase:
        """Make the database with an empty table."""
        server.execute(f"CREATE DATABASE {name}")
        server.execute(f"GRANT SELECT ON {name}.* TO {READER}@'127.0.0.1'")
        server.execute(CREATE_TABLE, database=name)
        return cls(server, name)

    def drop(self) -> None:
        """Drop the database."""
        self.server.execute(f"DROP DATABASE {self.name}")

    def url(self, *, dialect: str = "mariadb", password: str | None = None) -> str:
        """Return the state URL."""
        return self.server.url(self.name, dialect=dialect, password=READER_PASSWORD if password is None else password)

    def connect(self) -> pymysql.Connection[Any]:
        """Return a session that may write, in autocommit; the caller closes it."""
        return self.server.connect(self.name)

    def execute(self, statement: str, *values: object) -> Sequence[tuple[Any, ...]]:
        """Execute and commit one statement."""
        return self.server.execute(statement, *values, database=self.name)

    def put(self, date: str, updated_at: str, **changes: object) -> None:
        """Insert or replace a ready row of ads/001/daily, some cells changed."""
        statement, values = put_statement(date, updated_at, **changes)
        self.execute(statement, *values)


def put_statement(date: str, updated_at: str, **changes: object) -> tuple[str, tuple[object, ...]]:
    """Return the statement of `MariadbDatabase.put` with its parameters, for a transaction of the test's own."""
    row: dict[str, object] = {
        "source": "ads",
        "customer_id": "001",
        "query_name": "daily",
        "logical_date": date,
        "status": "success",
        "current_run_id": RUN,
        "schema_version": "v1",
        "record_count": 7,
        "updated_at": updated_at,
    }
    row |= changes
    marks = ", ".join(["%s"] * len(row))
    updates = ", ".join(f"{name} = VALUES({name})" for name in row)
    statement = f"INSERT INTO partition_state({', '.join(row)}) VALUES ({marks}) ON DUPLICATE KEY UPDATE {updates}"
    return statement, tuple(row.values())
