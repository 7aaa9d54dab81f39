"""What differs between two catalogs: for the log, and for what the kernel must be told to forget."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from readyfs.catalog.tree import Branch, Catalog, DateDirectory, Directory, Path
from readyfs.partition import Partition


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
    """All changes from one catalog to the next; the counters count partitions, except where they say directories."""

    directories: list[DirectoryChange] = field(default_factory=list)
    appeared: int = 0
    switched: int = 0
    touched: int = 0
    retracted: int = 0
    directories_appeared: int = 0
    directories_gone: int = 0

    def __bool__(self) -> bool:
        return bool(self.directories)


def compare(old: Catalog, new: Catalog) -> Delta:
    """Return what changed from `old` to `new`; both must have the same layout."""
    delta = Delta()
    for change in _compare_directories((), old.root, new.root, delta, new):
        delta.directories.append(change)
    return delta


def _compare_directories(
    path: Path, old: Directory | None, new: Directory | None, delta: Delta, catalog: Catalog
) -> Iterator[DirectoryChange]:
    if old is new or (old is not None and new is not None and old.digest == new.digest):
        return
    if old is None:
        delta.directories_appeared += 1
    elif new is None:
        delta.directories_gone += 1
    if isinstance(old, DateDirectory) or isinstance(new, DateDirectory):
        change = _compare_dates(path, old, new, delta, catalog)
        if change is not None:
            yield change
        return
    before = old.children if isinstance(old, Branch) else {}
    after = new.children if isinstance(new, Branch) else {}
    names = tuple(sorted(before.keys() ^ after.keys()))
    if names:
        yield DirectoryChange(path, names, ())
    for name in sorted(before.keys() | after.keys()):
        yield from _compare_directories((*path, name), before.get(name), after.get(name), delta, catalog)


def _compare_dates(
    path: Path, old: Directory | None, new: Directory | None, delta: Delta, catalog: Catalog
) -> DirectoryChange | None:
    before = dict(old.meanings()) if isinstance(old, DateDirectory) else {}
    after = dict(new.meanings()) if isinstance(new, DateDirectory) else {}
    changed: list[int] = []
    touched: list[Partition] = []
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
        changed.append(date)
    delta.touched += len(touched)
    if not changed and not touched:
        return None
    return DirectoryChange(path, tuple(map(catalog.layout.date_name, sorted(changed))), tuple(touched))
