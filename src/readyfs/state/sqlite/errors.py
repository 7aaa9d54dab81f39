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

_LOCK_FAILED: Final = frozenset(
    {
        sqlite3.SQLITE_IOERR_LOCK,
        sqlite3.SQLITE_IOERR_RDLOCK,
        sqlite3.SQLITE_IOERR_UNLOCK,
        sqlite3.SQLITE_IOERR_CHECKRESERVEDLOCK,
        sqlite3.SQLITE_IOERR_SHMLOCK,
    }
)
"""The kernel refused a lock for another reason than that somebody holds it."""

_NO_SHARED_MEMORY: Final = frozenset(
    {sqlite3.SQLITE_IOERR_SHMOPEN, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMMAP}
)


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
        case code if code in _LOCK_FAILED:
            return no_locks(path, getattr(error, "sqlite_errorname", text))
        case code if code in _NO_SHARED_MEMORY:
            return StateError(
                f"{name} is in WAL mode, and this filesystem shares no memory between processes",
                "keep it on a local filesystem, or have the producer set PRAGMA journal_mode=DELETE",
            )
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


def no_locks(path: Path, cause: str) -> StateError:
    """Return the outage of a database on a filesystem where no lock can be had, by anybody."""
    return StateError(
        f"state database {escape_text(os.fspath(path))}: this filesystem has no working locks ({escape_text(cause)})",
        "keep the database on a local filesystem, or turn on locking where its volume is mounted",
    )


def foreign_log(path: Path, reason: str) -> StateError:
    """Return the outage of a database beside which the log of another file lies."""
    name = escape_text(os.fspath(path))
    return StateError(
        f"state database {name} and the -wal beside it do not belong together: {reason}",
        f"close whatever has it open, then remove {name}-wal and {name}-shm",
    )


def doubtful_log(path: Path) -> StateError:
    """Return the outage of a database that may have been put beside a log that was there already.

    A log that is the database's own may hold the only copy of commits, so nobody is told to remove it unseen.
    """
    name = escape_text(os.fspath(path))
    return StateError(
        f"state database {name} and the -wal beside it may not belong together: the database was put in place after "
        "the log was made, or else its owner, mode or links changed then",
        f"if it was replaced, close whatever has it open, then remove {name}-wal and {name}-shm; if not, have the "
        "producer run PRAGMA wal_checkpoint",
    )


def log_elsewhere(path: Path) -> StateError:
    """Return the outage of a WAL database that somebody has open whose log is not beside this path."""
    return StateError(
        f"state database {escape_text(os.fspath(path))} is in WAL mode, and somebody has it open whose log is not "
        "here: its commits cannot be seen",
        "hand over the directory of the database, not the file alone: mount the directory, and use no hard link",
    )


def unlinked(path: Path) -> StateError:
    """Return the outage of a file that only a mount of the file itself still shows."""
    return StateError(
        f"state database {escape_text(os.fspath(path))} was replaced or deleted where it comes from, and only its "
        "mount still shows it",
        "mount the directory of the database instead of the file",
    )


def unrecovered(path: Path) -> StateError:
    """Return the outage of a WAL database whose log holds commits that nobody has open."""
    return StateError(
        f"state database {escape_text(os.fspath(path))} has commits in its -wal and no usable -shm, "
        "and this user may not make one for the database's owner, so they cannot be read",
        "let the producer open it once",
    )


def moved(path: Path) -> StateError:
    """Return the outage of a database that took another's place while somebody was being shown what it held."""
    name = escape_text(os.fspath(path))
    return StateError(
        f"state database {name} was replaced while it was read, so what was shown is not whole", "ask again"
    )


def _code(error: sqlite3.Error) -> int | None:
    """Return the extended code; None for an error of Python's module, which SQLite knows nothing of."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return code
