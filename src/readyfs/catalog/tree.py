"""The tree over the series: branches whose names come from the layout, and the directories that hold partitions.

Where the whole date is the last component, a directory of partitions is the dates of a series. In any other layout it
is kept as its names alone: a name is read back with the path above it, and the series are looked for by what that tells
of them. Every directory is immutable, so two catalogs share whatever did not change, and with it what is cached on a
directory. `changed_ns` is the directory's mtime (V9); it is not part of the content. `stamp` stands for the ordered
names alone: a run that switches or a row that is touched leaves it as it was.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from itertools import islice
from typing import Final, NamedTuple, TypeAlias

from readyfs.catalog.series import Series
from readyfs.catalog.stamp import stamp_of
from readyfs.layout import MountLayout
from readyfs.partition import NOT_SET, Partition, PartitionKey, SeriesKey


class Ambiguous(Enum):
    """What a path means that two ready rows claim (V13)."""

    AMBIGUOUS = "ambiguous"


AMBIGUOUS: Final = Ambiguous.AMBIGUOUS
Meaning: TypeAlias = Partition | Ambiguous
Path: TypeAlias = tuple[bytes, ...]


class PartitionEntry(NamedTuple):
    """A name in a directory of partitions, its date, and what it stands for."""

    name: bytes
    date: int
    meaning: Meaning


@dataclass(frozen=True, eq=False)
class SeriesGroup:
    """The series whose partitions have the same paths: more than one only where the layout hides the source."""

    series: tuple[Series, ...]
    digest: bytes
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

    def find(self, date: int) -> Meaning | None:
        """Return what a date stands for, or None if it is not ready."""
        if date in self.ambiguous:
            return AMBIGUOUS
        for series in self.series:
            partition = series.find(date)
            if partition is not None:
                return partition
        return None

    def newest_at(self, date: int) -> int:
        """Return the newest `updated_at` of the rows of a date, in nanoseconds, `NOT_SET` if there is none."""
        return max((row.updated_at_ns for row in self.rows_at(date)), default=NOT_SET)

    def rows_at(self, date: int) -> list[Partition]:
        """Return the rows of a date, without those of one series that claim it together."""
        rows = (series.find(date) for series in self.series)
        return [row for row in rows if row is not None]

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
class DateDirectory(SeriesGroup):
    """A directory whose entries are the dates of a group."""

    changed_ns: int
    layout: MountLayout

    @cached_property
    def stamp(self) -> int:
        """What stands for the names in a position of a listing."""
        return stamp_of(self.dates.tobytes())

    def names(self) -> Iterable[bytes]:
        """Return the names of the entries, in order."""
        return map(self.layout.date_name, self.dates)

    def entry(self, name: bytes) -> PartitionEntry | None:
        """Return what a name stands for, or None if there is no such entry."""
        date = self.layout.parse_date_name(name)
        meaning = self.find(date) if date is not None else None
        return None if date is None or meaning is None else PartitionEntry(name, date, meaning)

    def entries_from(self, index: int) -> Iterator[PartitionEntry]:
        """Yield each entry in order, from a position on."""
        name_of = self.layout.date_name
        if len(self.series) == 1 and not self.ambiguous:
            (series,) = self.series
            for date, partition in series.meanings_from(index):
                yield PartitionEntry(name_of(date), date, partition)
            return
        for date in self.dates[index:]:
            meaning = self.find(date)
            assert meaning is not None
            yield PartitionEntry(name_of(date), date, meaning)

    def index_of(self, partition: PartitionKey) -> int:
        """Return the position of a partition's entry, or the one where it would be."""
        return bisect_left(self.dates, partition.date)


@dataclass(frozen=True, eq=False)
class Names:
    """The names of a directory of partitions, in order; directories with the same names share one such object."""

    names: Path

    @cached_property
    def stamp(self) -> int:
        """What stands for them in a position of a listing."""
        return stamp_of(b"/".join(self.names))


@dataclass(frozen=True, slots=True)
class PartitionNames:
    """A directory of partitions that are not the dates of a series, as it is kept: what they are, their names tell."""

    names: Names
    changed_ns: int
    newest_ns: int
    partitions: int

    @property
    def digest(self) -> bytes:
        """Nothing: the content is hashed without the tree."""
        return b""


