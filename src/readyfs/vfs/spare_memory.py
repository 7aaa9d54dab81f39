"""Memory that was freed and that the C library keeps: handed back to the system once much was forgotten.

glibc returns what lies at the end of its heap by itself, and what lies between only when asked (malloc_trim(3)). That
takes milliseconds in which others wait for memory, so it is done when the kernel has come to rest, on a thread of its
own.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from typing import Final

import structlog

MUCH: Final = 50_000
"""So many nodes must have been forgotten for it to be worth while: some megabytes."""
QUIET_S: Final = 1.0

log = structlog.get_logger("readyfs.inodes")


def trim_heap() -> None:
    """Hand free memory back to the system, where the C library offers it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class SpareMemory:
    """Counts what was forgotten, and trims the heap when it was much and no more comes. Used on any thread."""

    def __init__(self, trim: Callable[[], None] = trim_heap, quiet_s: float = QUIET_S) -> None:
        self._trim = trim
        self._quiet_s = quiet_s
        self._lock = threading.Lock()
        self._forgotten = 0
        self._has_thread = False

    def note(self, nodes: int) -> None:
        """Note that so many nodes were forgotten."""
        with self._lock:
            self._forgotten += nodes
            if self._has_thread or self._forgotten < MUCH:
                return
            self._has_thread = True
        try:
            threading.Thread(target=self._trim_at_rest, name="readyfs-trim", daemon=True).start()
        except RuntimeError as error:
            log.debug("no thread can be started to hand memory back", error=str(error))
            with self._lock:
                self._has_thread, self._forgotten = False, 0

    def _trim_at_rest(self) -> None:
        seen = -1
        while True:
            with self._lock:
                if seen == self._forgotten:
                    self._has_thread, self._forgotten = False, 0
                    break
                seen = self._forgotten
            time.sleep(self._quiet_s)
        self._trim()
