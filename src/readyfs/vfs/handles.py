"""Handles: open files.

A handle keeps its raw file open, which pins its run for as long as the reader likes (V5). Directories need none: a
position in a listing says for itself where it belongs. Written by request handlers on any thread, under one lock.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from itertools import count
from typing import NewType, TypeAlias, TypeVar

from readyfs.errors import StaleHandleError, TooManyHandlesError
from readyfs.raw.store import RawFile
from readyfs.vfs.nodes import ControlNode, RawNode

HandleNumber = NewType("HandleNumber", int)


@dataclass(slots=True)
class RawFileHandle:
    """An open file of a sealed run; `failed` once a read of it has failed."""

    node: RawNode
    file: RawFile
    failed: bool = False


@dataclass(frozen=True, slots=True)
class MemoryFileHandle:
    """An open control file."""

    node: ControlNode


@dataclass(frozen=True, slots=True)
class KernelFileHandle:
    """An open raw file that the kernel reads by itself: it needs no descriptor of ours, and is counted as open."""


Handle: TypeAlias = RawFileHandle | MemoryFileHandle | KernelFileHandle
H = TypeVar("H", bound=Handle)


class HandleTable:
    """Handles by number; raw files are limited so that the daemon keeps descriptors for itself."""

    def __init__(self, max_files: int) -> None:
        self._lock = threading.Lock()
        self._numbers = count(1)
        self._handles: dict[HandleNumber, Handle] = {}
        self._files = 0
        self._max_files = max_files

    def __len__(self) -> int:
        return len(self._handles)

    def add(self, handle: Handle) -> HandleNumber:
        """Register an open handle; raise `TooManyHandlesError` if too many raw files are open."""
        with self._lock:
            if isinstance(handle, RawFileHandle):
                if self._files >= self._max_files:
                    raise TooManyHandlesError(f"{self._files} files are open, as many as the descriptor limit allows")
                self._files += 1
            number = HandleNumber(next(self._numbers))
            self._handles[number] = handle
        return number

    def get(self, number: HandleNumber, kind: type[H]) -> H:
        """Return a handle; raise `StaleHandleError` if there is none of this kind."""
        handle = self._handles.get(number)
        if not isinstance(handle, kind):
            raise StaleHandleError(f"handle {number} is not open")
        return handle

    def hand_to_kernel(self, number: HandleNumber) -> None:
        """Close the raw file of a handle that the kernel reads by itself from now on; the handle stays."""
        with self._lock:
            handle = self._handles.get(number)
            if not isinstance(handle, RawFileHandle):
                return  # released meanwhile
            self._handles[number] = KernelFileHandle()
            self._files -= 1
        handle.file.close()

    def peek(self, number: HandleNumber) -> Handle | None:
        """Return a handle of any kind if it is open."""
        return self._handles.get(number)

    def remove(self, number: HandleNumber) -> None:
        """Release a handle and close its file; releasing the unknown is harmless."""
        with self._lock:
            handle = self._handles.pop(number, None)
            if isinstance(handle, RawFileHandle):
                self._files -= 1
        if isinstance(handle, RawFileHandle):
            handle.file.close()
