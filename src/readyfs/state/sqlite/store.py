"""The SQLite state store: a connection for each look, read-only in every sense, and nothing between looks.

A connection that stayed open would keep the producer's log in place: its `close` would never be the last, and so no
checkpoint would come. So whether anything changed is told from the files (`version`), and only a load opens them.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import structlog

from readyfs.errors import StateError
from readyfs.partition import ChangedDates, SeriesKey, WithheldTally
from readyfs.series_rows import SeriesRows
from readyfs.state.filters import Filters
from readyfs.state.rows.fetch import RowBuffer
from readyfs.state.rows.parser import RowParser
from readyfs.state.rows.vocabulary import Vocabulary
from readyfs.state.sqlite.chunk_memory import ChunkMemory, NotPatchableError, PackedChunk
from readyfs.state.sqlite.chunks import plan_chunks
from readyfs.state.sqlite.connection import MovedError, SqliteConnection, connected
from readyfs.state.sqlite.errors import explain, is_locked, log_elsewhere
from readyfs.state.sqlite.file import Access, Sighting, look
from readyfs.state.sqlite.pairing import Pairing
from readyfs.state.sqlite.status import compile_statement, is_ready
from readyfs.state.sqlite.version import Version, is_in_use, read_version
from readyfs.state.store import StateLoad, StateTable
from readyfs.state.table import all_rows, find_columns, missing_table, split_table
from readyfs.text import escape_text

MANY_ROWS: Final = 2_000_000
"""Above this many ready rows one load in rollback-journal mode holds up the producer for seconds."""

LONE_LOOKS: Final = 3
"""In so many looks running a database was open and had no log: in one, its log may just be being made."""

LONG_LOCK_MS: Final = 2500.0
"""A load that is longer than this takes half of the 5 s for which the usual driver of a producer waits."""

_TRIES: Final = 5
_TORN_PAUSE_S: Final = 0.005
_LONE_PAUSE_S: Final = 0.05

T = TypeVar("T")
_log = structlog.get_logger("readyfs.state")


class _ChunksRead(NamedTuple):
    changed: list[PackedChunk]
    present: list[int]
    rows: int


class _Read(NamedTuple):
    access: Access
    lock_ms: float
    found: RowBuffer | _ChunksRead


class SqliteStore:
    """Reads a SQLite file; see `StateStore`. It holds no file between calls, and one thread at a time calls it."""

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
        self._warned_of_lock = self._warned_of_path = False
        self._memory = ChunkMemory(table.ready, filters)
        self._signature = ""
        self._row_loads = 0
        self._pairing = Pairing()
        self._lone_looks = 0
        self._attempt(lambda opened: self._columns(opened))

    def probe(self) -> Hashable:
        """Return a token that differs once anything was committed or the file was replaced; opens no connection."""
        token = self._look().token
        # While it has to be refused, the load that this calls for says why.
        return object() if self._lone_looks >= LONE_LOOKS else token

    def load(self) -> StateLoad:
        """Read every ready row in one transaction, and take in those that changed."""
        # It is from before the transaction: what is committed in between is read, and is found changed next time.
        version = self._look()
        # Where only the file was handed over, a log is likely to be elsewhere: nothing is shown before that is certain.
        while version.held and self._lone_looks < LONE_LOOKS and _is_handed_over(look(self._path)):
            time.sleep(_LONE_PAUSE_S)
            version = self._look()
        if self._lone_looks >= LONE_LOOKS:
            raise log_elsewhere(self._path)
        access, lock_ms, found = self._attempt(self._read)
        # One that lay here alone before was left by somebody else, or counted.
        left_log = (version.in_use or version.token.log is None) and self._is_left_alone()
        changed: ChangedDates | None = None
        series: Mapping[SeriesKey, SeriesRows]
        if isinstance(found, RowBuffer):
            series, withheld, rows = self._parse(found)
        else:
            try:
                changed = self._memory.update(found.changed, found.present)
            except NotPatchableError:
                self.start_over()
                return self.load()
            except BaseException:
                self.start_over()
                raise
            series, withheld, rows = self._memory.series, self._memory.withheld(), self._memory.rows
        self._warn_of_lock(access, rows, lock_ms)
        return StateLoad(version.token, series, withheld, rows, lock_ms, changed, left_log)

    def start_over(self) -> None:
        """Compare the next load with nothing."""
        self._memory.clear()

    def close(self) -> None:
        """Do nothing: nothing is open between calls."""

    def _look(self) -> Version:
        version = read_version(self._path)
        self._lone_looks = self._lone_looks + 1 if version.held else 0
        return version

    def _attempt(self, action: Callable[[SqliteConnection], T]) -> T:
        """Run an action on a connection, and again if the files moved meanwhile."""
        for _ in range(_TRIES):
            before = look(self._path)
            try:
                with connected(self._path, self._timeout_s, self._pairing) as opened:
                    result = action(opened)
                    self._pairing.note(opened.seen, opened.checkpointed)
                    return result
            except MovedError:
                pass
            except sqlite3.Error as error:
                # While the files move, another try may well succeed.
                if is_locked(error) or look(self._path).database == before.database:
                    raise explain(error, self._path, self._timeout_s) from error
        raise StateError(
            f"state database {escape_text(str(self._path))} changed during each of {_TRIES} tries to read it",
            "look for what keeps replacing it",
        )

    def _parse(self, buffer: RowBuffer) -> tuple[dict[SeriesKey, SeriesRows], WithheldTally, int]:
        """Parse all rows of what cannot be read in chunks: a view, or a table without a key."""
        self.start_over()
        self._row_loads += 1
        if self._row_loads == 2:  # the first load is whole anyway
            reason = "it is no table with row numbers and a unique key over source, customer, query and date"
            _log.info("the state table is read whole", store=self.label, reason=reason)
        parser = RowParser(self._table.ready, Vocabulary(self._filters))
        for rows in buffer.drain():
            parser.feed(rows)
        return parser.series(), parser.withheld, parser.rows

    def _read(self, opened: SqliteConnection) -> _Read:
        self._warn_of_path(opened.seen)
        connection = opened.connection
        found: RowBuffer | _ChunksRead
        try:
            columns = self._columns(opened)
            started = time.perf_counter()
            self._refuse_torn(opened)
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
        if opened.access in (Access.ROLLBACK, Access.WAL_AT_REST) and after.database != opened.seen.database:
            raise MovedError
        return _Read(opened.access, lock_ms, found)

    def _refuse_torn(self, opened: SqliteConnection) -> None:
        """Raise `StateError` for a file that ends within a page: SQLite reads zeros there, and rows vanish."""
        (page_size,) = opened.connection.execute("PRAGMA page_size").fetchone()
        for _ in range(_TRIES):
            database = look(self._path).database
            if database.identity != opened.seen.database.identity:
                raise MovedError
            if database.size % page_size == 0:
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

    def _columns(self, opened: SqliteConnection) -> dict[str, str | None]:
        """Map the fields to the columns of the table as it is now; raise `StateError` if it is not as configured."""
        connection, description = opened.connection, self._describe(opened)
        schema, name = split_table(self._table)
        # This read takes the lock and notices a changed schema, which the pragmas below would not.
        tables = _names(connection, "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
        present = _names(connection, "SELECT name FROM pragma_table_xinfo(?)", name)
        if not present or (schema is not None and schema.casefold() != "main"):
            raise missing_table(self._table, description, tables)
        return find_columns(self._table, present, description)

    def _describe(self, opened: SqliteConnection) -> str:
        return escape_text(str(self._path)) + ("" if opened.seen.database.size else ", an empty file of 0 bytes,")

    def _is_left_alone(self) -> bool:
        """Tell whether the last to leave has left during the look, so that log and shared memory stayed behind it."""
        sighting = look(self._path)
        if sighting.log is None or sighting.shared_memory is None or is_in_use(sighting):
            return False
        _log.info("the producer closed the database while it was read, so its log stays", store=self.label)
        return True

    def _warn_of_path(self, seen: Sighting) -> None:
        if self._warned_of_path or not _is_handed_over(seen):
            return
        self._warned_of_path = True
        _log.warning(
            "only the file of the state database was handed over, not its directory: SQLite's log and journal may lie "
            "elsewhere, and a file that takes its place may not be seen",
            store=self.label,
            is_mount_point=seen.database.is_mount,
            links=seen.database.links,
        )

    def _warn_of_lock(self, access: Access, rows: int, lock_ms: float) -> None:
        if self._warned_of_lock or access is not Access.ROLLBACK:
            return
        if rows <= self._many_rows and lock_ms <= self._long_lock_ms:
            return
        self._warned_of_lock = True
        _log.warning(
            "the state table is large for rollback-journal mode: each load holds up the producer's commits; "
            "WAL mode (PRAGMA journal_mode=WAL, set by the producer) does not",
            store=self.label,
            rows=rows,
            lock_ms=round(lock_ms),
        )


def _is_handed_over(seen: Sighting) -> bool:
    """Tell whether the file may be here without its directory: by a mount of its own, or under another name."""
    return seen.database.is_mount or seen.database.links > 1


def _names(connection: sqlite3.Connection, statement: str, *parameters: str) -> list[str]:
    return [name.decode("utf-8", "backslashreplace") for (name,) in connection.execute(statement, parameters)]
