"""One read-only connection to a SQLite file for one look, together with the files that it was opened on.

Everything else is told of the files before and after it: nothing of ours is there between looks.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from readyfs.state.sqlite.descriptors import DESCRIPTORS
from readyfs.state.sqlite.errors import unrecovered
from readyfs.state.sqlite.file import Access, Sighting, choose_access, look, may_recover, render_uri, unreadable
from readyfs.state.sqlite.header import read_header, read_log_page_size
from readyfs.state.sqlite.lock import Guard
from readyfs.state.sqlite.pairing import Pairing

_ON_A_LOG: Final = (Access.WAL, Access.WAL_UNRECOVERED)


class MovedError(Exception):
    """The files changed while they were opened or read: look again."""


@dataclass(frozen=True, slots=True)
class SqliteConnection:
    """One connection, how it may read, and how the files looked when it was opened."""

    connection: sqlite3.Connection
    access: Access
    seen: Sighting


@contextmanager
def connected(path: Path, timeout_s: float, pairing: Pairing) -> Iterator[SqliteConnection]:
    """Open a database for one look, and leave it as it was.

    Raises `StateError` if it cannot be read, `sqlite3.Error`, and `MovedError` if it was replaced meanwhile.
    """
    with ExitStack() as stack:
        header_file = stack.enter_context(_open(look(path).path))
        stack.enter_context(DESCRIPTORS.connection())
        guard = Guard(header_file, path, timeout_s)
        try:
            # Under the guard: the producer that leaves last deletes its log, and SQLite would make ours in its place.
            seen = look(path)
            if not _is_open(header_file, seen):
                raise MovedError
            header = read_header(header_file)
            pairing.check(path, seen, header, _log_page_size(seen))
            access = choose_access(header, seen)
            if access is Access.WAL_UNRECOVERED and not may_recover(seen):
                raise unrecovered(path)
            with closing(_connect(seen.path, access, timeout_s)) as connection:
                if look(path).database.identity != seen.database.identity:
                    raise MovedError
                if access is not Access.WAL_AT_REST:  # there nothing but the guard protects what is read
                    guard.release()
                yield SqliteConnection(connection, access, seen)
        finally:
            guard.release()


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


def _connect(path: str, access: Access, timeout_s: float) -> sqlite3.Connection:
    connection = sqlite3.connect(
        render_uri(path, access), uri=True, timeout=timeout_s, isolation_level=None, check_same_thread=False
    )
    # Cells and names come as the bytes that are stored: decoding one bad value would fail the whole fetch.
    connection.text_factory = bytes
    if access in _ON_A_LOG:
        try:
            # Only a read opens the log and takes SQLite's own shared lock, which then lasts until the close.
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        except BaseException:
            connection.close()
            raise
    return connection
