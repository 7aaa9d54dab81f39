"""The SQLite state store: a connection for each look, read-only in every sense, and nothing between looks.

A connection that stayed open would keep the producer's log in place: its `close` would never be the last, and so no
checkpoint would come. So whether anything changed is told from the files (`version`), and only a load opens them.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from readyfs.partition import ChangedDates, SeriesKey, WithheldTally
from readyfs.series_rows import SeriesRows
from readyfs.state.filters import Filters
from readyfs.state.rows.fetch import RowBuffer
from readyfs.state.rows.parser import ROW_FIELDS, RowParser
from readyfs.state.rows.vocabulary import Vocabulary
from readyfs.state.sqlite.chunk_memory import ChunkMemory, NotPatchableError, PackedChunk
from readyfs.state.sqlite.chunks import plan_chunks
from readyfs.state.sqlite.connection import SqliteConnection
from readyfs.state.sqlite.file import Access, Sighting, look
from readyfs.state.sqlite.looks import Looks, is_handed_over
from readyfs.state.sqlite.names import select
from readyfs.state.sqlite.status import is_word
from readyfs.state.sqlite.version import is_in_use
from readyfs.state.store import StateLoad, StateTable
from readyfs.state.table import split_table
from readyfs.text import escape_text

MANY_ROWS: Final = 2_000_000
"""Above this many ready rows one load in rollback-journal mode holds up the producer for seconds."""

LONG_LOCK_MS: Final = 2500.0
"""A load that is longer than this takes half of the 5 s for which the usual driver of a producer waits."""

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
        self._many_rows = many_rows
        self._long_lock_ms = long_lock_ms
        self._warned_of_lock = self._warned_of_path = False
        self._memory = ChunkMemory(table.ready, filters)
        self._signature = ""
        self._row_loads = 0
        self._looks = Looks(path, timeout_s)
        self._looks.attempt(lambda opened: self._columns(opened))

    def probe(self) -> Hashable:
        """Return a token that differs once anything was committed or the file was replaced; opens no connection."""
        token = self._looks.version().token
        # While it has to be refused, the load that this calls for says why.
        return object() if self._looks.is_log_elsewhere else token

    def load(self) -> StateLoad:
        """Read every ready row in one transaction, and take in those that changed."""
        # It is from before the transaction: what is committed in between is read, and is found changed next time.
        version = self._looks.settled_version()
        access, lock_ms, found = self._looks.attempt(self._read)
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
            self._looks.refuse_torn(opened)
            plan = plan_chunks(connection, split_table(self._table)[1], columns, self._table.ready)
            if plan is None:
                found = self._read_rows(connection, columns)
            else:
                if plan.signature != self._signature or self._memory.has_duplicates:
                    self.start_over()
                self._signature = plan.signature
                found = _ChunksRead(*plan.read(connection, self._memory))
            self._looks.refuse_moved(opened)
        finally:
            connection.rollback()
        lock_ms = (time.perf_counter() - started) * 1000
        return _Read(opened.access, lock_ms, found)

    def _read_rows(self, connection: sqlite3.Connection, columns: dict[str, str | None]) -> RowBuffer:
        assert columns["status"] is not None
        wanted, parameters = is_word(columns["status"], self._table.ready)
        every = select(split_table(self._table)[1], columns.values())
        buffer = RowBuffer()
        buffer.fill(connection.execute(f"{every} WHERE {wanted}", parameters))
        return buffer

    def _columns(self, opened: SqliteConnection) -> dict[str, str | None]:
        return self._looks.columns(opened, self._table, ROW_FIELDS)

    def _is_left_alone(self) -> bool:
        """Tell whether the last to leave has left during the look, so that log and shared memory stayed behind it."""
        sighting = look(self._path)
        if sighting.log is None or sighting.shared_memory is None or is_in_use(sighting):
            return False
        _log.info("the producer closed the database while it was read, so its log stays", store=self.label)
        return True

    def _warn_of_path(self, seen: Sighting) -> None:
        if self._warned_of_path or not is_handed_over(seen):
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
