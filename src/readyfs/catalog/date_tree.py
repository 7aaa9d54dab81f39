"""The tree of a layout whose last component is the date: branches over directories that hold the dates of a series.

Used by `build`. What did not change is taken over from the tree before, object by object, by its digest.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from operator import itemgetter
from typing import TypeAlias

from readyfs.catalog.digests import hash_parts
from readyfs.catalog.series import Series
from readyfs.catalog.tree import Branch, DateDirectory, Node, Path
from readyfs.layout import MountLayout
from readyfs.partition import NOT_SET, SeriesKey

SeriesEdits: TypeAlias = Mapping[Path, Mapping[SeriesKey, Series | None]]
"""What becomes of series, by the path of their directory; None for one that is gone."""


class DateTree:
    """Builds trees over dates; a directory keeps its time unless its own entries differ from those of before."""

    def __init__(self, layout: MountLayout) -> None:
        self._layout = layout
        self._height = len(layout.above)

    def build(self, placed: list[tuple[Path, Series]], before: Branch | None, stamp_ns: int) -> Branch:
        """Return the tree of series at their paths; at first, a directory is as old as the newest row below it."""
        placed.sort(key=lambda item: (item[0], item[1].key))
        root = self._built(placed, 0, before, before is None, stamp_ns)
        assert isinstance(root, Branch)
        return root

    def edit(self, root: Branch, edits: SeriesEdits, stamp_ns: int) -> Branch:
        """Return a tree with edits made."""
        if not edits:
            return root
        edited = self._edited(sorted(edits.items(), key=itemgetter(0)), 0, root, stamp_ns)
        assert isinstance(edited, Branch)
        return edited

    def _built(
        self, placed: list[tuple[Path, Series]], depth: int, before: Node | None, first: bool, stamp_ns: int
    ) -> Node:
        if depth == self._height:
            return self._dates(tuple(series for _, series in placed), before, first, stamp_ns)
        old = before.children if isinstance(before, Branch) else {}
        children = {
            name: self._built(list(group), depth + 1, old.get(name), first, stamp_ns)
            for name, group in groupby(placed, key=lambda item: item[0][depth])
        }
        return _branch(children, before, first, stamp_ns)

    def _edited(
        self,
        edits: list[tuple[Path, Mapping[SeriesKey, Series | None]]],
        depth: int,
        before: Node | None,
        stamp_ns: int,
    ) -> Node | None:
        """Return the directory with the edits below it made; None if it is left empty and is not the root."""
        if depth == self._height:
            ((_, changes),) = edits
            kept = before.series if isinstance(before, DateDirectory) else ()
            now = {**{one.key: one for one in kept}, **changes}
            series = sorted((one for one in now.values() if one is not None), key=lambda one: one.key)
            return self._dates(tuple(series), before, False, stamp_ns) if series else None
        children: dict[bytes, Node] = dict(before.children) if isinstance(before, Branch) else {}
        came = False
        for name, group in groupby(edits, key=lambda item: item[0][depth]):
            child = self._edited(list(group), depth + 1, children.get(name), stamp_ns)
            if child is None:
                children.pop(name, None)
            else:
                came = came or name not in children
                children[name] = child
        if came:
            children = dict(sorted(children.items()))
        return _branch(children, before, False, stamp_ns) if children or depth == 0 else None

    def _dates(self, series: tuple[Series, ...], before: Node | None, first: bool, stamp_ns: int) -> DateDirectory:
        digest = hash_parts(b"dates", (one.digest for one in series))
        newest_ns = max((one.newest_ns for one in series), default=NOT_SET)
        changed_ns = stamp_ns
        if not isinstance(before, DateDirectory):
            changed_ns = _initial_time(newest_ns, stamp_ns) if first else stamp_ns
        elif before.digest == digest:
            return before
        elif _same_entries(before.series, series):
            changed_ns = before.changed_ns
        return DateDirectory(series, digest, newest_ns, changed_ns, self._layout)


def _same_entries(before: tuple[Series, ...], after: tuple[Series, ...]) -> bool:
    return len(before) == len(after) and all(
        old.key == new.key and old.dates == new.dates and old.run_ids == new.run_ids and old.ambiguous == new.ambiguous
        for old, new in zip(before, after, strict=True)
    )


def _branch(children: Mapping[bytes, Node], before: Node | None, first: bool, stamp_ns: int) -> Branch:
    # No name holds a slash, so joining them loses nothing.
    digest = hash_parts(b"branch", (b"/".join(children), b"".join([child.digest for child in children.values()])))
    if isinstance(before, Branch) and before.digest == digest:
        return before
    newest_ns = max((child.newest_ns for child in children.values()), default=NOT_SET)
    if isinstance(before, Branch) and before.children.keys() == children.keys():
        changed_ns = before.changed_ns
    else:
        changed_ns = _initial_time(newest_ns, stamp_ns) if first else stamp_ns
    return Branch(children, digest, changed_ns, newest_ns, sum(child.partitions for child in children.values()))


def _initial_time(newest_ns: int, stamp_ns: int) -> int:
    return stamp_ns if newest_ns == NOT_SET else newest_ns
