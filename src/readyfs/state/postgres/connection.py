"""One open connection to a PostgreSQL server, on which everything happens in read-only transactions of one snapshot.

Kept open between loads, because logging in costs more than asking whether anything changed.
"""

from __future__ import annotations

import math
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Final

import psycopg
import sqlalchemy as sa
from psycopg import errors, pq
from psycopg.abc import Buffer
from psycopg.adapt import Loader

from readyfs.state.rows.fetch import Cursor
from readyfs.state.rows.parser import Row

GRACE_S: Final = 2.0
"""So much longer than the server is given for a statement is its answer waited for."""

_OF_THE_SERVER: Final = ("08", "25", "40", "53", "55P03", "57")
"""Errors that say nothing of a statement (SQLSTATE): connection, transaction, resources, locks, time limits."""
_SAVEPOINT: Final = "SAVEPOINT start"
_UNDO: Final = "ROLLBACK TO SAVEPOINT start"


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

    def look(self, statement: str) -> tuple[bytes | None, ...]:
        """Return the only row of a statement that has a read-only transaction of its own, cells as they were sent.

        All of it is one message to the server and one back: nothing that is asked again and again should cost more.
        """
        begin = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = {self._limit_ms}"
        try:
            results = self._exchange(f"{begin}; {statement}; ROLLBACK")
        except psycopg.Error:
            self._roll_back()
            raise
        (result,) = (one for one in results if one.status == pq.ExecStatus.TUPLES_OK)
        return tuple(result.get_value(0, number) for number in range(result.nfields))

    @contextmanager
    def transaction(self, table: str | None) -> Iterator[None]:
        """Begin a read-only transaction of one snapshot, and roll it back in the end.

        A table that is named is locked against being replaced or written anew (ACCESS SHARE, as by any reader) before
        the snapshot is taken: what TRUNCATE and ALTER TABLE leave looks empty to an older snapshot (PostgreSQL
        documentation, section 13.6).
        """
        begin = (
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; "
            f"SET LOCAL statement_timeout = {self._limit_ms}; SET LOCAL lock_timeout = {max(self._limit_ms - 100, 1)}; "
            # Compiling takes longer than any of these statements.
            "SET LOCAL jit = off; "
            # How values are written, whatever the role or the database has set.
            "SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'postgres'; "
            "SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1; "
            # What a database in SQL_ASCII holds is not known to be text of any encoding, and is not checked for it.
            f"SET LOCAL client_encoding = '{self._encoding}'; {_SAVEPOINT}"
        )
        try:
            if table is None:
                self._run(begin)
            else:
                self._begin_locked(begin, table)
            yield
        finally:
            self._roll_back()

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Undo what a statement that fails in the body did to the transaction, and let its error pass."""
        try:
            yield
        except psycopg.Error:
            if not self.is_broken:
                self._run(_UNDO)
            raise

    def rows(self, statement: str, parameters: Sequence[object] | None = None) -> list[tuple[Any, ...]]:
        """Return all rows of a statement, in which `%` is doubled if there are parameters; text comes as bytes."""
        with self._limited():
            return self._connection.execute(statement.encode(), parameters).fetchall()

    def row(self, statement: str, parameters: Sequence[object] | None = None) -> tuple[Any, ...]:
        """Return the only row of a statement."""
        (row,) = self.rows(statement, parameters)
        return row

    @contextmanager
    def stream(self, statement: str, parameters: Sequence[object]) -> Iterator[Cursor]:
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

    @property
    def _limit_ms(self) -> int:
        return math.ceil(self._timeout_s * 1000)

    def _begin_locked(self, begin: str, table: str) -> None:
        try:
            # The second savepoint is the one that `attempt` returns to: going back to the first would free the lock.
            self._run(f"{begin}; LOCK TABLE {quote_table(table)} IN ACCESS SHARE MODE; {_SAVEPOINT}")
        except (errors.WrongObjectType, errors.UndefinedTable, errors.InsufficientPrivilege):
            # A view, which is not read in chunks, or something that the next statements explain better.
            self._run(_UNDO)

    def _roll_back(self) -> None:
        # A connection that broke has ended its transaction.
        if not self.is_broken:
            self._run("ROLLBACK")

    def _run(self, statements: str) -> None:
        self._exchange(statements)

    def _exchange(self, statements: str) -> list[pq.abc.PGresult]:
        """Send statements in one message, and return the results of all; raise the error of the first that fails.

        Waits on the socket itself, so that a server which is suspended and heeds no time limit is given up without a
        thread that watches.
        """
        line = self._connection.pgconn
        deadline = time.monotonic() + self._timeout_s + GRACE_S
        results: list[pq.abc.PGresult] = []
        try:
            line.send_query(statements.encode())
            while line.flush():
                self._wait(select.POLLIN | select.POLLOUT, deadline)
            while True:
                while line.is_busy():
                    self._wait(select.POLLIN, deadline)
                result = line.get_result()
                if result is None:
                    break
                results.append(result)
        except psycopg.Error:
            line.finish()
            raise
        for result in results:
            if result.status not in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK):
                raise errors.error_from_result(result, encoding="utf-8")
        return results

    def _wait(self, events: int, deadline: float) -> None:
        line = self._connection.pgconn
        poll = select.poll()
        poll.register(line.socket, events)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise errors.OperationalError(f"the server gave no answer for {self._timeout_s + GRACE_S:g} s")
        line.consume_input()

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


def is_of_statement(error: psycopg.Error) -> bool:
    """Tell whether an error is the statement's own, so that another statement may well succeed."""
    return error.sqlstate is not None and not error.sqlstate.startswith(_OF_THE_SERVER)


def quote_table(table: str) -> str:
    """Return a table's name, with or without its schema, as SQL."""
    schema, _, name = table.rpartition(".")
    return ".".join('"' + part.replace('"', '""') + '"' for part in (schema, name) if part)


def _cut(descriptor: int) -> None:
    # The object is for a duplicate: closing it leaves the connection's own descriptor open.
    with suppress(OSError), socket.fromfd(descriptor, socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.shutdown(socket.SHUT_RDWR)
