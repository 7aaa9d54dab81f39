"""Pushing: the bytes of a small file go into the kernel's page cache while it is opened, before anybody asks for them.

FUSE_NOTIFY_STORE waits as long as a page of the same file is being read, and that read may be one that the same thread
has to receive. Therefore only the first open of an inode pushes: until it is answered nobody can read. If two come at
once, both push before either is answered. What is left of the danger (a push that failed, while another is under way)
the watch of `workers` meets as it meets a raw store that hangs: the thread is relieved of its seat.
"""

from __future__ import annotations

import errno
import threading
from typing import Final, Protocol

import structlog

from readyfs.metrics.push_counts import PushCounts
from readyfs.vfs.inode_number import InodeNumber

log = structlog.get_logger("readyfs.fuse")

PUSHED_BELOW_BYTES: Final = 64 * 1024
"""From this size on files are read in parts, and not always whole."""
_GONE: Final = frozenset({errno.ENODEV, errno.ECONNABORTED})


class PagesPort(Protocol):
    """What the kernel offers."""

    def push(self, inode: InodeNumber, data: bytes) -> None:
        """FUSE_NOTIFY_STORE of a whole file. Raises `OSError`."""
        ...


class PageCache:
    """The kernel's pages of the files of one mount; may be used by any thread."""

    def __init__(self, port: PagesPort) -> None:
        self._port = port
        self._lock = threading.Lock()
        self._counts = PushCounts()

    @property
    def counts(self) -> PushCounts:
        """What was pushed here so far."""
        with self._lock:
            return PushCounts(self._counts.files, self._counts.data_bytes, self._counts.refused.copy())

    def push(self, inode: InodeNumber, data: bytes) -> None:
        """Have the kernel keep a whole file. What it refuses it asks for when somebody reads."""
        try:
            self._port.push(inode, data)
        except OSError as error:
            if error.errno not in _GONE:
                self._note_refused(error)
            return
        with self._lock:
            self._counts.files += 1
            self._counts.data_bytes += len(data)

    def _note_refused(self, error: OSError) -> None:
        name = errno.errorcode.get(error.errno or 0, str(error.errno))
        with self._lock:
            is_new = name not in self._counts.refused
            self._counts.refused[name] += 1
        if is_new:
            log.warning(
                "the kernel refuses the bytes of a file with its open, and will ask for them", error=error.strerror
            )
