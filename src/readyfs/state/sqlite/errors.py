"""What SQLite's error codes mean to an operator: cause and remedy for each that a reader can meet."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final

from readyfs.errors import StateError
from readyfs.text import escape_text

_PRIMARY: Final = 0xFF
"""The part of an extended code that says its kind (sqlite.org/rescode.html)."""


def is_locked(error: sqlite3.Error) -> bool:
    """Tell whether another process held a lock for longer than the busy timeout."""
    code = _code(error)
    return code is not None and code & _PRIMARY in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_refused(error: sqlite3.Error) -> bool:
    """Tell whether a statement cannot be run as it stands: a name in it is not there. No code says which one."""
    return _code(error) == sqlite3.SQLITE_ERROR


def explain(error: sqlite3.Error, path: Path, timeout_s: float) -> StateError:
    """Return the outage that an error of SQLite stands for (sqlite.org/rescode.html)."""
    name = f"state database {escape_text(os.fspath(path))}"
    text = escape_text(str(error))
    if is_locked(error):
        return locked_error(path, timeout_s)
    match _code(error):
        case sqlite3.SQLITE_NOTADB:
            return StateError(f"{name} is not a SQLite database", "give the producer's database file")
        case sqlite3.SQLITE_READONLY_ROLLBACK:
            return StateError(
                f"{name} has a hot journal: a writer died in mid-transaction, and a reader may not roll it back",
                "let the producer, or `sqlite3` as a user that may write the file, open it once",
            )
        case sqlite3.SQLITE_READONLY_RECOVERY | sqlite3.SQLITE_READONLY_CANTINIT | sqlite3.SQLITE_READONLY_CANTLOCK:
            return unrecovered(path)
        case sqlite3.SQLITE_CANTOPEN:
            return StateError(
                f"{name} or a file that belongs to it (-journal, -wal, -shm) cannot be opened",
                "make them readable for this user",
            )
        case sqlite3.SQLITE_CORRUPT:
            return StateError(f"{name} is damaged ({text})", "check it with `PRAGMA integrity_check`")
    code_name = getattr(error, "sqlite_errorname", None)
    detail = f"{text} ({code_name})" if code_name else text
    return StateError(f"{name} cannot be read: {detail}", "check the file and the producer")


def locked_error(path: Path, timeout_s: float) -> StateError:
    """Return the outage of a database that a writer kept locked for the whole timeout."""
    return StateError(
        f"state database {escape_text(os.fspath(path))} was locked by another process for {timeout_s:g} s",
        "look for a writer that hangs",
    )


def unrecovered(path: Path) -> StateError:
    """Return the outage of a WAL database whose log holds commits that nobody has open."""
    return StateError(
        f"state database {escape_text(os.fspath(path))} has commits in its -wal and no usable -shm, "
        "and this user may not make one for the database's owner, so they cannot be read",
        "let the producer open it once",
    )


def _code(error: sqlite3.Error) -> int | None:
    """Return the extended code; None for an error of Python's module, which SQLite knows nothing of."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return code
