"""Whether the log beside a database is its own.

SQLite finds a log by its name, and reads it into whatever database lies there. A database that was replaced while its
log stayed would be a mixture of two. No file says which it belongs to, so what was seen before has to tell.
"""

from __future__ import annotations

from pathlib import Path

from readyfs.state.sqlite.errors import doubtful_log, foreign_log
from readyfs.state.sqlite.file import Sighting
from readyfs.state.sqlite.header import DatabaseHeader


class Pairing:
    """Remembers which log lay beside which database when they were last read. One thread at a time uses it."""

    def __init__(self) -> None:
        self._seen: Sighting | None = None

    def check(self, path: Path, sighting: Sighting, header: DatabaseHeader, log_page_size: int | None) -> None:
        """Raise `StateError` if the log that lies there is another database's."""
        if sighting.log is None:
            return
        if not header.is_wal:
            raise foreign_log(path, "the database is not in WAL mode")
        if log_page_size not in (None, header.page_size):
            raise foreign_log(path, f"pages of {header.page_size} bytes, and of {log_page_size} in the log")
        seen, database, log = self._seen, sighting.database, sighting.log
        if seen is None or seen.database.identity == database.identity:
            return
        if seen.log is not None and seen.log.identity == log.identity:
            raise foreign_log(path, "the database was replaced, and the log stayed")
        # Both are new. A file that was put in place after the log was made, and not written to since, came later. A
        # change of its owner, mode or links looks the same.
        if database.mtime_ns < log.birth_ns < database.ctime_ns:
            raise doubtful_log(path)

    def note(self, sighting: Sighting) -> None:
        """Remember files that were read together."""
        self._seen = sighting
