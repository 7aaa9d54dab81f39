"""The state stores that are measured, and how a producer changes them while readyfs looks."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import psycopg

from benchmarks.daemons import BenchmarkError
from benchmarks.sites import LOCK_PATIENCE_S, MB
from benchmarks.state.generate import INSERT, TABLE, fill_postgresql, fill_sqlite
from benchmarks.state.shape import COLUMNS, Row, Shape
from readyfs.demo.producer import LogicalPartition
from tests.postgres.database import READER, READER_PASSWORD, prepare
from tests.postgres.server import PostgresServer

SQLITE: Final = "sqlite"
SQLITE_WAL: Final = "sqlite-wal"
POSTGRESQL: Final = "postgresql"
TITLES: Final = {
    SQLITE: "SQLite, rollback journal",
    SQLITE_WAL: "SQLite, WAL",
    POSTGRESQL: "PostgreSQL",
}
_SERVER: Final = {
    "autovacuum": "on",
    "checkpoint_timeout": "1h",
    "max_wal_size": "16GB",
    "shared_buffers": "512MB",
}
"""Beside what the tests need: a table that fits, and no checkpoint in the middle of a measurement."""

_KEY: Final = ("source", "customer_id", "query_name", "logical_date")
_SQLITE_SWITCH: Final = (
    "status = 'success', current_run_id = ?, updated_at = strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')"
)
_POSTGRESQL_SWITCH: Final = "status = 'success', current_run_id = %s, updated_at = now()"
_REQUEUE: Final = "status = 'pending'"

Keys = Sequence[LogicalPartition]


class Store(Protocol):
    """A filled state store with an open connection of its producer. Each change is one transaction."""

    @property
    def url(self) -> str:
        """What readyfs is told."""
        ...

    def warm(self) -> None:
        """Have the whole table in memory."""
        ...

    def switch(self, keys: Keys, run_id: str) -> None:
        """Make partitions ready with another run, now."""
        ...

    def requeue(self, keys: Keys) -> None:
        """Make partitions pending as an operator's retry does: nothing else moves."""
        ...

    def delete(self, keys: Keys) -> None:
        """Delete rows."""
        ...

    def insert(self, rows: Sequence[Row]) -> None:
        """Insert rows."""
        ...


@dataclass(frozen=True, slots=True)
class SqliteStore:
    """A SQLite file."""

    path: Path
    connection: sqlite3.Connection

    @property
    def url(self) -> str:
        """The path."""
        return str(self.path)

    def warm(self) -> None:
        """Read the file, and what of it is in the WAL."""
        for path in self.path.parent.glob(f"{self.path.name}*"):
            with open(path, "rb", buffering=0) as file:
                while file.read(MB):
                    pass

    def switch(self, keys: Keys, run_id: str) -> None:
        """Update by key."""
        self._each(f"UPDATE {TABLE} SET {_SQLITE_SWITCH}", [(run_id, *key) for key in keys])

    def requeue(self, keys: Keys) -> None:
        """Update by key."""
        self._each(f"UPDATE {TABLE} SET {_REQUEUE}", keys)

    def delete(self, keys: Keys) -> None:
        """Delete by key."""
        self._each(f"DELETE FROM {TABLE}", keys)

    def insert(self, rows: Sequence[Row]) -> None:
        """Insert."""
        with self.connection:
            self.connection.executemany(INSERT, rows)

    def _each(self, statement: str, values: Sequence[Sequence[str]]) -> None:
        with self.connection:
            self.connection.executemany(f"{statement} WHERE {' AND '.join(f'{name} = ?' for name in _KEY)}", values)


