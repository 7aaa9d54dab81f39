"""Passthrough: raw files registered with the kernel, which then reads and maps them without us.

All opens of an inode must use one registration, and an inode is open either this way or through us, never both
(fs/fuse/iomode.c answers EIO). So it is decided once for an inode and stands while it is open. A registration that is
no longer open is kept for a while for the next open of the same raw file; one that is open is never let go.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from readyfs.partition import RunKey

log = structlog.get_logger("readyfs.fuse")

MAX_IDLE: Final = 1024
IDLE_S: Final = 5.0
"""A registration keeps its raw file open, and so its filesystem busy: not for long after the last close."""


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
    run: RunKey
    opens: int = 0
    idle_since: float = 0.0


class BackingFiles:
    """Registrations by inode number; used by workers, under one lock."""

    def __init__(self, port: BackingPort, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._port = port
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._open: dict[int, _Backing] = {}
        self._idle: OrderedDict[int, _Backing] = OrderedDict()
        self._doomed: list[_Backing] = []
        self._refused: Counter[str] = Counter()

    @property
    def refused(self) -> Counter[str]:
        """How often the kernel refused a file, by errno name."""
        return self._refused.copy()

    def open(self, inode: int, fd: int, run: RunKey) -> int | None:
        """Count one open of an inode; return its backing id, or None if the daemon must read for it.

        `fd` is the raw file, of that run. Raises `ReplacedFileError` if the kernel reads another one for those who have
        it open.
        """
        stat = os.fstat(fd)
        raw_file = (stat.st_dev, stat.st_ino)
        replaced = None
        with self._lock:
            backing = self._open.get(inode)
            if backing is not None and backing.backing_id is not None and backing.raw_file != raw_file:
                raise ReplacedFileError
            if backing is None:
                idle = self._idle.pop(inode, None)
                is_same = idle is not None and idle.raw_file == raw_file
                replaced = None if is_same else idle
                backing = idle if idle is not None and is_same else _Backing(self._register(fd), raw_file, run)
                self._open[inode] = backing
            backing.opens += 1
        if replaced is not None:
            self._let_go(replaced)
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
            if backing.backing_id is None:
                return
            backing.idle_since = self._monotonic()
            self._idle[inode] = backing

    def let_go(self, runs: Collection[RunKey]) -> bool:
        """Have the next `expire_idle` let go of what nobody has open of some runs; return whether there is any."""
        with self._lock:
            doomed = [inode for inode, backing in self._idle.items() if backing.run in runs]
            self._doomed.extend(self._idle.pop(inode) for inode in doomed)
        return bool(doomed)

    def expire_idle(self) -> None:
        """Let go of what nobody has opened for a while, of what is too much, and of what `let_go` named; may block."""
        limit = self._monotonic() - IDLE_S
        with self._lock:
            expired, self._doomed = self._doomed, []
            while self._idle and (len(self._idle) > MAX_IDLE or next(iter(self._idle.values())).idle_since <= limit):
                expired.append(self._idle.popitem(last=False)[1])
        for backing in expired:
            self._let_go(backing)

    def _register(self, fd: int) -> int | None:
        try:
            return self._port.open_backing(fd)
        except OSError as error:
            name = errno.errorcode.get(error.errno or 0, str(error.errno))
            if name not in self._refused:
                log.warning("the kernel refuses passthrough for a raw file, reading it ourselves", error=error.strerror)
            self._refused[name] += 1
            return None

    def _let_go(self, backing: _Backing) -> None:
        # Never under the lock: closing a raw file can make us wait for a store that hangs.
        assert backing.backing_id is not None
        try:
            self._port.close_backing(backing.backing_id)
        except OSError as error:
            log.error("the kernel kept a registered raw file", error=error.strerror)
