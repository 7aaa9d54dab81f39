"""The tree over the series: branches whose names come from the layout, and the directories that hold dates.

Every directory is immutable and hashed by content, so two catalogs share whatever did not change, and with it what is
cached on a directory. `changed_ns` is the directory's mtime (V9); it is not part of the content. `stamp` stands for
the ordered names alone: a run that switches or a row that is touched leaves it as it was.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Final, TypeAlias

from readyfs.catalog.series import Series
from readyfs.catalog.stamp import stamp_of
from readyfs.layout import MountLayout
from readyfs.partition import NOT_SET, Partition, SeriesKey


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

    @cached_property
    def partitions(self) -> int:
        """How many dates are ready."""
        total = sum(len(series) for series in self.series)
        if self.ambiguous:
            total -= sum(1 for series in self.series for date in series.dates if date in self.ambiguous)
        return total

    @property
    def dates(self) -> array[int]:
        """Every visible date in order, ambiguous ones included; not kept, so that a kept catalog costs what differs."""
        if len(self.series) == 1 and not self.ambiguous:
            return self.series[0].dates
        return array("i", sorted(self.ambiguous.union(*(series.dates for series in self.series))))

    @cached_property
    def stamp(self) -> int:
        """What stands for the dates in a position of a listing."""
        return stamp_of(self.dates.tobytes())

    def meanings_from(self, index: int) -> Iterator[tuple[int, Meaning]]:
        """Yield each visible date in order with what it stands for, from a position on."""
        if len(self.series) == 1 and not self.ambiguous:
            (series,) = self.series
            yield from series.meanings_from(index)
            return
        for date in self.dates[index:]:
            meaning = self.find(date)
            assert meaning is not None
            yield date, meaning

    def find(self, date: int) -> Meaning | None:
        """Return what a date stands for, or None if it is not ready."""
        if date in self.ambiguous:
            return AMBIGUOUS
        for series in self.series:
            partition = series.find(date)
            if partition is not None:
                return partition
        return None

    def claims(self) -> Iterator[tuple[int, tuple[SeriesKey, ...]]]:
        """Yield each ambiguous date with the series whose rows claim it."""
        for date in sorted(self.ambiguous):
            yield date, tuple(s.key for s in self.series if date in s.ambiguous or s.find(date) is not None)

    def meanings(self) -> Iterator[tuple[int, Meaning]]:
        """Yield each visible date with what it stands for; in order only within one series."""
        for series in self.series:
            for date, partition in series.meanings_from(0):
                if date not in self.ambiguous:
                    yield date, partition
        for date in self.ambiguous:
            yield date, AMBIGUOUS


@dataclass(frozen=True, eq=False)
class Branch:
    """A directory of directories; `children` is sorted by name."""

    children: Mapping[bytes, Branch | DateDirectory]
    digest: bytes
    changed_ns: int
    newest_ns: int
    partitions: int

    @cached_property
    def names(self) -> tuple[bytes, ...]:
        """The names of the children, in order."""
        return tuple(self.children)

    @cached_property
    def stamp(self) -> int:
        """What stands for the names in a position of a listing."""
        return stamp_of(b"/".join(self.names))


Directory: TypeAlias = Branch | DateDirectory
NOTHING: Final = Branch({}, b"", NOT_SET, NOT_SET, 0)
"""Stands for a directory below which nothing is ready, and that somebody may hold all the same (V6)."""


def find_directory(root: Directory, path: Path) -> Directory | None:
    """Return the directory at a path of names below a root, or None if nothing ready lies below it."""
    node = root
    for name in path:
        if isinstance(node, DateDirectory):
            return None
        child = node.children.get(name)
        if child is None:
            return None
        node = child
    return node


def find_ambiguous(root: Directory, path: Path = ()) -> Iterator[tuple[Path, DateDirectory]]:
    """Yield each directory below a root in which a path is ambiguous."""
    if isinstance(root, Branch):
        for name, child in root.children.items():
            yield from find_ambiguous(child, (*path, name))
    elif root.ambiguous:
        yield path, root


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
        return find_directory(self.root, path)

    def partition(self, path: Path, date: int) -> Meaning | None:
        """Return what a date below a path stands for."""
        directory = self.directory(path)
        return directory.find(date) if isinstance(directory, DateDirectory) else None
