"""Handles: open files.

A handle keeps its raw file open, which pins its run for as long as the reader likes (V5). Directories need none: a
position in a listing says for itself where it belongs. Written by request handlers on any thread, under one lock.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from itertools import count
from typing import Final, NewType, Protocol, TypeAlias, TypeVar

from readyfs.errors import StaleHandleError, TooManyHandlesError
from readyfs.manifest.manifest import Manifest
from readyfs.raw.store import RawFile
from readyfs.vfs.nodes import ControlNode, ManifestNode, RawNode

MAX_CATALOGS: Final = 64
MAX_MANIFESTS: Final = 1024
"""So many manifests may be open at once, of so many catalogs: an open one keeps its catalog in memory."""

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


@dataclass(frozen=True, slots=True)
class ManifestHandle:
    """An open manifest, which holds its catalog."""

    node: ManifestNode
    manifest: Manifest


Handle: TypeAlias = RawFileHandle | MemoryFileHandle | KernelFileHandle | ManifestHandle
H = TypeVar("H", bound=Handle)


class Elsewhere(Protocol):
    """Where an engine keeps open raw files that it reads without us; it may be asked on any thread."""

    def open_files(self) -> int:
        """Return how many there are."""
        ...

    def open_handles(self) -> int:
        """The same with those that need no descriptor, because the kernel reads them by itself."""
        ...

    def set_other_files(self, files: int) -> None:
        """Take notice of how many are open here: both share one limit."""
        ...

    def take(self, number: HandleNumber) -> RawFileHandle | None:
        """Hand over a file; None if there is none of this number."""
        ...


class HandleTable:
    """Handles by number; raw files are limited so that the daemon keeps descriptors for itself, manifests for memory.

    One that an engine keeps `elsewhere` moves here, under its number, when anybody asks for it.
    """

    def __init__(self, max_files: int) -> None:
        self._lock = threading.Lock()
        self._numbers = count(1)
        self._handles: dict[HandleNumber, Handle] = {}
        self._files = 0
        self._manifests: Counter[str] = Counter()
        self.max_files = max_files
        self._elsewhere: Elsewhere | None = None

    def __len__(self) -> int:
        return len(self._handles) + (self._elsewhere.open_handles() if self._elsewhere is not None else 0)

    def share(self, elsewhere: Elsewhere) -> None:
        """Share numbers and limit with an engine that opens files, too; before the first is opened."""
        self._elsewhere = elsewhere

    def add(self, handle: Handle) -> HandleNumber:
        """Register an open handle; raise `TooManyHandlesError` if too many raw files or manifests are open."""
        with self._lock:
            if isinstance(handle, ManifestHandle):
                self._count_manifest(handle.node.fingerprint)
            if isinstance(handle, RawFileHandle):
                files = self._files + self._files_elsewhere()
                if files >= self.max_files:
                    raise TooManyHandlesError(f"{files} files are open, as many as the descriptor limit allows")
                self._count_files(1)
            number = HandleNumber(next(self._numbers))
            self._handles[number] = handle
        return number

    def get(self, number: HandleNumber, kind: type[H]) -> H:
        """Return a handle; raise `StaleHandleError` if there is none of this kind."""
        handle = self.peek(number)
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
            self._count_files(-1)
        handle.file.close()

    def peek(self, number: HandleNumber) -> Handle | None:
        """Return a handle of any kind if it is open."""
        handle = self._handles.get(number)
        if handle is not None or self._elsewhere is None:
            return handle
        with self._lock:
            handle = self._handles.get(number)
            if handle is None and (moved := self._elsewhere.take(number)) is not None:
                handle = self._handles[number] = moved
                self._count_files(1)
        return handle

    def remove(self, number: HandleNumber) -> None:
        """Release a handle and close its file; releasing the unknown is harmless."""
        self.peek(number)
        with self._lock:
            handle = self._handles.pop(number, None)
            if isinstance(handle, RawFileHandle):
                self._count_files(-1)
            if isinstance(handle, ManifestHandle):
                self._manifests -= Counter((handle.node.fingerprint,))
        if isinstance(handle, RawFileHandle):
            handle.file.close()

    def _count_manifest(self, fingerprint: str) -> None:
        """Count one more manifest of a catalog, which it keeps in memory, whatever becomes of that."""
        if len(self._manifests) >= MAX_CATALOGS and fingerprint not in self._manifests:
            raise TooManyHandlesError(f"manifests of {MAX_CATALOGS} catalogs are open")
        if self._manifests.total() >= MAX_MANIFESTS:
            raise TooManyHandlesError(f"{MAX_MANIFESTS} manifests are open")
        self._manifests[fingerprint] += 1

    def _files_elsewhere(self) -> int:
        return self._elsewhere.open_files() if self._elsewhere is not None else 0

    def _count_files(self, change: int) -> None:
        self._files += change
        if self._elsewhere is not None:
            self._elsewhere.set_other_files(self._files)
