"""What SQLite's error codes mean to an operator: cause and remedy for each that a reader can meet."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from readyfs.errors import StateError
from readyfs.text import escape_text


def is_locked(error: sqlite3.Error) -> bool:
    """Tell whether another process held a lock for longer than the busy timeout."""
    return _code(error).startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def explain(error: sqlite3.Error, path: Path, timeout_s: float) -> StateError:
    """Return the outage that an error of SQLite stands for (sqlite.org/rescode.html)."""
    name = f"state database {escape_text(os.fspath(path))}"
    code = _code(error)
    text = escape_text(str(error))
    if is_locked(error):
        return locked_error(path, timeout_s)
    match code:
        case "SQLITE_NOTADB":
            return StateError(f"{name} is not a SQLite database", "give the producer's database file")
        case "SQLITE_READONLY_ROLLBACK":
            return StateError(
                f"{name} has a hot journal: a writer died in mid-transaction, and a reader may not roll it back",
                "let the producer, or `sqlite3` as a user that may write the file, open it once",
            )
        case "SQLITE_READONLY_RECOVERY" | "SQLITE_READONLY_CANTINIT" | "SQLITE_READONLY_CANTLOCK":
            return unrecovered(path)
        case "SQLITE_CANTOPEN":
            return StateError(
                f"{name} or a file that belongs to it (-journal, -wal, -shm) cannot be opened",
                "make them readable for this user",
            )
        case "SQLITE_CORRUPT":
            return StateError(f"{name} is damaged ({text})", "check it with `PRAGMA integrity_check`")
    detail = f"{text} ({code})" if code else text
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


def _code(error: sqlite3.Error) -> str:
    name = getattr(error, "sqlite_errorname", None)
    return name if isinstance(name, str) else ""
