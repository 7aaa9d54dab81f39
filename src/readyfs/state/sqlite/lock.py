"""The locks of a SQLite database that are taken or asked for here, and not by SQLite.

`Guard` is a reader's lock on a descriptor of our own. SQLite takes its own locks in every transaction; but a database
in WAL mode that nobody has open is read without any of them, and the guard stands in for them. It also keeps a log in
place while a connection is being opened.

The guard takes the last of the bytes that stand for SQLite's shared lock, and SQLite takes all of them. So what
`is_held` finds on the others is never another readyfs, which takes SQLite's own only where a log is.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from readyfs.errors import StateError
from readyfs.state.sqlite.errors import locked_error, no_locks


class Range(NamedTuple):
    """Bytes of a file that stand for a lock."""

    first: int
    size: int


_SHARED: Final = Range(0x40000002, 510)
"""os.h: SHARED_FIRST, SHARED_SIZE"""
_GUARD: Final = Range(_SHARED.first + _SHARED.size - 1, 1)
SHARED: Final = Range(_SHARED.first, _SHARED.size - 1)
"""What every reader of the database holds, and in WAL mode everybody who has it open."""
RESERVED: Final = Range(0x40000001, 1)
"""What a writer holds from its first change to its commit."""
SHARED_MEMORY: Final = Range(128, 1)
"""os_unix.c: UNIX_SHM_DMS; what everybody holds who has the -shm file open."""

_BUSY: Final = (errno.EAGAIN, errno.EACCES)
LOCK_POLL_S: Final = 0.005
_LOCK: Final = struct.Struct("hhqqi4x")


class Guard:
    """A lock that a writer has to wait for; while it is held, the last to leave a WAL database cannot delete its log.

    An open file description lock (fcntl(2)), because SQLite's own closing of files cannot drop one of these.
    """

    def __init__(self, descriptor: int, path: Path, timeout_s: float) -> None:
        self._descriptor = descriptor
        self._path = path
        self._timeout_s = timeout_s
        self._is_held = False

    def take(self, deadline: float) -> None:
        """Take it; raise `StateError` if it cannot be had by then (`time.monotonic`), or locks do not work here."""
        while not self._try():
            if time.monotonic() >= deadline:
                raise locked_error(self._path, self._timeout_s)
            time.sleep(LOCK_POLL_S)
        self._is_held = True

    def release(self) -> None:
        """Let go of it, if it is held."""
        if not self._is_held:
            return
        self._is_held = False
        with suppress(OSError):  # where locks just stopped working; it goes with the descriptor
            fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, _request(fcntl.F_UNLCK, _GUARD))

    def _try(self) -> bool:
        try:
            fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, _request(fcntl.F_RDLCK, _GUARD))
        except OSError as error:
            if error.errno in _BUSY:
                return False
            raise _explain(self._path, error) from error
        return True


def is_held(descriptor: int, path: Path, lock: Range) -> bool:
    """Tell whether another process holds a lock; raise `StateError` where locks do not work."""
    try:
        answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, _request(fcntl.F_WRLCK, lock))
    except OSError as error:
        raise _explain(path, error) from error
    kind: int = _LOCK.unpack(answer)[0]
    return kind != fcntl.F_UNLCK


def _explain(path: Path, error: OSError) -> StateError:
    return no_locks(path, error.strerror or str(error))


def _request(kind: int, lock: Range) -> bytes:
    return _LOCK.pack(kind, os.SEEK_SET, lock.first, lock.size, 0)
