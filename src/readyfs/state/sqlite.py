"""The SQLite state store: one connection that stays open, read-only in every sense.

The connection stays open because `PRAGMA data_version` only means something on one connection. Files get replaced
under it, too: so each probe also looks at the files themselves, and whenever they moved in a way that the data version
does not explain, a new connection takes the old one's place.
"""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import structlog
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from readyfs.errors import StateError
from readyfs.partition import escape_text
from readyfs.state.fetch import RowBuffer
from readyfs.state.filters import Filters
from readyfs.state.rows import RowParser
from readyfs.state.sqlite_errors import explain, is_locked, unrecovered
from readyfs.state.sqlite_file import (
    Access,
    HeaderFile,
    Sighting,
    choose_access,
    look,
    may_write_beside,
    render_uri,
)
from readyfs.state.store import StateLoad, StateTable
from readyfs.state.table import find_columns, missing_table, ready_rows, split_table

MANY_ROWS: Final = 2_000_000
"""Above this many ready rows one load in rollback-journal mode holds up the producer for seconds."""

_TRIES: Final = 5
_SETTLED_NS: Final = 50_000_000
"""Coarse kernel clocks stamp files in ticks of up to 10 ms: two writes within one look the same."""

T = TypeVar("T")
_log = structlog.get_logger("readyfs.state")


class _MovedError(Exception):
    """The files changed while they were read: read again."""


class _Token(NamedTuple):
    connection: int
    data_version: int


class _Opened:
    """One connection and the state of the files when it was opened."""

    _numbers = itertools.count(1)

    def __init__(self, path: Path, timeout_s: float) -> None:
        self.number = next(self._numbers)
        self._header = HeaderFile(path)
        try:
            self.seen = look(path)
            self.access = choose_access(self._header.is_wal(), self.seen)
            if self.access is Access.WAL_UNRECOVERED and not may_write_beside(path):
                raise unrecovered(path)
            newest_ns = max(self.seen.database.mtime_ns, self.seen.database.ctime_ns)
            self._settled = abs(time.time_ns() - newest_ns) > _SETTLED_NS
            self.connection = sqlite3.connect(
                render_uri(path, self.access),
                uri=True,
                timeout=timeout_s,
                isolation_level=None,
                check_same_thread=False,
            )
        except BaseException:
            self._header.close()
            raise
        # Cells and names come as the bytes that are stored: decoding one bad value would fail the whole fetch.
        self.connection.text_factory = bytes
        self.data_version = 0

    def is_of(self, sighting: Sighting) -> bool:
        """Tell whether the file at the path is the one that was opened."""
        return self._header.identity == sighting.database.identity

    def still_fits(self, sighting: Sighting) -> bool:
        """Tell whether the files are still those that were opened, in the same journal mode."""
        if not self.is_of(sighting):
            return False
        if self.access is Access.WAL_AT_REST:
            return self._settled and sighting == self.seen
        if self.access is Access.ROLLBACK:
            return not self._header.is_wal()
        memory, seen = sighting.shared_memory, self.seen.shared_memory
        return self._header.is_wal() and (seen is None or (memory is not None and memory.identity == seen.identity))

    def read_data_version(self) -> int:
        """Return SQLite's count of the commits that others made, as this connection saw them."""
        version: int = self.connection.execute("PRAGMA data_version").fetchone()[0]
        return version

    def note(self, data_version: int, sighting: Sighting) -> None:
        """Remember what the data version was and how the files looked at that time."""
        self.data_version, self.seen = data_version, sighting

    def close(self) -> None:
        """Close both, in this order: closing the descriptor drops the locks of a connection that is still open."""
        self.connection.close()
        self._header.close()


