"""The files of a SQLite database as they lie on disk, and how they may be read without changing any of them.

Never opens the database file and closes it again while a connection of ours is open: closing any descriptor drops
every POSIX lock that the process holds on the file (fcntl(2)), SQLite's included. `HeaderFile` is therefore kept open
for as long as the connection it belongs to.
"""

from __future__ import annotations

import os
import stat
from enum import Enum
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

from readyfs.errors import StateError
from readyfs.text import escape_text

_VERSION_OFFSET: Final = 18
"""Write and read version of the file format; 2 means WAL (SQLite file format, section 1.3)."""

_CAP_CHOWN: Final = 1 << 0
"""capabilities(7), linux/capability.h"""


class FileStamp(NamedTuple):
    """What stat(2) tells of a file's identity and content."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @property
    def identity(self) -> tuple[int, int]:
        """Which file it is, whatever it holds."""
        return self.device, self.inode


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
    """The database's files at one moment."""

    database: FileStamp
    log: FileStamp | None
    shared_memory: FileStamp | None


def look(path: Path) -> Sighting:
    """Stat the database file and what lies beside it; raise `StateError` if it is no regular file."""
    name = escape_text(os.fspath(path))
    real = os.path.realpath(path)
    try:
        status = Path(real).stat()
    except FileNotFoundError as error:
        raise StateError(f"state database {name} does not exist", "give the producer's file with --state") from error
    except OSError as error:
        raise StateError(f"state database {name}: {error.strerror}", "check the path and its permissions") from error
    if stat.S_ISDIR(status.st_mode):
        raise StateError(f"state database {name} is a directory", "give the database file inside it")
    if not stat.S_ISREG(status.st_mode):
        raise StateError(f"state database {name} is not a regular file", "give a SQLite database file")
    return Sighting(_stamp(status), _stamp_if_there(f"{real}-wal"), _stamp_if_there(f"{real}-shm"))


def _stamp(status: os.stat_result) -> FileStamp:
    return FileStamp(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _stamp_if_there(path: str) -> FileStamp | None:
    try:
        return _stamp(Path(path).stat())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"{escape_text(path)}: {error.strerror}", "check its permissions") from error


class HeaderFile:
    """An open descriptor on the database file, for its header and for the lock in `lock`."""

    def __init__(self, path: Path) -> None:
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            name = escape_text(os.fspath(path))
            raise StateError(f"state database {name}: {error.strerror}", "make it readable for this user") from error

    @property
    def identity(self) -> tuple[int, int]:
        """Which file is open."""
        status = os.fstat(self._fd)
        return status.st_dev, status.st_ino

    @property
    def owner(self) -> int:
        """The user id that owns the file."""
        return os.fstat(self._fd).st_uid

    def is_wal(self) -> bool:
        """Tell whether the database is in WAL mode."""
        return os.pread(self._fd, 2, _VERSION_OFFSET) == b"\x02\x02"

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def close(self) -> None:
        """Close the descriptor: only when no connection of ours holds a lock on the file."""
        os.close(self._fd)


def choose_access(wal: bool, sighting: Sighting) -> Access:
    """Return how to read a database in this condition."""
    if not wal:
        return Access.ROLLBACK
    if sighting.log is None:
        return Access.WAL_AT_REST  # whoever has it open has a log; shared memory alone is a leftover
    if sighting.shared_memory is not None:
        return Access.WAL
    return Access.WAL_UNRECOVERED if sighting.log.size else Access.WAL_AT_REST


def may_recover(path: Path, owner: int) -> bool:
    """Tell whether SQLite can make the shared memory here so that it belongs to the database's owner.

    A file of anyone else's would have the database's mode, and so keep the producer from writing to its own database.
    SQLite gives what it makes to the owner when it runs as root (os_unix.c: robustFchown) and ignores a failure.
    """
    if os.geteuid() != owner and not (os.geteuid() == 0 and _may_change_owners()):
        return False
    return os.access(Path(os.path.realpath(path)).parent, os.W_OK | os.X_OK, effective_ids=True)


def _may_change_owners() -> bool:
    # Root need not: a service manager takes such capabilities away.
    lines = Path("/proc/thread-self/status").read_text(encoding="utf-8", errors="replace").splitlines()
    return any(int(line.split()[1], 16) & _CAP_CHOWN for line in lines if line.startswith("CapEff:"))


def render_uri(path: Path, access: Access) -> str:
    """Return the URI (sqlite.org/uri.html) that opens the database read-only."""
    immutable = "&immutable=1" if access is Access.WAL_AT_REST else ""
    return f"file:{quote(os.fsencode(os.path.realpath(path)))}?mode=ro{immutable}"
