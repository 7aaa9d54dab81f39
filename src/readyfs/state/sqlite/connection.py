"""One read-only connection to a SQLite file, together with the files that it was opened on.

Made and replaced by `SqliteStore`; it never repairs itself, it only tells whether it still fits the files.
"""

from __future__ import annotations

import itertools
import sqlite3
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Final

from readyfs.state.sqlite.errors import unrecovered
from readyfs.state.sqlite.file import Access, HeaderFile, Sighting, choose_access, look, may_recover, render_uri
from readyfs.state.sqlite.lock import shared_lock

SETTLED_NS: Final = 50_000_000
"""Coarse kernel clocks stamp files in ticks of up to 10 ms: two writes within one look the same."""


class SqliteConnection:
    """One connection, how it may read, and how the files looked when it was opened or last probed."""

    _numbers = itertools.count(1)

    def __init__(self, path: Path, timeout_s: float) -> None:
        self.number = next(self._numbers)
        self._path = path
        self._timeout_s = timeout_s
        self._header = HeaderFile(path)
        try:
            with self._log_kept():
                self.seen = look(path)
                self.access = choose_access(self._header.is_wal(), self.seen)
                if self.access is Access.WAL_UNRECOVERED and not may_recover(path, self._header.owner):
                    raise unrecovered(path)
                newest_ns = max(self.seen.database.mtime_ns, self.seen.database.ctime_ns)
                self._settled = abs(time.time_ns() - newest_ns) > SETTLED_NS
                self.connection = self._connect(path, timeout_s)
        except BaseException:
            self._header.close()
            raise
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

    def shared_lock(self) -> AbstractContextManager[None]:
        """Hold the shared lock of the file; raise `StateError` if it cannot be had in time."""
        return shared_lock(self._header, self._path, self._timeout_s)

    def note(self, data_version: int, sighting: Sighting) -> None:
        """Remember what the data version was and how the files looked at that time."""
        self.data_version, self.seen = data_version, sighting

    def close(self) -> None:
        """Close both, in this order: closing the descriptor drops the locks of a connection that is still open."""
        self.connection.close()
        self._header.close()

    def _log_kept(self) -> AbstractContextManager[None]:
        """Keep the producer that leaves last from deleting a log that was seen: SQLite would make ours in its place."""
        return self.shared_lock() if self._header.is_wal() else nullcontext()

    def _connect(self, path: Path, timeout_s: float) -> sqlite3.Connection:
        connection = sqlite3.connect(
            render_uri(path, self.access),
            uri=True,
            timeout=timeout_s,
            isolation_level=None,
            check_same_thread=False,
        )
        # Cells and names come as the bytes that are stored: decoding one bad value would fail the whole fetch.
        connection.text_factory = bytes
        if self.access in (Access.WAL, Access.WAL_UNRECOVERED):
            try:
                # Only a read opens the log and takes SQLite's own shared lock, which then lasts until the close.
                connection.execute("SELECT 1 FROM sqlite_master").fetchone()
            except BaseException:
                connection.close()
                raise
        return connection
