"""The tree of a layout whose last component is not the whole date: names alone, made of groups and edited by changes.

Used by `build`. The last level has nearly as many entries as there are partitions, so little is kept of each: an entry
is a name in a tuple, which all directories with the same names share. What a name stands for is read back from its
path.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple, TypeAlias
from weakref import WeakValueDictionary

from readyfs.catalog.tree import AMBIGUOUS, Ambiguous, Branch, Names, Node, PartitionNames, Path, SeriesGroup
from readyfs.layout import MountLayout, woven
from readyfs.partition import NOT_SET, SeriesKey

GroupChange: TypeAlias = tuple[SeriesGroup | None, SeriesGroup | None, Collection[int]]
"""A group before and after, None where there was or is none, and the dates at which they may differ."""

_Named: TypeAlias = tuple[bytes | None, ...]
"""Names of a series, None where parts of the date stand."""


@dataclass(slots=True)
class _Leaf:
    """A directory of partitions in the making."""

    names: list[bytes]
    newest_ns: int = NOT_SET
    ambiguous: int = 0


_Growing: TypeAlias = "dict[bytes, _Growing | _Leaf]"


class _State(NamedTuple):
    """What an entry stands for: nothing, rows that claim it together, or a run; and the newest `updated_at` of it."""

    meaning: Ambiguous | tuple[SeriesKey, bytes] | None
    newest_ns: int


class _Edit(NamedTuple):
    """One entry of a directory of partitions, before and after."""

    name: bytes
    was: _State
    now: _State


class NameTree:
    """Builds trees of names. Names are shared between all that it builds, for as long as a tree has them."""

    def __init__(self, layout: MountLayout) -> None:
        self._layout = layout
        self._height = len(layout.above)
        self._names: WeakValueDictionary[Path, Names] = WeakValueDictionary()

    def build(self, groups: Mapping[SeriesKey, SeriesGroup], stamp_ns: int) -> Branch:
        """Return the tree of groups; a directory is as old as the newest row below it, else as `stamp_ns`."""
        top: _Growing = {}
        dates: dict[int, tuple[Path, bytes | None]] = {}
        named = sorted(
            ((self._layout.names_of(shown), group) for shown, group in groups.items()),
            key=lambda item: tuple(name or b"" for name in item[0]),
        )
        for above, bundle in groupby(named, key=lambda item: item[0][:-1]):
            leaves: dict[Path, _Leaf] = {}
            for names, group in bundle:
                self._grow(leaves, group, names[-1], dates)
            for date_names, leaf in leaves.items():
                *parents, name = woven(above, date_names)
                place = top
                for parent in parents:
                    below = place.setdefault(parent, {})
                    assert isinstance(below, dict)
                    place = below
                place[name] = leaf
        return self._built(top, stamp_ns)

    def _grow(
        self,
        leaves: dict[Path, _Leaf],
        group: SeriesGroup,
        own_name: bytes | None,
        dates: dict[int, tuple[Path, bytes | None]],
    ) -> None:
        """Add the entries of a group to the directories that they lie in, by the names of the date above them."""
        rows: Iterable[tuple[int, int]]
        if len(group.series) == 1 and not group.ambiguous:
            rows = zip(group.series[0].dates, group.series[0].updated_at_ns, strict=True)
        else:
            rows = ((date, group.newest_at(date)) for date in group.dates)
        for date, newest_ns in rows:
            found = dates.get(date) or self._placed(date, dates)
            leaf = leaves.get(found[0])
            if leaf is None:
                leaf = leaves[found[0]] = _Leaf([])
            name = own_name if own_name is not None else found[1]
            assert name is not None
            leaf.names.append(name)
            if newest_ns > leaf.newest_ns:
                leaf.newest_ns = newest_ns
            if date in group.ambiguous:
                leaf.ambiguous += 1

    def _placed(self, date: int, dates: dict[int, tuple[Path, bytes | None]]) -> tuple[Path, bytes | None]:
        """Return the names of a date in the directories above, and the one in the last component if it has one."""
        names = self._layout.dates_of(date)
        placed = (names[:-1], names[-1]) if self._layout.ends_with_date else (names, None)
        dates[date] = placed
        return placed

    def _built(self, growing: _Growing, stamp_ns: int) -> Branch:
        children: dict[bytes, Node] = {}
        for name, below in sorted(growing.items(), key=itemgetter(0)):
            if isinstance(below, dict):
                children[name] = self._built(below, stamp_ns)
            else:
                children[name] = PartitionNames(
                    self._shared(tuple(sorted(below.names))),
                    stamp_ns if below.newest_ns == NOT_SET else below.newest_ns,
                    below.newest_ns,
                    len(below.names) - below.ambiguous,
                )
        newest_ns = max((child.newest_ns for child in children.values()), default=NOT_SET)
        return _branch(children, stamp_ns if newest_ns == NOT_SET else newest_ns, newest_ns)

    def edit(
        self, root: Branch, groups: Mapping[SeriesKey, SeriesGroup], changes: Iterable[GroupChange], stamp_ns: int
    ) -> Branch:
        """Return a tree with changes made; `groups` are those after them. Directories with new entries get the time."""
        edits: dict[Path, list[_Edit]] = {}
        known: dict[int, Path] = {}
        for old, new, dates in changes:
            group = new if new is not None else old
            assert group is not None
            names = self._layout.names_of(group.series[0].key)
            for date in dates:
                was, now = _state(old, date), _state(new, date)
                if was != now:
                    date_names = known.get(date)
                    if date_names is None:
                        date_names = known[date] = self._layout.dates_of(date)
                    path = woven(names, date_names)
                    edits.setdefault(path[:-1], []).append(_Edit(path[-1], was, now))
        if not edits:
            return root
        edited = self._edited(sorted(edits.items(), key=itemgetter(0)), 0, root, groups, stamp_ns)
        assert isinstance(edited, Branch)
        return edited

    def _edited(
        self,
        edits: list[tuple[Path, list[_Edit]]],
        depth: int,
        before: Node | None,
        groups: Mapping[SeriesKey, SeriesGroup],
        stamp_ns: int,
    ) -> Node | None:
        """Return the directory with the edits below it made; None if it is left empty and is not the root."""
        if depth == self._height:
            ((path, own),) = edits
            return self._edited_names(
                path, own, before if isinstance(before, PartitionNames) else None, groups, stamp_ns
            )
        old = before.children if isinstance(before, Branch) else {}
        children: dict[bytes, Node] = dict(old)
        for name, group in groupby(edits, key=lambda item: item[0][depth]):
            child = self._edited(list(group), depth + 1, old.get(name), groups, stamp_ns)
            if child is None:
                children.pop(name, None)
            else:
                children[name] = child
        if not children and depth:
            return None
        newest_ns = max((child.newest_ns for child in children.values()), default=NOT_SET)
        if not isinstance(before, Branch) or children.keys() != old.keys():
            return _branch(dict(sorted(children.items(), key=itemgetter(0))), stamp_ns, newest_ns)
        if all(child is old[name] for name, child in children.items()):
            return before
        return _branch(children, before.changed_ns, newest_ns)

    def _edited_names(
        self,
        path: Path,
        edits: list[_Edit],
        before: PartitionNames | None,
        groups: Mapping[SeriesKey, SeriesGroup],
        stamp_ns: int,
    ) -> PartitionNames | None:
        names = before.names if before is not None else self._shared(())
        came = {edit.name for edit in edits if edit.was.meaning is None}
        gone = {edit.name for edit in edits if edit.now.meaning is None}
        if came or gone:
            names = self._shared(tuple(sorted(came.union(names.names) - gone)))
        if not names.names:
            return None
        newest_ns = before.newest_ns if before is not None else NOT_SET
        if any(edit.now.newest_ns < edit.was.newest_ns == newest_ns for edit in edits):
            # Another row may be as new, or be the newest now.
            newest_ns = max(self._newest_at((*path, name), groups) for name in names.names)
        newest_ns = max(newest_ns, *(edit.now.newest_ns for edit in edits))
        if before is None or any(edit.was.meaning != edit.now.meaning for edit in edits):
            changed_ns = stamp_ns
        else:
            changed_ns = before.changed_ns
        partitions = before.partitions if before is not None else 0
        for edit in edits:
            partitions += isinstance(edit.now.meaning, tuple) - isinstance(edit.was.meaning, tuple)
        made = PartitionNames(names, changed_ns, newest_ns, partitions)
        return before if before == made else made

    def _newest_at(self, path: Path, groups: Mapping[SeriesKey, SeriesGroup]) -> int:
        found = self._layout.read(path)
        assert found is not None
        return groups[found[0]].newest_at(found[1])

    def _shared(self, names: Path) -> Names:
        found = self._names.get(names)
        if found is None:
            found = self._names[names] = Names(names)
        return found


def _branch(children: Mapping[bytes, Node], changed_ns: int, newest_ns: int) -> Branch:
    return Branch(children, b"", changed_ns, newest_ns, sum(child.partitions for child in children.values()))


def _state(group: SeriesGroup | None, date: int) -> _State:
    rows = group.rows_at(date) if group is not None else []
    newest_ns = max((row.updated_at_ns for row in rows), default=NOT_SET)
    if group is not None and date in group.ambiguous:
        return _State(AMBIGUOUS, newest_ns)
    return _State((rows[0].key.series, rows[0].run_id) if rows else None, newest_ns)