@dataclass(frozen=True, slots=True, eq=False)
class PartitionDirectory:
    """The same as it is seen: at its path, in one tree."""

    tree: Tree
    path: Path
    kept: PartitionNames

    @property
    def changed_ns(self) -> int:
        """The directory's mtime."""
        return self.kept.changed_ns

    @property
    def newest_ns(self) -> int:
        """The newest `updated_at` in it."""
        return self.kept.newest_ns

    @property
    def partitions(self) -> int:
        """How many of its entries are ready and not ambiguous."""
        return self.kept.partitions

    @property
    def stamp(self) -> int:
        """What stands for the names in a position of a listing."""
        return self.kept.names.stamp

    def names(self) -> Iterable[bytes]:
        """Return the names of the entries, in order."""
        return self.kept.names.names

    def entry(self, name: bytes) -> PartitionEntry | None:
        """Return what a name stands for, or None if there is no such entry."""
        return self.tree.read((*self.path, name))

    def entries_from(self, index: int) -> Iterator[PartitionEntry]:
        """Yield each entry in order, from a position on."""
        for name in islice(self.kept.names.names, index, None):
            found = self.entry(name)
            assert found is not None
            yield found

    def index_of(self, partition: PartitionKey) -> int:
        """Return the position of a partition's entry, or the one where it would be."""
        return bisect_left(self.kept.names.names, self.tree.layout.path_of(*partition)[-1])


@dataclass(frozen=True, eq=False)
class Branch:
    """A directory of directories; `children` is sorted by name.

    Where the directories of partitions are kept as names, `digest` is empty: the content is hashed without the tree.
    """

    children: Mapping[bytes, Node]
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


Node: TypeAlias = Branch | DateDirectory | PartitionNames
Directory: TypeAlias = Branch | DateDirectory | PartitionDirectory
NOTHING: Final = Branch({}, b"", NOT_SET, NOT_SET, 0)
"""Stands for a directory below which nothing is ready, and that somebody may hold all the same (V6)."""


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """The names of a catalog, and what they stand for.

    `groups` holds every group by its series as the layout shows it, in order, where the tree itself holds none.
    """

    root: Branch
    layout: MountLayout
    groups: Mapping[SeriesKey, SeriesGroup] = field(default_factory=dict)

    def directory(self, path: Path) -> Directory | None:
        """Return the directory at a path of names, or None if nothing ready lies below it."""
        node: Node = self.root
        for name in path:
            child = node.children.get(name) if isinstance(node, Branch) else None
            if child is None:
                return None
            node = child
        return PartitionDirectory(self, path, node) if isinstance(node, PartitionNames) else node

    def read(self, path: Path) -> PartitionEntry | None:
        """Return what a whole path stands for, by the groups; None if it is not ready."""
        found = self.layout.read(path)
        group = self.groups.get(found[0]) if found is not None else None
        meaning = group.find(found[1]) if found is not None and group is not None else None
        return None if found is None or meaning is None else PartitionEntry(path[-1], found[1], meaning)

    def meaning(self, above: Path, key: PartitionKey) -> Meaning | None:
        """Return what the path of a partition stands for; `above` leads to the directory that holds it."""
        if self.layout.has_date_last:
            directory = self.directory(above)
            return directory.find(key.date) if isinstance(directory, DateDirectory) else None
        group = self.group(key.series)
        return group.find(key.date) if group is not None else None

    def group(self, series: SeriesKey) -> SeriesGroup | None:
        """Return the group of a series, or None if nothing of it is ready."""
        if self.layout.has_date_last:
            directory = self.directory(self.layout.directory_of(series))
            return directory if isinstance(directory, DateDirectory) else None
        return self.groups.get(self.layout.shown(series))

    def series_groups(self, path: Path = ()) -> Iterator[SeriesGroup]:
        """Yield every group, in the order of the tree where it holds them: there those below a directory alone."""
        if not self.layout.has_date_last:
            assert not path
            yield from self.groups.values()
            return
        top = self.directory(path)
        pending: list[Node] = [] if top is None or isinstance(top, PartitionDirectory) else [top]
        while pending:
            node = pending.pop()
            if isinstance(node, DateDirectory):
                yield node
            elif isinstance(node, Branch):
                pending.extend(reversed([*node.children.values()]))


@dataclass(frozen=True, slots=True, eq=False)
class Catalog:
    """The ready partitions as of one transaction of the state store.

    `fingerprint` is hex and the same on every machine with the same state and layouts. `stamp_ns` is later than
    every directory time given out so far, whatever the clock does.
    """

    tree: Tree
    fingerprint: str
    partitions: int
    stamp_ns: int
    by_key: Mapping[SeriesKey, Series]

    @property
    def root(self) -> Branch:
        """The directory of the mount point itself."""
        return self.tree.root

    @property
    def layout(self) -> MountLayout:
        """How names are made."""
        return self.tree.layout

    def directory(self, path: Path) -> Directory | None:
        """Return the directory at a path of names, or None if nothing ready lies below it."""
        return self.tree.directory(path)

    def meaning(self, above: Path, key: PartitionKey) -> Meaning | None:
        """Return what the path of a partition stands for; `above` leads to the directory that holds it."""
        return self.tree.meaning(above, key)
