"""One read-only connection to a SQLite file for one look, together with the files that it was opened on.

Everything else is told of the files before and after it: nothing of ours is there between looks.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from readyfs.state.sqlite.descriptors import DESCRIPTORS
from readyfs.state.sqlite.errors import is_locked, unrecovered
from readyfs.state.sqlite.file import Access, Sighting, choose_access, look, may_recover, render_uri, unreadable
from readyfs.state.sqlite.header import read_checkpoints, read_header, read_log_page_size, read_trace
from readyfs.state.sqlite.lock import LOCK_POLL_S, Guard
from readyfs.state.sqlite.pairing import Checkpointed, Pairing


class MovedError(Exception):
    """The files changed while they were opened or read: look again."""


@dataclass(frozen=True, slots=True)
class SqliteConnection:
    """One connection in its one transaction, how it may read, and how the files looked when it was opened."""

    connection: sqlite3.Connection
    access: Access
    seen: Sighting
    checkpointed: Checkpointed | None


@contextmanager
def connected(path: Path, timeout_s: float, pairing: Pairing) -> Iterator[SqliteConnection]:
    """Open a database for one look, in a transaction that has begun, and leave it as it was.

    Raises `StateError` if it cannot be read, `sqlite3.Error`, and `MovedError` if it was replaced meanwhile.
    """
    deadline = time.monotonic() + timeout_s
    with ExitStack() as stack:
        # The locks go with any descriptor that is closed, so this one is closed after the connection.
        header_file = stack.enter_context(_open(look(path).path))
        stack.enter_context(DESCRIPTORS.connection())
        guard = Guard(header_file, path, timeout_s)
        stack.callback(guard.release)
        opened = _begin(path, header_file, pairing, guard, deadline)
        stack.enter_context(closing(opened.connection))
        if opened.access is not Access.WAL_AT_REST:  # there nothing but the guard protects what is read
            guard.release()
        yield opened


def _begin(path: Path, header_file: int, pairing: Pairing, guard: Guard, deadline: float) -> SqliteConnection:
    """Return a connection in a transaction; the guard is held then."""
    while True:
        guard.take(deadline)
        try:
            return _connect(path, header_file, pairing)
        except sqlite3.Error as error:
            if not is_locked(error) or time.monotonic() >= deadline:
                raise
        except OSError as error:
            raise unreadable(path, error) from error
        # A writer that waits for readers to go lets no new one in. The guard is a reader's lock to it.
        guard.release()
        time.sleep(LOCK_POLL_S)


def _connect(path: Path, header_file: int, pairing: Pairing) -> SqliteConnection:
    """Open it under the guard.

    Without it, the producer that leaves last would delete its log, or change the journal mode and then leave. SQLite
    would make a log of ours then.
    """
    seen = look(path)
    if not _is_open(header_file, seen):
        raise MovedError
    header = read_header(header_file)
    checkpointed = _read_checkpointed(header_file, seen)
    pairing.check(path, seen, header, _log_page_size(seen), checkpointed)
    access = choose_access(header, seen)
    if access is Access.WAL_UNRECOVERED and not may_recover(seen):
        raise unrecovered(path)
    connection = sqlite3.connect(
        render_uri(seen.path, access), uri=True, timeout=0, isolation_level=None, check_same_thread=False
    )
    try:
        # Cells and names come as the bytes that are stored: decoding one bad value would fail the whole fetch.
        connection.text_factory = bytes
        connection.execute("BEGIN")
        # Only a read opens the log, and takes the lock that lasts until the end.
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        if look(path).database.identity != seen.database.identity:
            raise MovedError
    except BaseException:
        connection.close()
        raise
    return SqliteConnection(connection, access, seen, checkpointed)


def _open(path: str) -> AbstractContextManager[int]:
    try:
        return DESCRIPTORS.opened(path)
    except OSError as error:
        raise unreadable(path, error) from error


def _is_open(descriptor: int, seen: Sighting) -> bool:
    status = os.fstat(descriptor)
    return (os.major(status.st_dev), os.minor(status.st_dev)) == seen.database.device and (
        status.st_ino == seen.database.inode
    )


def _log_page_size(seen: Sighting) -> int | None:
    if not (seen.log and seen.log.size):
        return None
    with _open(f"{seen.path}-wal") as log:
        return read_log_page_size(log)


def _read_checkpointed(header_file: int, seen: Sighting) -> Checkpointed | None:
    """Return what checkpoints made of the database, None if that cannot be told now."""
    if seen.log is None or seen.shared_memory is None:
        return None
    try:
        with DESCRIPTORS.opened(f"{seen.path}-shm") as memory:
            progress = read_checkpoints(memory)
            trace = read_trace(header_file)
            if progress is None or read_checkpoints(memory) != progress:
                return None
    except FileNotFoundError:
        return None  # whoever had it open just left
    return Checkpointed((seen.database.identity, seen.shared_memory.identity), progress, trace)