@dataclass(frozen=True, slots=True)
class PostgresqlStore:
    """A database of a server on the loopback interface, read by a role that may only read."""

    url: str
    session: psycopg.Connection[Any]

    def warm(self) -> None:
        """Read every row."""
        self.session.execute(f"SELECT count(*), max(xmin::text) FROM {TABLE}".encode())

    def switch(self, keys: Keys, run_id: str) -> None:
        """Update by joining with the keys."""
        self._join(f"UPDATE {TABLE} SET {_POSTGRESQL_SWITCH} FROM", keys, run_id)

    def requeue(self, keys: Keys) -> None:
        """Update by joining with the keys."""
        self._join(f"UPDATE {TABLE} SET {_REQUEUE} FROM", keys)

    def delete(self, keys: Keys) -> None:
        """Delete by joining with the keys."""
        self._join(f"DELETE FROM {TABLE} USING", keys)

    def insert(self, rows: Sequence[Row]) -> None:
        """Insert."""
        statement = f"INSERT INTO {TABLE}({', '.join(COLUMNS)}) VALUES ({', '.join(['%s'] * len(COLUMNS))})"
        with self.session.transaction(), self.session.cursor() as cursor:
            cursor.executemany(statement.encode(), rows)

    def _join(self, statement: str, keys: Keys, *values: str) -> None:
        columns = [list(column) for column in zip(*keys, strict=True)]
        named = ", ".join(f"k_{name}" for name in _KEY)
        where = " AND ".join(f"{name} = k_{name}" for name in _KEY)
        whole = f"{statement} unnest(%s::text[], %s::text[], %s::text[], %s::date[]) AS k({named}) WHERE {where}"
        self.session.execute(whole.encode(), (*values, *columns))


@dataclass(slots=True)
class Stores:
    """Fills stores below one directory; the PostgreSQL server is started when it is first needed."""

    base: Path
    _server: PostgresServer | None = None
    _number: int = 0

    def close(self) -> None:
        """End the server."""
        if self._server is not None:
            self._server.remove()
            self._server = None

    def versions(self) -> dict[str, str]:
        """Return the version of the server, if one was needed."""
        if self._server is None:
            return {}
        return {POSTGRESQL: str(self._server.execute("SHOW server_version")[0][0]).split()[0]}

    def server_pid(self) -> int:
        """Return the process whose children serve the sessions of PostgreSQL."""
        return self._started().pid

    @contextmanager
    def filled(self, key: str, shape: Shape) -> Iterator[Store]:
        """Yield a store that holds the shape; it is gone afterwards."""
        self._number += 1
        if key == POSTGRESQL:
            with self._filled_postgresql(shape) as store:
                yield store
            return
        directory = self.base / f"state-{self._number}"
        directory.mkdir()
        path = directory / "state.db"
        try:
            fill_sqlite(shape, path)
            with closing(sqlite3.connect(path, timeout=LOCK_PATIENCE_S)) as connection:
                connection.execute("PRAGMA synchronous = OFF")
                if key == SQLITE_WAL:
                    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
                    if mode != "wal":
                        raise BenchmarkError(f"{path} stays in journal mode {mode}")
                # Without a first read there is no connection to speak of, and no WAL beside the file.
                connection.execute(f"SELECT rowid FROM {TABLE} LIMIT 1").fetchone()
                yield SqliteStore(path, connection)
        finally:
            for left in directory.iterdir():
                left.unlink()
            directory.rmdir()

    @contextmanager
    def _filled_postgresql(self, shape: Shape) -> Iterator[Store]:
        server = self._started()
        name = f"state{self._number}"
        server.execute(f"CREATE DATABASE {name}")
        try:
            fill_postgresql(shape, server.url(name))
            server.execute(f"GRANT SELECT ON {TABLE} TO {READER}", database=name)
            server.execute("CHECKPOINT")
            with server.connect(name) as session:
                yield PostgresqlStore(server.url(name, user=READER, password=READER_PASSWORD), session)
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _started(self) -> PostgresServer:
        if self._server is None:
            try:
                self._server = PostgresServer.make(**_SERVER)
                self._server.start()
                prepare(self._server)
            except (AssertionError, OSError, psycopg.Error) as error:
                raise BenchmarkError(f"there is no PostgreSQL server: {error}") from error
        return self._server
