"""What differs between two catalogs: for the log, and for what the kernel must be told to forget."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field

from readyfs.catalog.series import Series
from readyfs.catalog.tree import Branch, Catalog, DateDirectory, Directory, Meaning, Path
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
    for change in _compare_directories((), old.root, new.root, _Comparison(delta, new, is_known, changed, known)):
        delta.directories.append(change)
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
    path: Path, old: Directory | None, new: Directory | None, comparison: _Comparison
) -> Iterator[DirectoryChange]:
    if old is new or (old is not None and new is not None and old.digest == new.digest):
        return
    if old is None:
        comparison.delta.directories_appeared += 1
    elif new is None:
        comparison.delta.directories_gone += 1
    if isinstance(old, DateDirectory) or isinstance(new, DateDirectory):
        change = _compare_dates(path, old, new, comparison)
        if change is not None:
            yield change
        return
    before = old.children if isinstance(old, Branch) else {}
    after = new.children if isinstance(new, Branch) else {}
    names = tuple(sorted(before.keys() ^ after.keys()))
    if names:
        yield DirectoryChange(path, names, ())
    replaced = [name for name, child in after.items() if before.get(name) is not child]
    for name in sorted({*names, *replaced}):
        yield from _compare_directories((*path, name), before.get(name), after.get(name), comparison)


def _compare_dates(
    path: Path, old: Directory | None, new: Directory | None, comparison: _Comparison
) -> DirectoryChange | None:
    delta = comparison.delta
    changed: list[int] = []
    touched: list[Partition] = []
    if isinstance(old, DateDirectory) and isinstance(new, DateDirectory) and _is_plain(old, new):
        changed, touched = _compare_series(old.series[0], new.series[0], comparison)
    else:
        before = dict(old.meanings()) if isinstance(old, DateDirectory) else {}
        after = dict(new.meanings()) if isinstance(new, DateDirectory) else {}
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
    if not changed and not touched:
        return None
    return DirectoryChange(path, tuple(map(comparison.catalog.layout.date_name, sorted(changed))), tuple(touched))


def _compare_series(was: Series, now: Series, comparison: _Comparison) -> tuple[list[int], list[Partition]]:
    """Do the same for one series; a partition is made only where somebody remembers one of the series."""
    delta = comparison.delta
    is_followed = comparison.known is None or now.key in comparison.known
    dates = _differing_dates(was, now) if comparison.changed is None else comparison.changed.get(now.key, ())
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


def _is_plain(old: DateDirectory, new: DateDirectory) -> bool:
    """Tell whether both are of the one same series, with nothing ambiguous."""
    return (
        len(old.series) == len(new.series) == 1
        and old.series[0].key == new.series[0].key
        and not old.ambiguous
        and not new.ambiguous
    )


def _differing_dates(was: Series, now: Series) -> Iterable[int]:
    """Return the dates whose rows differ; blocks that are the same are not looked at."""
    before, after = set(was.blocks), set(now.blocks)
    old = {row for block in before - after for row in block.columns()}
    new = {row for block in after - before for row in block.columns()}
    return {date for date, *_ in old ^ new}
