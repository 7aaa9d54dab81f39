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

from readyfs.fuse.errno_table import errno_of

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


class Registrations(Protocol):
    """The files that are open by passthrough, by inode; may be used on any thread.

    Errors are errno numbers; 0 is none.
    """

    def open_backing(self, inode: int, fd: int) -> tuple[int, int]:
        """Count an open of an inode; return why the kernel refuses it now, and the id.

        An id of 0 says that the kernel has refused this file, and the daemon reads it while it is open. Where another
        raw file is open under the inode the error is EEXIST, and nothing is counted.
        """
        ...

    def close_backing(self, inode: int) -> None:
        """Count one close of an inode; one that was never counted is not ours."""
        ...

    def let_go(self) -> int:
        """Let go of what is no longer open; may block, because that can close the raw file. Return what failed last."""
        ...


@dataclass(slots=True)
class _Backing:
    """One inode's registration. `raw_file` is the raw file's device and inode number.

    While it is registered, no other file has them.
    """

    backing_id: int
    raw_file: tuple[int, int]
    opens: int = 0


class OwnRegistrations:
    """Registrations that are kept here, under one lock: where no compiled loop opens files, too."""

    def __init__(self, port: BackingPort) -> None:
        self._port = port
        self._lock = threading.Lock()
        self._open: dict[int, _Backing] = {}
        self._closed: list[int] = []

    def open_backing(self, inode: int, fd: int) -> tuple[int, int]:
        """See `Registrations`."""
        stat = os.fstat(fd)
        raw_file = (stat.st_dev, stat.st_ino)
        error = 0
        with self._lock:
            backing = self._open.get(inode)
            if backing is None:
                error, backing_id = self._register(fd)
                backing = self._open[inode] = _Backing(backing_id, raw_file)
            elif backing.backing_id and backing.raw_file != raw_file:
                return errno.EEXIST, 0
            backing.opens += 1
        return error, backing.backing_id

    def close_backing(self, inode: int) -> None:
        """See `Registrations`."""
        with self._lock:
            backing = self._open.get(inode)
            if backing is None:
                return
            backing.opens -= 1
            if backing.opens:
                return
            del self._open[inode]
            if backing.backing_id:
                self._closed.append(backing.backing_id)

    def let_go(self) -> int:
        """See `Registrations`."""
        with self._lock:
            closed, self._closed = self._closed, []
        failed = 0
        for backing_id in closed:
            try:
                self._port.close_backing(backing_id)
            except OSError as error:
                failed = errno_of(error)
        return failed

    def _register(self, fd: int) -> tuple[int, int]:
        try:
            return 0, self._port.open_backing(fd)
        except OSError as error:
            return errno_of(error), 0


class BackingFiles:
    """What opens ask for: a file's registration, or that the daemon reads it. Counts and tells what is refused."""

    def __init__(self, registrations: Registrations) -> None:
        self._registrations = registrations
        self._lock = threading.Lock()
        self._refused: Counter[str] = Counter()

    def share(self, registrations: Registrations) -> None:
        """Use the registrations of a loop that opens files, too; before the first is opened."""
        self._registrations = registrations

    @property
    def refused(self) -> Counter[str]:
        """How often the kernel refused a file, by errno name."""
        return self._refused.copy()

    def open(self, inode: int, fd: int) -> int | None:
        """Count one open of an inode; return its backing id, or None if the daemon must read for it.

        `fd` is the raw file. Raises `ReplacedFileError` if the kernel reads another one for those who have it open.
        """
        error, backing_id = self._registrations.open_backing(inode, fd)
        if error == errno.EEXIST:
            raise ReplacedFileError
        if error:
            self._note_refusal(error)
        return backing_id or None

    def close(self, inode: int) -> None:
        """Count one close of an inode; one that `open` never counted is not ours."""
        self._registrations.close_backing(inode)

    def let_go(self) -> None:
        """Let go of what is no longer open; may block, because that can close the raw file."""
        error = self._registrations.let_go()
        if error:
            log.error("the kernel kept a registered raw file", error=os.strerror(error))

    def _note_refusal(self, error: int) -> None:
        name = errno.errorcode.get(error, str(error))
        with self._lock:
            is_first = name not in self._refused
            self._refused[name] += 1
        if is_first:
            log.warning("the kernel refuses passthrough for a raw file, reading it ourselves", error=os.strerror(error))