class SqliteStore:
    """Reads a SQLite file; see `StateStore`. The calling thread of the moment owns everything in it."""

    def __init__(
        self, path: Path, table: StateTable, filters: Filters, timeout_s: float, many_rows: int = MANY_ROWS
    ) -> None:
        """Open the file and check that the table is as configured; raise `StateError` if it is not."""
        self.label = f"sqlite://{escape_text(str(path))}"
        self._path = path
        self._table = table
        self._filters = filters
        self._timeout_s = timeout_s
        self._many_rows = many_rows
        self._warned = False
        self._opened: _Opened | None = None
        try:
            self._attempt(self._check)
        except BaseException:
            self.close()
            raise

    def probe(self) -> Hashable:
        """Return a token that differs once anything was committed or the file was replaced."""
        return self._attempt(self._token)

    def load(self) -> StateLoad:
        """Read every ready row in one transaction."""
        token, buffer, lock_ms = self._attempt(self._fetch)
        parser = RowParser(self._table.ready, self._filters)
        fetched = 0
        for rows in buffer.drain():
            fetched += len(rows)
            parser.feed(rows)
        self._warn_of_many(fetched, lock_ms)
        return StateLoad(token, parser.series(), parser.withheld, parser.rows, lock_ms)

    def close(self) -> None:
        """Close the connection."""
        if self._opened is not None:
            opened, self._opened = self._opened, None
            opened.close()

    def _attempt(self, action: Callable[[_Opened], T]) -> T:
        """Run an action on a connection that fits the files, and again on a new one if they moved meanwhile."""
        for _ in range(_TRIES):
            was_open = self._opened is not None
            opened = self._current()
            if opened is None:
                continue
            try:
                return action(opened)
            except _MovedError:
                self.close()
            except sqlite3.Error as error:
                outage = explain(error, self._path, self._timeout_s)
                if is_locked(error):
                    raise outage from error
                self.close()
                # On an older connection, or while the files move, a new connection may well succeed.
                if not was_open and look(self._path).database == opened.seen.database:
                    raise outage from error
        raise StateError(
            f"state database {escape_text(str(self._path))} changed during each of {_TRIES} tries to read it",
            "look for what keeps replacing it",
        )

    def _current(self) -> _Opened | None:
        """Return a connection to the files as they are, None if they were replaced while it was being made."""
        try:
            sighting = look(self._path)
        except StateError:
            self.close()
            raise
        if self._opened is not None and not self._opened.still_fits(sighting):
            self.close()
        if self._opened is None:
            opened = _Opened(self._path, self._timeout_s)
            self._opened = opened
            if not opened.is_of(look(self._path)):
                self.close()
        return self._opened

    def _token(self, opened: _Opened) -> _Token:
        if opened.access is Access.WAL_AT_REST:
            return _Token(opened.number, 0)
        sighting, version = look(self._path), opened.read_data_version()
        for _ in range(_TRIES):
            before, sighting = sighting, look(self._path)
            if sighting.database == before.database:
                break
            version = opened.read_data_version()  # a commit fell between the two: take them again
        if version == opened.data_version and sighting.database != opened.seen.database:
            raise _MovedError
        opened.note(version, sighting)
        return _Token(opened.number, version)

    def _check(self, opened: _Opened) -> None:
        self._statement(opened.connection)

    def _fetch(self, opened: _Opened) -> tuple[_Token, RowBuffer, float]:
        token = self._token(opened)
        buffer = RowBuffer()
        connection = opened.connection
        connection.execute("BEGIN")
        try:
            statement, parameters = self._statement(connection)
            started = time.perf_counter()
            before = look(self._path)
            buffer.fill(connection.execute(statement, parameters))
            after = look(self._path)
        finally:
            connection.rollback()
        lock_ms = (time.perf_counter() - started) * 1000
        if opened.access is Access.WAL_AT_REST and after != opened.seen:
            raise _MovedError
        # Our lock keeps SQLite writers away, so this was a copy over the file. (A WAL may be checkpointed at any time.)
        if opened.access is Access.ROLLBACK and after.database != before.database:
            raise _MovedError
        return token, buffer, lock_ms

    def _statement(self, connection: sqlite3.Connection) -> tuple[str, list[object]]:
        """Return the statement for the table as it is now; raise `StateError` if it is not as configured."""
        schema, name = split_table(self._table)
        # This read takes the lock and notices a changed schema, which the pragmas below would not.
        tables = _names(connection, "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
        present = _names(connection, "SELECT name FROM pragma_table_xinfo(?)", name)
        if not present or (schema is not None and schema.casefold() != "main"):
            raise missing_table(self._table, self._description(), tables)
        columns = find_columns(self._table, present, self._description())
        compiled = ready_rows(self._table, columns).compile(dialect=SQLiteDialect_pysqlite())
        parameters = compiled.params
        return str(compiled), [parameters[key] for key in compiled.positiontup or ()]

    def _description(self) -> str:
        empty = self._opened is not None and self._opened.seen.database.size == 0
        return escape_text(str(self._path)) + (", an empty file of 0 bytes," if empty else "")

    def _warn_of_many(self, rows: int, lock_ms: float) -> None:
        if self._warned or rows <= self._many_rows or self._access is not Access.ROLLBACK:
            return
        self._warned = True
        _log.warning(
            "the state table is large for rollback-journal mode: each load holds up the producer's commits; "
            "WAL mode (PRAGMA journal_mode=WAL, set by the producer) does not",
            store=self.label,
            rows=rows,
            lock_ms=round(lock_ms),
        )

    @property
    def _access(self) -> Access | None:
        return None if self._opened is None else self._opened.access


def _names(connection: sqlite3.Connection, statement: str, *parameters: str) -> list[str]:
    return [name.decode("utf-8", "backslashreplace") for (name,) in connection.execute(statement, parameters)]
