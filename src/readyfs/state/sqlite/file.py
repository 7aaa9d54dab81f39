"""The files of a SQLite database as they lie on disk, and how they may be read without changing any of them."""

from __future__ import annotations

import os
import stat
from enum import Enum
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

from readyfs.errors import StateError
from readyfs.state.sqlite.errors import unlinked
from readyfs.state.sqlite.header import DatabaseHeader
from readyfs.state.sqlite.stamp import FileStamp, stamp
from readyfs.text import escape_text

_CAP_CHOWN: Final = 1 << 0
"""capabilities(7), linux/capability.h"""


class Access(Enum):
    """How a database can be read without writing to it."""

    ROLLBACK = "rollback"
    """Shared locks on the file, as every SQLite reader takes them."""
    WAL = "wal"
    """Through the shared memory that some process keeps beside the file."""
    WAL_AT_REST = "immutable"
    """Nobody has the WAL database open: the file alone is the whole of it, and SQLite's locks do not guard it."""
    WAL_UNRECOVERED = "unrecovered"
    """The log holds commits and nobody has it open: a reader must make the shared memory first."""


class Sighting(NamedTuple):
    """The database's files at one moment; `path` is the database's without symbolic links."""

    path: str
    database: FileStamp
    log: FileStamp | None
    shared_memory: FileStamp | None


def look(path: Path) -> Sighting:
    """Stat the database file and what lies beside it; raise `StateError` if it is no regular file, or deleted."""
    name = escape_text(os.fspath(path))
    real = os.path.realpath(path)
    try:
        database = stamp(real)
    except FileNotFoundError as error:
        raise StateError(f"state database {name} does not exist", "give the producer's file with --state") from error
    except OSError as error:
        raise StateError(f"state database {name}: {error.strerror}", "check the path and its permissions") from error
    if stat.S_ISDIR(database.mode):
        raise StateError(f"state database {name} is a directory", "give the database file inside it")
    if not stat.S_ISREG(database.mode):
        raise StateError(f"state database {name} is not a regular file", "give a SQLite database file")
    if not database.links and stamp_if_there(real) == database:
        raise unlinked(path)  # else it was just replaced, between finding the file and looking at it
    return Sighting(real, database, stamp_if_there(f"{real}-wal"), stamp_if_there(f"{real}-shm"))


def stamp_if_there(path: str) -> FileStamp | None:
    """Return the stamp of a file beside the database, None if there is none; raise `StateError`."""
    try:
        return stamp(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: str | Path, error: OSError) -> StateError:
    """Return the outage of a file that this user may not open."""
    return StateError(
        f"state database {escape_text(os.fspath(path))}: {error.strerror}", "make it readable for this user"
    )


def choose_access(header: DatabaseHeader, sighting: Sighting) -> Access:
    """Return how to read a database in this condition."""
    if not header.is_wal:
        return Access.ROLLBACK
    if sighting.log is None:
        return Access.WAL_AT_REST  # whoever has it open has a log; shared memory alone is a leftover
    if sighting.shared_memory is not None:
        return Access.WAL
    return Access.WAL_UNRECOVERED if sighting.log.size else Access.WAL_AT_REST


def may_recover(sighting: Sighting) -> bool:
    """Tell whether SQLite can make the shared memory here so that it belongs to the database's owner.

    A file of anyone else's would have the database's mode, and so keep the producer from writing to its own database.
    SQLite gives what it makes to the owner when it runs as root (os_unix.c: robustFchown) and ignores a failure.
    """
    if os.geteuid() != sighting.database.owner and not (os.geteuid() == 0 and _may_change_owners()):
        return False
    return os.access(Path(sighting.path).parent, os.W_OK | os.X_OK, effective_ids=True)


def _may_change_owners() -> bool:
    # Root need not: a service manager takes such capabilities away.
    lines = Path("/proc/thread-self/status").read_text(encoding="utf-8", errors="replace").splitlines()
    return any(int(line.split()[1], 16) & _CAP_CHOWN for line in lines if line.startswith("CapEff:"))


def render_uri(path: str, access: Access) -> str:
    """Return the URI (sqlite.org/uri.html) that opens the database read-only."""
    immutable = "&immutable=1" if access is Access.WAL_AT_REST else ""
    return f"file:{quote(os.fsencode(path))}?mode=ro{immutable}"
