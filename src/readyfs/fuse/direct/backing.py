"""Passthrough: raw files registered with the kernel, which then reads and maps them without us.

All opens of an inode must use one registration, and an inode is open either this way or through us, never both
(fs/fuse/iomode.c answers EIO). So it is decided once for an inode and stands while it is open. A registration that is
no longer open serves no further open: making another costs two microseconds, and this one keeps its raw file open.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Protocol

import structlog

log = structlog.get_logger("readyfs.fuse")


class ReplacedFileError(Exception):
    """The inode is open on another raw file than the one that stands at its place now."""


class BackingPort(Protocol):
    """What the kernel offers."""

    def open_backing(self, fd: int) -> int:
        """Register an open raw file; return its id. Raises `OSError`."""
        ...

    def close_backing(self, backing_id: int) -> None:
        """Let go of a registration."""
        ...


@dataclass(slots=True)
class _Backing:
    """One inode's registration; an id of None means that the kernel refused and the daemon reads for it.

    `raw_file` is the device and inode number of the raw file; while it is registered, no other file has them.
    """

    backing_id: int | None
    raw_file: tuple[int, int]
    opens: int = 0


class BackingFiles:
    """Registrations by inode number; used by workers, under one lock."""

    def __init__(self, port: BackingPort) -> None:
        self._port = port
        self._lock = threading.Lock()
        self._open: dict[int, _Backing] = {}
        self._closed: list[int] = []
        self._refused: Counter[str] = Counter()

    @property
    def refused(self) -> Counter[str]:
        """How often the kernel refused a file, by errno name."""
        return self._refused.copy()

    def open(self, inode: int, fd: int) -> int | None:
        """Count one open of an inode; return its backing id, or None if the daemon must read for it.

        `fd` is the raw file. Raises `ReplacedFileError` if the kernel reads another one for those who have it open.
        """
        stat = os.fstat(fd)
        raw_file = (stat.st_dev, stat.st_ino)
        with self._lock:
            backing = self._open.get(inode)
            if backing is None:
                backing = self._open[inode] = _Backing(self._register(fd), raw_file)
            elif backing.backing_id is not None and backing.raw_file != raw_file:
                raise ReplacedFileError
            backing.opens += 1
        return backing.backing_id

    def close(self, inode: int) -> None:
        """Count one close of an inode; one that `open` never counted is not ours."""
        with self._lock:
            backing = self._open.get(inode)
            if backing is None:
                return  # opened through the daemon for another reason: a file without a raw file
            backing.opens -= 1
            if backing.opens:
                return
            del self._open[inode]
            if backing.backing_id is not None:
                self._closed.append(backing.backing_id)

    def let_go(self) -> None:
        """Let go of what is no longer open; may block, because that can close the raw file."""
        with self._lock:
            closed, self._closed = self._closed, []
        for backing_id in closed:
            try:
                self._port.close_backing(backing_id)
            except OSError as error:
                log.error("the kernel kept a registered raw file", error=error.strerror)

    def _register(self, fd: int) -> int | None:
        try:
            return self._port.open_backing(fd)
        except OSError as error:
            name = errno.errorcode.get(error.errno or 0, str(error.errno))
            if name not in self._refused:
                log.warning("the kernel refuses passthrough for a raw file, reading it ourselves", error=error.strerror)
            self._refused[name] += 1
            return None
