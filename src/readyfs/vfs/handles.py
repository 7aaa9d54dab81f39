"""Handles: open files and directories.

A file handle keeps its raw file open, which pins its run for as long as the reader likes (V5). A directory handle
keeps the listing of its latest passes frozen, so that one pass shows one catalog (V7). Written by request handlers
on any thread, under one lock.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from itertools import count
from typing import Final, NewType, TypeAlias, TypeVar

from readyfs.errors import StaleHandleError, TooManyHandlesError
from readyfs.raw.store import RawFile
from readyfs.vfs.listing import Listing
from readyfs.vfs.nodes import Node, RawNode

HandleNumber = NewType("HandleNumber", int)
PASSES_KEPT: Final = 4


@dataclass(slots=True)
class RawFileHandle:
    """An open file of a sealed run; `failed` once a read of it has failed."""

    node: RawNode
    file: RawFile
    failed: bool = False


@dataclass(frozen=True, slots=True)
class MemoryFileHandle:
    """An open control file: its bytes as they were when it was opened."""

    node: Node
    data: bytes


@dataclass(frozen=True, slots=True)
class DirectoryHandle:
    """An open directory; `passes` maps a revision to the listing frozen for the pass that began in it."""

    node: Node
    passes: dict[int, Listing] = field(default_factory=dict)

    def freeze(self, listing: Listing) -> None:
        """Begin a pass; the oldest ones are dropped."""
        self.passes.pop(listing.revision, None)
        self.passes[listing.revision] = listing
        while len(self.passes) > PASSES_KEPT:
            del self.passes[next(iter(self.passes))]


Handle: TypeAlias = RawFileHandle | MemoryFileHandle | DirectoryHandle
H = TypeVar("H", bound=Handle)


class HandleTable:
    """Handles by number; file handles are limited so that the daemon keeps descriptors for itself."""

    def __init__(self, max_files: int) -> None:
        self._lock = threading.Lock()
        self._numbers = count(1)
        self._handles: dict[HandleNumber, Handle] = {}
        self._files = 0
        self._max_files = max_files

    def __len__(self) -> int:
        return len(self._handles)

    def add(self, handle: Handle) -> HandleNumber:
        """Register an open handle; raise `TooManyHandlesError` if the table of files is full."""
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
