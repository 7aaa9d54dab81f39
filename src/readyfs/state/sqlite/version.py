"""Which version of a database lies on disk, read from its files: no connection, no lock, nothing left behind.

In WAL mode a commit moves the header of the log's index in shared memory, and need not move anything else that is read
here: once the log was begun anew, neither its header nor its size, nor the database's header. The stamps of the other
files are nets under it. In rollback-journal mode a commit moves the change counter in the database's header.

Where a file is being changed, or is too young for its stamp to mean anything, a token equals no other: then the next
look has to decide.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final, NamedTuple

from readyfs.state.sqlite.descriptors import DESCRIPTORS
from readyfs.state.sqlite.file import Access, Sighting, choose_access, look, unreadable
from readyfs.state.sqlite.header import read_header, read_index
from readyfs.state.sqlite.lock import RESERVED, SHARED, SHARED_MEMORY, is_held
from readyfs.state.sqlite.stamp import FileStamp

SETTLED_NS: Final = 50_000_000
"""Coarse kernel clocks stamp files in ticks of up to 10 ms: two writes within one look the same."""

_TRIES: Final = 3


class Token(NamedTuple):
    """Equal tokens mean equal content; `version` is what the headers say, or equal to nothing."""

    database: FileStamp
    log: object
    shared_memory: object
    version: object


class Version(NamedTuple):
    """A token, and who else has the database open.

    `in_use` tells whether anybody has its shared memory open; `held` whether somebody has a database in WAL mode open
    beside which no log lies.
    """

    token: Token
    in_use: bool
    held: bool


def read_version(path: Path) -> Version:
    """Read which version is on disk now; raise `StateError` where that cannot be done."""
    sighting = look(path)
    try:
        with DESCRIPTORS.opened(sighting.path) as descriptor:
            header = read_header(descriptor)
            access = choose_access(header, sighting)
            version: object = header.version
            in_use = held = False
            match access:
                case Access.ROLLBACK:
                    if _may_be_hot(descriptor, path, sighting):
                        version = object()
                case Access.WAL:
                    version, in_use = _read_index(path, sighting)
                case Access.WAL_UNRECOVERED:
                    pass  # the log's stamp says it
                case Access.WAL_AT_REST:
                    # A writer that is just changing the journal mode has the second one too.
                    held = is_held(descriptor, path, SHARED) and not is_held(descriptor, path, RESERVED)
                    if not _is_settled(sighting.database):
                        version = object()
    except OSError as error:
        raise unreadable(error.filename or path, error) from error
    log, memory = sighting.log, sighting.shared_memory
    token = Token(
        sighting.database,
        # No ctime: SQLite gives the log to the database's owner each time that root opens it, a reader included.
        None if log is None else (log.identity, log.size, log.mtime_ns),
        None if memory is None else memory.identity,
        version,
    )
    return Version(token, in_use, held)


def is_in_use(sighting: Sighting) -> bool:
    """Tell whether anybody has the shared memory beside the database open."""
    try:
        with DESCRIPTORS.opened(f"{sighting.path}-shm") as descriptor:
            return is_held(descriptor, Path(sighting.path), SHARED_MEMORY)
    except OSError:
        return False


def _read_index(path: Path, sighting: Sighting) -> tuple[object, bool]:
    try:
        with DESCRIPTORS.opened(f"{sighting.path}-shm") as descriptor:
            in_use = is_held(descriptor, path, SHARED_MEMORY)
            for _ in range(_TRIES):
                index = read_index(descriptor)
                if index is not None:
                    return index, in_use
    except FileNotFoundError:
        return object(), True  # whoever had it open just left
    return object(), in_use


def _may_be_hot(descriptor: int, path: Path, sighting: Sighting) -> bool:
    """Tell whether a journal lies here that no writer is at work with: then only SQLite can say what is committed."""
    try:
        with DESCRIPTORS.opened(f"{sighting.path}-journal") as journal:
            # A journal that is kept for the next transaction begins with zeros.
            if os.pread(journal, 1, 0) in (b"", b"\0"):
                return False
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return not is_held(descriptor, path, RESERVED)


def _is_settled(database: FileStamp) -> bool:
    return abs(time.time_ns() - max(database.mtime_ns, database.ctime_ns)) > SETTLED_NS
