"""The lock of a SQLite database that is taken here and not by SQLite: a reader's, on a descriptor of our own.

SQLite takes its own locks in every transaction. A database in WAL mode that nobody has open is read without any of
them, and this lock guards it then. It also keeps a log in place while a connection is being opened.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from readyfs.state.sqlite.errors import locked_error
from readyfs.state.sqlite.file import HeaderFile

_SHARED_FIRST: Final = 0x40000002
_SHARED_SIZE: Final = 510
"""The bytes that stand for SQLite's shared lock (os.h: SHARED_FIRST, SHARED_SIZE)."""

_LOCK_POLL_S: Final = 0.005


@contextmanager
def shared_lock(header: HeaderFile, path: Path, timeout_s: float) -> Iterator[None]:
    """Hold the shared lock that a SQLite reader holds; raise `StateError` if it cannot be had in time.

    While it is held, the last producer to leave a WAL database cannot move its log into the file and delete it.
    An open file description lock (fcntl(2)), because SQLite's own closing of files cannot drop one of these.
    """
    deadline = time.monotonic() + timeout_s
    while not _try_to_lock(header):
        if time.monotonic() >= deadline:
            raise locked_error(path, timeout_s)
        time.sleep(_LOCK_POLL_S)
    try:
        yield
    finally:
        fcntl.fcntl(header, fcntl.F_OFD_SETLK, _lock_request(fcntl.F_UNLCK))


def _try_to_lock(header: HeaderFile) -> bool:
    try:
        fcntl.fcntl(header, fcntl.F_OFD_SETLK, _lock_request(fcntl.F_RDLCK))
    except BlockingIOError:
        return False
    return True


def _lock_request(kind: int) -> bytes:
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, _SHARED_FIRST, _SHARED_SIZE, 0)
