"""Descriptors on a database's files, closed only while that cannot drop a lock of SQLite.

Closing any descriptor of a file drops every POSIX lock that the process holds on it (fcntl(2)), those of a connection
in another thread included. So as long as any connection is open in this process, closing is put off. SQLite does the
same with its own descriptors.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final


class Descriptors:
    """Counts the connections of this process, and keeps what is to be closed after the last of them. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connections = 0
        self._put_off: list[int] = []

    def opened(self, path: str) -> AbstractContextManager[int]:
        """Open a file to read from it, at once; raise `OSError`."""
        return self._held(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))

    @contextmanager
    def connection(self) -> Iterator[None]:
        """Stand around the life of one SQLite connection."""
        with self._lock:
            self._connections += 1
        try:
            yield
        finally:
            with self._lock:
                self._connections -= 1
                self._close()

    @contextmanager
    def _held(self, descriptor: int) -> Iterator[int]:
        try:
            yield descriptor
        finally:
            with self._lock:
                self._put_off.append(descriptor)
                self._close()

    def _close(self) -> None:
        if not self._connections:
            while self._put_off:
                os.close(self._put_off.pop())


DESCRIPTORS: Final = Descriptors()
"""Those of this process: POSIX locks belong to a process."""
