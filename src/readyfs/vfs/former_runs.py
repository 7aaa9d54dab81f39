"""What runs were sealed with before they were to be looked at anew, for the views that have to show them as they were.

A run that is written again under its id has other bytes from then on. A view of before may show those that it was
sealed with, and nothing else under their names: what differs cannot be served there. `turnover` says when a run begins
anew, `tree_runs` asks. Nothing is kept where no view is old enough to ask.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Self, TypeAlias

from readyfs.partition import RunKey
from readyfs.raw.store import EntryKind, RawEntry, RawStat
from readyfs.vfs.inode_number import TreeName
from readyfs.vfs.relpath import RelPath

UNKNOWN_FILE: Final = -1
"""Stands for a file of which nothing is known any more but its name: whatever is there differs from it."""


class FormerDirectory(NamedTuple):
    """The names of a directory as they were sealed: a number for what a file was, None for a directory.

    If it `is_complete` there were no other names.
    """

    names: Mapping[bytes, int | None]
    is_complete: bool

    @classmethod
    def of(cls, entries: Mapping[bytes, RawEntry]) -> Self:
        """Return a directory with all its entries as they are."""
        return cls({name: mark(entry) for name, entry in entries.items()}, True)

    def kinds(self) -> dict[bytes, EntryKind]:
        """Return the kind of each name, in order."""
        return {
            name: EntryKind.DIRECTORY if was is None else EntryKind.FILE for name, was in sorted(self.names.items())
        }

    def is_in(self, entries: Mapping[bytes, RawEntry]) -> bool:
        """Whether everything is still there, and as it was."""
        return all(name in entries and mark(entries[name]) == was for name, was in self.names.items())


FormerRun: TypeAlias = Mapping[RelPath, FormerDirectory]


@dataclass(slots=True)
class _Former:
    """What a run was sealed with until a refresh, by its number."""

    until: int
    directories: FormerRun


class FormerRuns:
    """Former seals by run, each for the catalogs that were put into force before it ended. Used on any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._refreshes = 0
        self._entered: dict[TreeName, int] = {}
        self._former: dict[RunKey, list[_Former]] = {}

    def __len__(self) -> int:
        return len(self._former)

    def enter(self, catalog: TreeName, held: Collection[TreeName]) -> None:
        """Note that a catalog is put into force, and forget what none of the views that are held can ask for.

        To be called before what its refresh means for runs is noted.
        """
        with self._lock:
            self._refreshes += 1
            self._entered = {tree: number for tree, number in self._entered.items() if tree in held}
            self._entered.setdefault(catalog, self._refreshes)
            # A view from before the daemon started was in force before everything that is known here.
            oldest = min((self._entered.get(tree, 0) for tree in held), default=self._refreshes)
            for run, formers in list(self._former.items()):
                formers[:] = [one for one in formers if one.until > oldest]
                if not formers:
                    del self._former[run]

    def keep(self, run: RunKey, directories: FormerRun) -> None:
        """Keep what a run was sealed with until now."""
        if not directories:
            return
        with self._lock:
            formers = self._former.setdefault(run, [])
            if formers and formers[-1].directories == directories:
                formers[-1].until = self._refreshes
            else:
                formers.append(_Former(self._refreshes, directories))

    def of(self, tree: TreeName, run: RunKey) -> FormerRun | None:
        """Return what a run was sealed with in a view, None if that is what it is sealed with now."""
        formers = self._former.get(run)
        if formers is None:
            return None
        with self._lock:
            entered = self._entered.get(tree, 0)
            return next((one.directories for one in formers if one.until > entered), None)


def mark(entry: RawEntry) -> int | None:
    """Return what tells a file of a run from whatever may take its place."""
    return None if entry.kind is EntryKind.DIRECTORY else mark_stat(entry.stat)


def mark_stat(stat: RawStat) -> int:
    """Return the same for the file with these attributes."""
    return abs(hash(stat))
