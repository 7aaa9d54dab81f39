"""The SQLite state store: one connection that stays open, read-only in every sense.

The connection stays open because `PRAGMA data_version` only means something on one connection. Files get replaced
under it, too: so each probe also looks at the files themselves, and whenever they moved in a way that the data version
does not explain, a new connection takes the old one's place.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import structlog

from readyfs.errors import StateError
from readyfs.state.filters import Filters
from readyfs.state.rows.fetch import RowBuffer
from readyfs.state.rows.parser import RowParser
from readyfs.state.rows.vocabulary import Vocabulary
from readyfs.state.sqlite.chunk_memory import ChunkMemory, NotPatchableError, PackedChunk
from readyfs.state.sqlite.chunks import plan_chunks
from readyfs.state.sqlite.connection import SqliteConnection
from readyfs.state.sqlite.errors import explain, is_locked
from readyfs.state.sqlite.file import Access, look
from readyfs.state.sqlite.status import compile_statement, is_ready
from readyfs.state.store import StateLoad, StateTable
from readyfs.state.table import all_rows, find_columns, missing_table, split_table
from readyfs.text import escape_text

MANY_ROWS: Final = 2_000_000
"""Above this many ready rows one load in rollback-journal mode holds up the producer for seconds."""

LONG_LOCK_MS: Final = 2500.0
"""A load that is longer than this takes half of the 5 s for which the usual driver of a producer waits."""

_TRIES: Final = 5
_TORN_PAUSE_S: Final = 0.005

T = TypeVar("T")
_log = structlog.get_logger("readyfs.state")


class _MovedError(Exception):
    """The files changed while they were read: read again."""


class _Token(NamedTuple):
    connection: int
    data_version: int


class _ChunksRead(NamedTuple):
    changed: list[PackedChunk]
    present: list[int]
    rows: int


class SqliteStore:
    """Reads a SQLite file; see `StateStore`. The calling thread of the moment owns everything in it."""

    is_exact: Final = True

    def __init__(
        self,
        path: Path,
        table: StateTable,
        filters: Filters,
        timeout_s: float,
        many_rows: int = MANY_ROWS,
        long_lock_ms: float = LONG_LOCK_MS,
    ) -> None:
        """Open the file and check that the table is as configured; raise `StateError` if it is not."""
        self.label = f"sqlite://{escape_text(str(path))}"
        self._path = path
        self._table = table
        self._filters = filters
        self._timeout_s = timeout_s
        self._many_rows = many_rows
        self._long_lock_ms = long_lock_ms
        self._warned = False
        self._memory = ChunkMemory(table.ready, filters)
        self._signature = ""
        self._row_loads = 0
        self._opened: SqliteConnection | None = None
        try:
            self._attempt(self._check)
        except BaseException:
            self.close()
            raise

    def probe(self) -> Hashable:
        """Return a token that differs once anything was committed or the file was replaced."""
        return self._attempt(self._token)

    def load(self) -> StateLoad:
        """Read every ready row in one transaction, and take in those that changed."""
        token, lock_ms, found = self._attempt(self._fetch)
        if isinstance(found, RowBuffer):
            return self._load_rows(token, lock_ms, found)
        self._warn_of_lock(found.rows, lock_ms)
        try:
            changed = self._memory.update(found.changed, found.present)
        except NotPatchableError:
            self.start_over()
            return self.load()
        except BaseException:
            self.start_over()
            raise
        return StateLoad(token, self._memory.series, self._memory.withheld(), self._memory.rows, lock_ms, changed)

    def start_over(self) -> None:
        """Compare the next load with nothing."""
        self._memory.clear()

    def close(self) -> None:
        """Close the connection."""
        if self._opened is not None:
            opened, self._opened = self._opened, None
            opened.close()

    def _attempt(self, action: Callable[[SqliteConnection], T]) -> T:
        """Run an action on a connection that fits the files, and again on a new one if they moved meanwhile."""
        for _ in range(_TRIES):
            was_open = self._opened is not None
            try:
                opened = self._current()
                if opened is not None:
                    return action(opened)
            except _MovedError:
                self.close()
            except sqlite3.Error as error:
                outage = explain(error, self._path, self._timeout_s)
                if is_locked(error):
                    raise outage from error
                seen = None if self._opened is None else self._opened.seen.database
                self.close()
                # On an older connection, or while the files move, a new connection may well succeed.
                if not was_open and seen in (None, look(self._path).database):
                    raise outage from error
        raise StateError(
            f"state database {escape_text(str(self._path))} changed during each of {_TRIES} tries to read it",
            "look for what keeps replacing it",
        )

    def _current(self) -> SqliteConnection | None:
        """Return a connection to the files as they are, None if they were replaced while it was being made."""
        try:
            sighting = look(self._path)
        except StateError:
            self.close()
            raise
        if self._opened is not None and not self._opened.still_fits(sighting):
            self.close()
        if self._opened is None:
            opened = SqliteConnection(self._path, self._timeout_s)
            self._opened = opened
            if not opened.is_of(look(self._path)):
                self.close()
        return self._opened

    def _token(self, opened: SqliteConnection) -> _Token:
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

    def _check(self, opened: SqliteConnection) -> None:
        self._columns(opened.connection)

    def _load_rows(self, token: _Token, lock_ms: float, buffer: RowBuffer) -> StateLoad:
        """Parse all rows of what cannot be read in chunks: a view, or a table without a key."""
        self.start_over()
        self._row_loads += 1
        if self._row_loads == 2:  # the first load is whole anyway
            reason = "it is no table with row numbers and a unique key over source, customer, query and date"
            _log.info("the state table is read whole", store=self.label, reason=reason)
        parser = RowParser(self._table.ready, Vocabulary(self._filters))
        fetched = 0
        for rows in buffer.drain():
            fetched += len(rows)
            parser.feed(rows)
        self._warn_of_lock(fetched, lock_ms)
        return StateLoad(token, parser.series(), parser.withheld, parser.rows, lock_ms)

    def _fetch(self, opened: SqliteConnection) -> tuple[_Token, float, RowBuffer | _ChunksRead]:
        token = self._token(opened)
        with self._guarded(opened):
            return token, *self._read(opened)

    @contextmanager
    def _guarded(self, opened: SqliteConnection) -> Iterator[None]:
        """Keep a WAL database at rest as it was opened; every other one is guarded by SQLite itself."""
        if opened.access is not Access.WAL_AT_REST:
            yield
            return
        with opened.shared_lock():
            if look(self._path) != opened.seen:
                raise _MovedError
            yield

    def _read(self, opened: SqliteConnection) -> tuple[float, RowBuffer | _ChunksRead]:
        connection = opened.connection
        found: RowBuffer | _ChunksRead
        connection.execute("BEGIN")
        try:
            columns = self._columns(connection)
            started = time.perf_counter()
            before = look(self._path)
            self._refuse_torn(connection)
            plan = plan_chunks(connection, split_table(self._table)[1], columns, self._table.ready)
            if plan is None:
                found = self._read_rows(connection, columns)
            else:
                if plan.signature != self._signature or self._memory.has_duplicates:
                    self.start_over()
                self._signature = plan.signature
                found = _ChunksRead(*plan.read(connection, self._memory))
            after = look(self._path)
        finally:
            connection.rollback()
        lock_ms = (time.perf_counter() - started) * 1000
        # A copy over the file, or a checkpoint into one at rest: in WAL mode proper a checkpoint is harmless.
        if opened.access in (Access.ROLLBACK, Access.WAL_AT_REST) and after.database != before.database:
            raise _MovedError
        return lock_ms, found

    def _refuse_torn(self, connection: sqlite3.Connection) -> None:
        """Raise `StateError` for a file that ends within a page: SQLite reads zeros there, and rows vanish."""
        (page_size,) = connection.execute("PRAGMA page_size").fetchone()
        for _ in range(_TRIES):
            if look(self._path).database.size % page_size == 0:
                return
            time.sleep(_TORN_PAUSE_S)  # in WAL mode a checkpoint may be making it longer
        raise StateError(
            f"state database {escape_text(str(self._path))} is damaged (it ends in the middle of a page)",
            "restore it, and look for what cut it off",
        )

    def _read_rows(self, connection: sqlite3.Connection, columns: dict[str, str | None]) -> RowBuffer:
        assert columns["status"] is not None
        wanted = is_ready(columns["status"], self._table.ready)
        buffer = RowBuffer()
        buffer.fill(connection.execute(*compile_statement(all_rows(self._table, columns).where(wanted))))
        return buffer

    def _columns(self, connection: sqlite3.Connection) -> dict[str, str | None]:
        """Map the fields to the columns of the table as it is now; raise `StateError` if it is not as configured."""
        schema, name = split_table(self._table)
        # This read takes the lock and notices a changed schema, which the pragmas below would not.
        tables = _names(connection, "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
        present = _names(connection, "SELECT name FROM pragma_table_xinfo(?)", name)
        if not present or (schema is not None and schema.casefold() != "main"):
            raise missing_table(self._table, self._description(), tables)
        return find_columns(self._table, present, self._description())

    def _description(self) -> str:
        empty = self._opened is not None and self._opened.seen.database.size == 0
        return escape_text(str(self._path)) + (", an empty file of 0 bytes," if empty else "")

    def _warn_of_lock(self, rows: int, lock_ms: float) -> None:
        if self._warned or self._access is not Access.ROLLBACK:
            return
        if rows <= self._many_rows and lock_ms <= self._long_lock_ms:
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
