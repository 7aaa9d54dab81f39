"""One open connection to a PostgreSQL server, on which everything happens in read-only transactions of one snapshot.

Kept open between loads, because logging in costs more than asking whether anything changed.
"""

from __future__ import annotations

import math
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Final

import psycopg
import sqlalchemy as sa
from psycopg import errors
from psycopg.abc import Buffer
from psycopg.adapt import Loader

from readyfs.state.rows.fetch import Cursor
from readyfs.state.rows.parser import Row

GRACE_S: Final = 2.0
"""So much longer than the server is given for a statement is its answer waited for."""


class _AsBytes(Loader):
    """Text as the bytes that the server sent: what a producer stored need not be valid."""

    def load(self, data: Buffer) -> bytes:
        return bytes(data)


class PostgresConnection:
    """A connection made by SQLAlchemy, so that every URL that it takes means the same here.

    Its methods raise what psycopg raises. It is for one thread at a time.
    """

    def __init__(self, engine: sa.Engine, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._pooled = engine.raw_connection()
        connection = self._pooled.driver_connection
        assert isinstance(connection, psycopg.Connection)
        self._connection: psycopg.Connection[tuple[Any, ...]] = connection
        # Settings of the session, for as long as it lasts; statements are not prepared, because a pooler may give each
        # transaction another server process.
        self._connection.autocommit = True
        self._connection.prepare_threshold = None
        self._connection.adapters.register_loader("text", _AsBytes)
        knows_encoding = connection.info.parameter_status("server_encoding") != "SQL_ASCII"
        self._encoding = "UTF8" if knows_encoding else "SQL_ASCII"

    @property
    def has_page_ranges(self) -> bool:
        """Whether the server reads a range of pages without reading all others: from PostgreSQL 14 on."""
        return self._connection.info.server_version >= 140_000

    @property
    def is_broken(self) -> bool:
        """Whether the connection can do nothing any more."""
        return self._connection.closed or self._connection.broken

    @contextmanager
    def transaction(self, table: str | None) -> Iterator[None]:
        """Begin a read-only transaction of one snapshot, and roll it back in the end.

        A table that is named is locked against being replaced or written anew (ACCESS SHARE, as by any reader) before
        the snapshot is taken: what TRUNCATE and ALTER TABLE leave looks empty to an older snapshot (PostgreSQL
        documentation, section 13.6).
        """
        limit_ms = math.ceil(self._timeout_s * 1000)
        begin = (
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; "
            f"SET LOCAL statement_timeout = {limit_ms}; SET LOCAL lock_timeout = {max(limit_ms - 100, 1)}; "
            # Compiling takes longer than any of these statements.
            "SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL jit = off"
        )
        # What a database in SQL_ASCII holds is not known to be text of any encoding, and is not checked for it.
        begin += f"; SET LOCAL client_encoding = '{self._encoding}'"
        try:
            self._run(begin)
            if table is not None:
                self._lock(table)
            yield
        finally:
            # A connection that broke has ended its transaction.
            if not self.is_broken:
                self._run("ROLLBACK")

    def rows(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a statement; text comes as bytes."""
        with self._limited():
            return self._connection.execute(statement.encode(), parameters or None).fetchall()

    def row(self, statement: str, parameters: Sequence[object] = ()) -> tuple[Any, ...]:
        """Return the only row of a statement."""
        (row,) = self.rows(statement, parameters)
        return row

    @contextmanager
    def stream(self, statement: str, parameters: Mapping[str, object]) -> Iterator[Cursor]:
        """Run a statement whose rows the server hands over as they are asked for."""
        cursor = self._connection.cursor("rows")
        try:
            with self._limited():
                cursor.execute(statement.encode(), parameters)
            yield _LimitedCursor(cursor, self._limited)
        finally:
            # Of a connection that broke there is nothing to close; another error is on its way then.
            with suppress(psycopg.Error), self._limited():
                cursor.close()

    def close(self) -> None:
        """Close the connection, broken or not."""
        self._pooled.invalidate()

    def _lock(self, table: str) -> None:
        self._run("SAVEPOINT start")
        try:
            self._run(f"LOCK TABLE {quote_table(table)} IN ACCESS SHARE MODE")
        except (errors.WrongObjectType, errors.UndefinedTable, errors.InsufficientPrivilege):
            # A view, which is not read in chunks, or something that the next statements explain better.
            self._run("ROLLBACK TO SAVEPOINT start")

    def _run(self, statements: str) -> None:
        with self._limited():
            self._connection.execute(statements.encode())

    @contextmanager
    def _limited(self) -> Iterator[None]:
        """Cut the connection if the server does not answer: one that is suspended heeds no time limit of its own."""
        timer = threading.Timer(self._timeout_s + GRACE_S, _cut, (self._connection.fileno(),))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


class _LimitedCursor:
    """Rows of a statement, each fetch as limited as a statement is."""

    def __init__(
        self, cursor: psycopg.ServerCursor[tuple[Any, ...]], limited: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._cursor = cursor
        self._limited = limited

    def fetchmany(self, size: int, /) -> Sequence[Row]:
        with self._limited():
            return self._cursor.fetchmany(size)


def quote_table(table: str) -> str:
    """Return a table's name, with or without its schema, as SQL."""
    schema, _, name = table.rpartition(".")
    return ".".join('"' + part.replace('"', '""') + '"' for part in (schema, name) if part)


def _cut(descriptor: int) -> None:
    # The object is for a duplicate: closing it leaves the connection's own descriptor open.
    with suppress(OSError), socket.fromfd(descriptor, socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.shutdown(socket.SHUT_RDWR)
