"""Whether the log beside a database is its own.

SQLite finds a log by its name, and reads it into whatever database lies there. A database that was replaced while its
log stayed would be a mixture of two. No file says which it belongs to, so what was seen before has to tell.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from readyfs.state.sqlite.errors import doubtful_log, foreign_log
from readyfs.state.sqlite.file import Sighting
from readyfs.state.sqlite.header import DatabaseHeader


class Checkpointed(NamedTuple):
    """What checkpoints made of a database: in which shared memory they are counted, how far they are, and its trace.

    Only a checkpoint writes to a database in WAL mode. One whose trace moved without any was written over.
    """

    counted_in: tuple[object, ...]
    progress: bytes
    trace: tuple[int, bytes]

    def is_written_over(self, now: Checkpointed) -> bool:
        """Tell whether the database is another by now, although no checkpoint wrote to it."""
        return self[:2] == now[:2] and self.trace != now.trace


class Pairing:
    """Remembers which log lay beside which database when they were last read. One thread at a time uses it."""

    def __init__(self) -> None:
        self._seen: Sighting | None = None
        self._checkpointed: Checkpointed | None = None

    def check(
        self,
        path: Path,
        sighting: Sighting,
        header: DatabaseHeader,
        log_page_size: int | None,
        checkpointed: Checkpointed | None,
    ) -> None:
        """Raise `StateError` if the log that lies there is another database's."""
        if sighting.log is None:
            return
        if not header.is_wal:
            raise foreign_log(path, "the database is not in WAL mode")
        if log_page_size not in (None, header.page_size):
            raise foreign_log(path, f"pages of {header.page_size} bytes, and of {log_page_size} in the log")
        seen, database, log = self._seen, sighting.database, sighting.log
        if seen is not None and seen.database.identity != database.identity:
            if seen.log is not None and seen.log.identity == log.identity:
                raise foreign_log(path, "the database was replaced, and the log stayed")
            # Both are new. A file that was put in place after the log was made, and not written to since, came later. A
            # change of its owner, mode or links looks the same.
            if database.mtime_ns < log.birth_ns < database.ctime_ns:
                raise doubtful_log(path)
        was = self._checkpointed
        if was is not None and checkpointed is not None and was.is_written_over(checkpointed):
            raise foreign_log(path, "the database was written over, and the log stayed")

    def note(self, sighting: Sighting, checkpointed: Checkpointed | None) -> None:
        """Remember files that were read together."""
        self._seen = sighting
        self._checkpointed = checkpointed
