"""Catalogs that were replaced a moment ago, for the readers who are in the middle of a listing of one (V7).

Written by whoever publishes, read by request handlers on any thread: the tuple is replaced whole, in one assignment.
Only the trees are kept, and they share with the catalog in force whatever did not change.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from readyfs.catalog.tree import NOTHING, Catalog, Directory, Path, Tree

KEPT_S: Final = 60.0
KEPT: Final = 64
"""How many are kept at most, however quickly they follow each other."""


class Replaced(NamedTuple):
    """The tree of a catalog, and the moment in seconds at which another took its place."""

    tree: Tree
    at_s: float


class CatalogHistory:
    """The catalogs of the last minute, the newest first."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._replaced: tuple[Replaced, ...] = ()

    def __len__(self) -> int:
        return len(self._replaced)

    def add(self, catalog: Catalog) -> None:
        """Keep a catalog that is about to be replaced."""
        with self._lock:
            self._replaced = (Replaced(catalog.tree, self._monotonic()), *self._young())[:KEPT]

    def expire(self) -> None:
        """Let go of catalogs that were replaced too long ago."""
        with self._lock:
            self._replaced = self._young()

    def find(self, path: Path, stamp: int) -> Directory | None:
        """Return the newest kept directory at a path whose names have this stamp, or None.

        A catalog that has no such directory counts as one in which it is empty.
        """
        for replaced in self._young():
            directory = replaced.tree.directory(path) or NOTHING
            if directory.stamp == stamp:
                return directory
        return None

    def _young(self) -> tuple[Replaced, ...]:
        oldest_s = self._monotonic() - KEPT_S
        return tuple(one for one in self._replaced if one.at_s > oldest_s)
