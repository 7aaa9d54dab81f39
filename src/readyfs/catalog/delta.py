"""What differs between two catalogs: for the log, and for what the kernel must be told to forget."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field

from readyfs.catalog.series import Series
from readyfs.catalog.tree import Branch, Catalog, DateDirectory, Meaning, Node, Path, SeriesGroup
from readyfs.layout import woven
from readyfs.partition import ChangedDates, Partition, SeriesKey


@dataclass(frozen=True, slots=True)
class DirectoryChange:
    """One directory whose entries changed.

    `names` are the entries that came, went or now mean another run; a name that came may be remembered by the
    kernel as absent. `touched` are the partitions whose attributes changed while their run did not.
    """

    path: Path
    names: tuple[bytes, ...]
    touched: tuple[Partition, ...]


@dataclass(slots=True)
class Delta:
    """All changes from one catalog to the next; the counters count partitions, except where they say directories.

    `departed` and `returned` are partitions whose run is no longer current, or is so again, as far as it is known.
    """

    directories: list[DirectoryChange] = field(default_factory=list)
    departed: list[Partition] = field(default_factory=list)
    returned: list[Partition] = field(default_factory=list)
    appeared: int = 0
    switched: int = 0
    touched: int = 0
    retracted: int = 0
    directories_appeared: int = 0
    directories_gone: int = 0

    def __bool__(self) -> bool:
        return bool(self.directories)


def compare(
    old: Catalog,
    new: Catalog,
    is_known: Callable[[Partition], bool] = lambda partition: False,
    changed: ChangedDates | None = None,
    known: Container[SeriesKey] | None = None,
) -> Delta:
    """Return what changed from `old` to `new`; both must have the same layout.

    `is_known` tells whether anything is remembered of a partition's run; it can be so only in series that are `known`.
    `changed` names the dates that may differ. For both, None stands for all.
    """
    delta = Delta()
    comparison = _Comparison(delta, new, is_known, changed, known)
    if new.layout.has_date_last:
        delta.directories.extend(_compare_directories((), old.root, new.root, comparison))
    else:
        delta.directories.extend(_compare_groups(old, new, comparison))
    return delta


@dataclass(frozen=True, slots=True)
class _Comparison:
    delta: Delta
    catalog: Catalog
    is_known: Callable[[Partition], bool]
    changed: ChangedDates | None
    known: Container[SeriesKey] | None

    def follow(self, was: Meaning | None, now: Meaning | None) -> None:
        """Note the runs that departed and returned, as far as they are known."""
        if isinstance(was, Partition) and self.is_known(was):
            self.delta.departed.append(was)
        if isinstance(now, Partition) and self.is_known(now):
            self.delta.returned.append(now)


def _compare_directories(
    path: Path, old: Node | None, new: Node | None, comparison: _Comparison
) -> Iterator[DirectoryChange]:
    if old is new or (old is not None and new is not None and old.digest == new.digest):
        return
    if old is None:
        comparison.delta.directories_appeared += 1
    elif new is None:
        comparison.delta.directories_gone += 1
    if isinstance(old, DateDirectory) or isinstance(new, DateDirectory):
        was = old if isinstance(old, DateDirectory) else None
        now = new if isinstance(new, DateDirectory) else None
        dates, touched = _compare_dates(was, now, comparison)
        if dates or touched:
            yield DirectoryChange(path, tuple(map(comparison.catalog.layout.date_name, dates)), tuple(touched))
        return
    before = old.children if isinstance(old, Branch) else {}
    after = new.children if isinstance(new, Branch) else {}
    names = tuple(sorted(before.keys() ^ after.keys()))
    if names:
        yield DirectoryChange(path, names, ())
    replaced = [name for name, child in after.items() if before.get(name) is not child]
    for name in sorted({*names, *replaced}):
        yield from _compare_directories((*path, name), before.get(name), after.get(name), comparison)


def _compare_groups(old: Catalog, new: Catalog, comparison: _Comparison) -> Iterator[DirectoryChange]:
    """Do the same where the trees are names alone: by the groups, whose changes lead to the directories."""
    before, after, layout = old.tree.groups, new.tree.groups, new.layout
    names: dict[Path, set[bytes]] = {}
    touched: dict[Path, list[Partition]] = {}
    known_dates: dict[int, Path] = {}
    for shown in before.keys() | after.keys():
        was, now = before.get(shown), after.get(shown)
        if was is now or (was is not None and now is not None and was.digest == now.digest):
            continue
        dates, rows = _compare_dates(was, now, comparison)
        own_names = layout.names_of(shown)
        for date in dates:
            if date not in known_dates:
                known_dates[date] = layout.dates_of(date)
            path = woven(own_names, known_dates[date])
            names.setdefault(path[:-1], set()).add(path[-1])
        for row in rows:
            touched.setdefault(woven(own_names, layout.dates_of(row.key.date))[:-1], []).append(row)
    # A directory that came or went is a name of the one above it.
    pending = [*names]
    while pending:
        path = pending.pop()
        was_there, is_there = old.directory(path) is not None, new.directory(path) is not None
        if was_there == is_there:
            continue
        comparison.delta.directories_appeared += is_there
        comparison.delta.directories_gone += was_there
        if path[:-1] not in names:
            names[path[:-1]] = set()
            pending.append(path[:-1])
        names[path[:-1]].add(path[-1])
    for path in sorted(names.keys() | touched.keys()):
        rows = sorted(touched.get(path, ()), key=lambda row: row.key)
        yield DirectoryChange(path, tuple(sorted(names.get(path, ()))), tuple(rows))


def _compare_dates(
    old: SeriesGroup | None, new: SeriesGroup | None, comparison: _Comparison
) -> tuple[list[int], list[Partition]]:
    """Return the dates of a group that came, went or mean another run, in order, and the rows that were touched."""
    delta = comparison.delta
    changed: list[int] = []
    touched: list[Partition] = []
    if old is not None and new is not None and _is_plain(old, new):
        changed, touched = _compare_series(old.series[0], new.series[0], comparison)
    else:
        before = dict(old.meanings()) if old is not None else {}
        after = dict(new.meanings()) if new is not None else {}
        for date in before.keys() | after.keys():
            was, now = before.get(date), after.get(date)
            if was == now:
                continue
            if isinstance(was, Partition) and isinstance(now, Partition):
                if was.run_id == now.run_id and was.key == now.key:
                    touched.append(now)
                    continue
                delta.switched += 1
            elif isinstance(now, Partition):
                delta.appeared += 1
            elif isinstance(was, Partition):
                delta.retracted += 1
            comparison.follow(was, now)
            changed.append(date)
    delta.touched += len(touched)
    return sorted(changed), touched


def _compare_series(was: Series, now: Series, comparison: _Comparison) -> tuple[list[int], list[Partition]]:
    """Do the same for one series; a partition is made only where somebody remembers one of the series."""
    delta = comparison.delta
    is_followed = comparison.known is None or now.key in comparison.known
    dates = differing_dates(was, now) if comparison.changed is None else comparison.changed.get(now.key, ())
    changed: list[int] = []
    touched: list[Partition] = []
    for date in dates:
        before, after = was.row(date), now.row(date)
        if before == after:
            continue
        if before is None:
            delta.appeared += 1
        elif after is None:
            delta.retracted += 1
        elif before[1] != after[1]:
            delta.switched += 1
        else:
            touched.append(now.partition(after))
            continue
        if is_followed:
            comparison.follow(
                None if before is None else was.partition(before), None if after is None else now.partition(after)
            )
        changed.append(date)
    return changed, touched


def _is_plain(old: SeriesGroup, new: SeriesGroup) -> bool:
    """Tell whether both are of the one same series, with nothing ambiguous."""
    return (
        len(old.series) == len(new.series) == 1
        and old.series[0].key == new.series[0].key
        and not old.ambiguous
        and not new.ambiguous
    )


def differing_dates(was: Series, now: Series) -> set[int]:
    """Return the dates whose rows differ; blocks that are equal are not looked at."""
    before = {block.number: block for block in was.blocks}
    found: set[int] = set()
    for block in now.blocks:
        other = before.pop(block.number, None)
        if other is None:
            found.update(block.columns().dates)
        elif other.digest != block.digest:
            found |= block.differing_dates(other)
    return found.union(*(block.columns().dates for block in before.values()))
