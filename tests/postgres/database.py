"""A state table in a PostgreSQL server, filled the way a validator fills it: one row, one transaction."""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import psycopg

from readyfs.demo.producer import LogicalPartition, Run
from tests.postgres.server import PostgresServer, execute

READER: Final = "reader"
READER_PASSWORD: Final = "p@ss:w/rd hunter2"
"""With everything in it that has to be escaped in a URL."""

EMPTY: Final = "empty"
"""A database with an empty table, of which all others are copies: that takes half as long as making one."""

CREATE_TABLE: Final = """
CREATE TABLE partition_state(
    source          TEXT        NOT NULL,
    customer_id     TEXT        NOT NULL,
    query_name      TEXT        NOT NULL,
    logical_date    DATE        NOT NULL,
    status          TEXT        NOT NULL,
    current_run_id  TEXT,
    schema_version  TEXT,
    record_count    BIGINT,
    updated_at      TIMESTAMPTZ NOT NULL,
    error_message   TEXT,
    attempt_count   INTEGER,
    PRIMARY KEY (source, customer_id, query_name, logical_date)
)
"""
GRANT: Final = f"GRANT SELECT ON partition_state TO {READER}"

_UPSERT: Final = """
INSERT INTO partition_state(source, customer_id, query_name, logical_date, status, current_run_id, schema_version,
                            record_count, updated_at, attempt_count)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, 1)
ON CONFLICT (source, customer_id, query_name, logical_date) DO UPDATE SET
    status = excluded.status, current_run_id = excluded.current_run_id, schema_version = excluded.schema_version,
    record_count = excluded.record_count, updated_at = excluded.updated_at,
    attempt_count = partition_state.attempt_count + 1
"""
_KEY: Final = "source = %s AND customer_id = %s AND query_name = %s AND logical_date = %s"


def prepare(server: PostgresServer) -> None:
    """Make the role that the state URLs of tests name, which may log in and nothing else, and a database to copy."""
    server.execute(f"CREATE ROLE {READER} LOGIN PASSWORD '{quick_to_check(READER_PASSWORD)}'")
    server.execute(f"CREATE DATABASE {EMPTY}")
    empty = StateDatabase(server, EMPTY)
    empty.execute(CREATE_TABLE)
    empty.execute(GRANT)


def quick_to_check(password: str) -> str:
    """Return what a server keeps of a password (RFC 5803), by one round of hashing in place of 4096.

    Server and client both go through all rounds for each session, which would be half of what a session takes.
    """
    salt = b"sixteen bytes..."
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 1)
    stored, server = (hmac.digest(salted, word, "sha256") for word in (b"Client Key", b"Server Key"))
    encoded = (base64.b64encode(part).decode() for part in (salt, hashlib.sha256(stored).digest(), server))
    return "SCRAM-SHA-256$1:{}${}:{}".format(*encoded)


@dataclass(frozen=True, slots=True)
class StateDatabase:
    """One database with a `partition_state` table that the role `reader` may read."""

    server: PostgresServer
    name: str
    session: psycopg.Connection[Any] | None = None
    """Executes the main thread's statements; without it each has a session of its own, which takes much longer."""

    @classmethod
    def create(cls, server: PostgresServer, name: str) -> StateDatabase:
        """Make a database with an empty table, in a server that was prepared."""
        with server.connect() as session:
            # The way that is usual since version 15 takes twice as long for so small a database.
            how = "STRATEGY FILE_COPY" if session.info.server_version >= 150_000 else ""
            session.execute(f'CREATE DATABASE "{name}" TEMPLATE {EMPTY} {how}'.encode())
        return cls(server, name)

    @contextmanager
    def keeping_a_session(self) -> Iterator[StateDatabase]:
        """Give a database that lasts no longer than its server does, and no test ends its sessions."""
        with self.connect() as session:
            session.prepare_threshold = None  # what is prepared outlives no change of the table
            yield replace(self, session=session)

    def drop(self) -> None:
        """Drop the database with all sessions in it; the server must be running."""
        self.server.execute(f'DROP DATABASE IF EXISTS "{self.name}" WITH (FORCE)')

    def url(self, *, user: str = READER, password: str = READER_PASSWORD, port: int = 0) -> str:
        """Return its state URL, by default for the role that may only read."""
        return self.server.url(self.name, user=user, password=password, port=port)

    def connect(self) -> psycopg.Connection[Any]:
        """Return a session of the superuser in autocommit; the caller closes it."""
        return self.server.connect(self.name)

    def execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Execute one statement, committed at once; return its rows."""
        if self.session is not None and threading.current_thread() is threading.main_thread():
            return execute(self.session, statement, *values)
        return self.server.execute(statement, *values, database=self.name)

    def sessions(self) -> list[int]:
        """Return the processes of all sessions in it, the tests' own left out."""
        return self.server.sessions(self.name)

    def set_row(
        self,
        partition: LogicalPartition,
        status: str = "success",
        run_id: str | None = "r1",
        *,
        record_count: int | None = 1,
        schema_version: str | None = "1",
        at: datetime.datetime | None = None,
    ) -> None:
        """Write a partition's row, now or as if at another time."""
        moment = at or datetime.datetime.now(datetime.UTC)
        self.execute(_UPSERT, *partition, status, run_id, schema_version, record_count, moment)

    def publish(self, run: Run) -> None:
        """Accept a run: the row becomes `success` and names it."""
        self.set_row(run.partition, run_id=run.run_id, record_count=run.record_count)

    def requeue(self, partition: LogicalPartition) -> None:
        """Turn a row `pending` as an operator's retry does: run id and `updated_at` stay as they were."""
        self.execute(f"UPDATE partition_state SET status = 'pending' WHERE {_KEY}", *partition)

    def delete_row(self, partition: LogicalPartition) -> None:
        """Delete a partition's row."""
        self.execute(f"DELETE FROM partition_state WHERE {_KEY}", *partition)

    def fill(self, rows: int, *, customers: int = 10) -> None:
        """Write many ready rows in one transaction: customers `c0`, `c1`, one query, as many dates as are needed."""
        self.execute(
            "INSERT INTO partition_state(source, customer_id, query_name, logical_date, status, current_run_id,"
            " schema_version, record_count, updated_at, attempt_count)"
            " SELECT 's1', 'c' || i %% %s, 'q1', DATE '2000-01-01' + (i / %s)::int, 'success', 'r1', '1', 1,"
            " TIMESTAMPTZ '2024-06-02T05:00:00Z', 1 FROM generate_series(0, %s - 1) AS i",
            customers,
            customers,
            rows,
        )
