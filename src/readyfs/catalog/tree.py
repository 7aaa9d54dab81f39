"""The tree over the series: branches whose names come from the layout, and the directories that hold dates.

Every directory is immutable and hashed by content, so two catalogs share whatever did not change. `changed_ns` is
the directory's mtime (V9); it is not part of the content.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from heapq import merge
from typing import Final, TypeAlias

from readyfs.catalog.series import Series
from readyfs.layout import MountLayout
from readyfs.partition import Partition, SeriesKey


class Ambiguous(Enum):
    """What a date means that two ready rows claim (V13)."""

    AMBIGUOUS = "ambiguous"


AMBIGUOUS: Final = Ambiguous.AMBIGUOUS
Meaning: TypeAlias = Partition | Ambiguous
Path: TypeAlias = tuple[bytes, ...]


@dataclass(frozen=True, eq=False)
class DateDirectory:
    """A directory whose entries are dates. More than one series only where the layout hides the source."""

    series: tuple[Series, ...]
    digest: bytes
    changed_ns: int
    newest_ns: int

    @cached_property
    def ambiguous(self) -> frozenset[int]:
        """The dates that more than one ready row claims."""
        claimed = {date for series in self.series for date in series.ambiguous}
        if len(self.series) > 1:
            seen: set[int] = set()
            for series in self.series:
                claimed.update(seen.intersection(series.dates))
                seen.update(series.dates)
        return frozenset(claimed)

    @property
    def partitions(self) -> int:
        """How many dates are ready."""
        total = sum(len(series) for series in self.series)
        if self.ambiguous:
            total -= sum(1 for series in self.series for date in series.dates if date in self.ambiguous)
        return total

    def dates(self) -> tuple[int, ...]:
        """Return every visible date in order, ambiguous ones included."""
        if len(self.series) == 1 and not self.ambiguous:
            return tuple(self.series[0].dates)
        return tuple(sorted({*self.ambiguous, *merge(*(series.dates for series in self.series))}))

    def find(self, date: int) -> Meaning | None:
        """Return what a date stands for, or None if it is not ready."""
        if date in self.ambiguous:
            return AMBIGUOUS
        for series in self.series:
            partition = series.find(date)
            if partition is not None:
                return partition
        return None

    def meanings(self) -> Iterator[tuple[int, Meaning]]:
        """Yield each visible date with what it stands for; in order only within one series."""
        for series in self.series:
            for index, date in enumerate(series.dates):
                if date not in self.ambiguous:
                    yield date, series.at(index)
        for date in self.ambiguous:
            yield date, AMBIGUOUS


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """A directory of directories; `children` is sorted by name."""

    children: Mapping[bytes, Branch | DateDirectory]
    digest: bytes
    changed_ns: int
    newest_ns: int


Directory: TypeAlias = Branch | DateDirectory


@dataclass(frozen=True, slots=True, eq=False)
class Catalog:
    """The ready partitions as of one transaction of the state store.

    `fingerprint` is hex and the same on every machine with the same state and layouts. `stamp_ns` is later than
    every directory time given out so far, whatever the clock does.
    """

    root: Directory
    layout: MountLayout
    fingerprint: str
    partitions: int
    stamp_ns: int
    by_key: Mapping[SeriesKey, Series]

    def directory(self, path: Path) -> Directory | None:
        """Return the directory at a path of names, or None if nothing ready lies below it."""
        node: Directory = self.root
        for name in path:
            if isinstance(node, DateDirectory):
                return None
            child = node.children.get(name)
            if child is None:
                return None
            node = child
        return node

    def partition(self, path: Path, date: int) -> Meaning | None:
        """Return what a date below a path stands for."""
        directory = self.directory(path)
        return directory.find(date) if isinstance(directory, DateDirectory) else None

    def ambiguities(self) -> Iterator[tuple[Path, int, tuple[SeriesKey, ...]]]:
        """Yield each ambiguous path with the series whose rows claim it."""

        def walk(path: Path, node: Directory) -> Iterator[tuple[Path, int, tuple[SeriesKey, ...]]]:
            if isinstance(node, Branch):
                for name, child in node.children.items():
                    yield from walk((*path, name), child)
                return
            for date in sorted(node.ambiguous):
                claims = [s.key for s in node.series if date in s.ambiguous or s.find(date) is not None]
                yield path, date, tuple(claims)

        return walk((), self.root)
