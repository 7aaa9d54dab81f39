"""Building a catalog from the ready rows.

Used by the refresh, off the serving thread. What did not change is taken over from the catalog before, object by
object, so that building and comparing cost in proportion to what differs: the series that changed, and the directories
above them.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

from readyfs.catalog.date_tree import DateTree
from readyfs.catalog.delta import differing_dates
from readyfs.catalog.digests import hash_parts, make_fingerprint
from readyfs.catalog.name_tree import GroupChange, NameTree
from readyfs.catalog.series import Series, build_series, patch_series
from readyfs.catalog.tree import Catalog, Path, SeriesGroup, Tree
from readyfs.layout import MountLayout, RawLayout, UnusableNameError
from readyfs.partition import NOT_SET, ChangedDates, PartitionKey, SeriesKey, WithheldReason, WithheldTally
from readyfs.series_rows import SeriesRows
from readyfs.text import escape_text

_READ_AS_NULL: Final = b"=__HIVE_DEFAULT_PARTITION__"
"""The end of a name `KEY=VALUE` by which Hive writes NULL, and by which its readers take the value for NULL."""


@dataclass(frozen=True, slots=True)
class CatalogShape:
    """What, beside the rows, decides what a path means; all of it goes into the fingerprint.

    `published_times` says that the times of files come from the rows.
    """

    layout: MountLayout
    raw_layout: RawLayout
    files: tuple[str, ...] = ()
    required_files: tuple[str, ...] = ()
    published_times: bool = False

    def digest_parts(self) -> tuple[bytes, ...]:
        """Return the settings as byte strings for hashing."""
        raw = self.raw_layout
        texts = (self.layout.template, raw.template, raw.encoding.value, str(len(self.files)))
        # A pattern for names that are not UTF-8 comes as surrogates.
        names = (*sorted(self.files), *sorted(self.required_files))
        # No name of a required file holds a slash.
        times = ("/published-times",) if self.published_times else ()
        return tuple(os.fsencode(text) for text in (*texts, *names, *times))


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build found beside the catalog.

    `ignored_by_spark` counts partitions below a name that begins with `.` or `_`, or ends in `._COPYING_`: served, but
    Spark and pyarrow skip such names when they list a directory (V12). `read_as_null` counts those below a name by
    which readers of the Hive layout take a value for NULL. `changed` are the dates at which
    the catalog may differ from the one that it was made from, None for all.
    """

    withheld: WithheldTally
    ignored_by_spark: int
    read_as_null: int = 0
    changed: ChangedDates | None = None


class CatalogBuilder:
    """Builds one catalog after another, each from the one before where it can.

    Beside the catalog it keeps what a report needs of series that did not change. One thread at a time calls it.
    """

    def __init__(self, shape: CatalogShape) -> None:
        self._shape = shape
        self._dates = DateTree(shape.layout)
        self._names = None if shape.layout.has_date_last else NameTree(shape.layout)
        date_names = shape.layout.dates_of(1)
        self._hides_dates = any(map(_is_ignored_by_spark, date_names))
        self._latest: Catalog | None = None
        self._withheld: dict[SeriesKey, WithheldTally] = {}
        self._ignored_by_spark: dict[SeriesKey, int] = {}
        self._read_as_null: dict[SeriesKey, int] = {}
        self._ambiguous: dict[SeriesKey, SeriesGroup] = {}

    def build(
        self,
        rows: Mapping[SeriesKey, SeriesRows],
        previous: Catalog | None,
        now_ns: int,
        changed: ChangedDates | None = None,
    ) -> tuple[Catalog, BuildReport]:
        """Build the catalog of all rows; return it with what had to be withheld for its name or path.

        `now_ns` is wall-clock time in nanoseconds since the epoch. `changed` names the dates that may differ from the
        build before, None stands for all of them; it is heeded if that build made `previous`. If nothing that a reader
        can see differs, the result is `previous`.
        """
        stamp_ns = now_ns if previous is None else max(now_ns, previous.stamp_ns + 1)
        if changed is None or previous is None or previous is not self._latest:
            changed = None
            catalog = self._build_whole(rows, previous, stamp_ns)
        else:
            catalog = self._build_changed(rows, previous, stamp_ns, changed)
        if previous is not None and catalog.fingerprint == previous.fingerprint:
            catalog = previous  # it stays in force, and the next build begins with it
        self._latest = catalog
        return catalog, self._report(changed)

    def _build_whole(self, rows: Mapping[SeriesKey, SeriesRows], previous: Catalog | None, stamp_ns: int) -> Catalog:
        self._withheld.clear()
        self._ignored_by_spark.clear()
        self._read_as_null.clear()
        placed: list[tuple[Path, Series]] = []
        by_key: dict[SeriesKey, Series] = {}
        for key, columns in rows.items():
            found = self._place(key, columns, previous.by_key.get(key) if previous is not None else None)
            if found is not None:
                placed.append(found)
                by_key[key] = found[1]
        first = previous is None
        if self._names is None:
            root = self._dates.build(placed, None if previous is None else previous.root, stamp_ns)
            tree = Tree(root, self._shape.layout)
        elif previous is None:
            groups = self._grouped(by_key.values())
            tree = Tree(self._names.build(groups, stamp_ns), self._shape.layout, groups)
        else:
            was = previous.by_key
            changes: dict[SeriesKey, Series | None] = {}
            for key in was.keys() | by_key.keys():
                if was.get(key) is not by_key.get(key):
                    changes[key] = by_key.get(key)
            tree = self._edit_names(self._names, previous.tree, changes, None, stamp_ns)
        groups_there = ((self._shape.layout.shown(group.series[0].key), group) for group in tree.series_groups())
        self._ambiguous = {shown: group for shown, group in groups_there if group.ambiguous}
        return self._catalog(tree, by_key, max(stamp_ns, tree.root.newest_ns) if first else stamp_ns)

    def _build_changed(
        self,
        rows: Mapping[SeriesKey, SeriesRows],
        previous: Catalog,
        stamp_ns: int,
        changed: ChangedDates,
    ) -> Catalog:
        by_key = dict(previous.by_key)
        edits: dict[Path, dict[SeriesKey, Series | None]] = {}
        changes: dict[SeriesKey, Series | None] = {}
        for key, dates in changed.items():
            before = by_key.get(key)
            found = self._patch(key, rows.get(key), before, dates) or self._place(key, rows.get(key), before)
            if found is not None and found[1] is not before:
                path, by_key[key] = found
                changes[key] = edits.setdefault(path, {})[key] = found[1]
            elif found is None and before is not None:
                del by_key[key]
                changes[key] = edits.setdefault(self._series_path(key), {})[key] = None
        tree = previous.tree
        if self._names is None:
            tree = Tree(self._dates.edit(tree.root, edits, stamp_ns), self._shape.layout)
        elif changes:
            tree = self._edit_names(self._names, tree, changes, changed, stamp_ns)
        for key in changes:
            shown, group = self._shape.layout.shown(key), tree.group(key)
            if group is not None and group.ambiguous:
                self._ambiguous[shown] = group
            else:
                self._ambiguous.pop(shown, None)
        return self._catalog(tree, by_key, stamp_ns)

    def _series_path(self, key: SeriesKey) -> Path:
        """Return the names that are the same for all dates of a series; raise `UnusableNameError` if there are none."""
        return tuple(name for name in self._shape.layout.names_of(key) if name is not None)

    def _grouped(self, series: Iterable[Series]) -> dict[SeriesKey, SeriesGroup]:
        """Return series in groups, by what the layout shows of them, in order."""
        found: dict[SeriesKey, list[Series]] = {}
        for one in sorted(series, key=lambda one: one.key):
            found.setdefault(self._shape.layout.shown(one.key), []).append(one)
        return {shown: _make_group(group) for shown, group in sorted(found.items(), key=itemgetter(0))}

    def _edit_names(
        self,
        names: NameTree,
        before: Tree,
        changes: Mapping[SeriesKey, Series | None],
        changed: ChangedDates | None,
        stamp_ns: int,
    ) -> Tree:
        """Return a tree of names with series replaced, which are changed at the dates that `changed` names."""
        groups = dict(before.groups)
        differing: dict[SeriesKey, set[int]] = {}
        replaced: dict[SeriesKey, dict[SeriesKey, Series | None]] = {}
        for key, series in changes.items():
            shown = self._shape.layout.shown(key)
            group = before.groups.get(shown)
            was = next((one for one in group.series if one.key == key), None) if group is not None else None
            dates = changed[key] if changed is not None else _dates_that_differ(was, series)
            differing.setdefault(shown, set()).update(dates)
            replaced.setdefault(shown, {})[key] = series
        edits: list[GroupChange] = []
        for shown, some in replaced.items():
            old = groups.pop(shown, None)
            now = {**{one.key: one for one in (old.series if old is not None else ())}, **some}
            left = sorted((one for one in now.values() if one is not None), key=lambda one: one.key)
            new = _make_group(left) if left else None
            if new is not None:
                groups[shown] = new
            edits.append((old, new, differing[shown]))
        groups = dict(sorted(groups.items(), key=itemgetter(0)))
        return Tree(names.edit(before.root, groups, edits, stamp_ns), self._shape.layout, groups)

    def _patch(
        self, key: SeriesKey, columns: SeriesRows | None, before: Series | None, changed: Collection[int]
    ) -> tuple[Path, Series] | None:
        """Do what `_place` does, in proportion to the dates that changed; None if something is withheld or new."""
        if columns is None or before is None or not len(columns) or not columns.is_ordered:
            return None
        if before.ambiguous or any(
            key in kept for kept in (self._withheld, self._ignored_by_spark, self._read_as_null)
        ):
            return None
        run_ids = [row[1] for row in map(columns.row, changed) if row is not None]
        if not self._shape.raw_layout.takes_all(run_ids):
            return None
        series = patch_series(before, columns, changed)
        return self._series_path(key), before if before.digest == series.digest else series

    def _place(self, key: SeriesKey, columns: SeriesRows | None, before: Series | None) -> tuple[Path, Series] | None:
        """Return where a series lies and what it holds, `before` itself if that is the same; None if nothing."""
        self._withheld.pop(key, None)
        self._ignored_by_spark.pop(key, None)
        self._read_as_null.pop(key, None)
        if columns is None:
            return None
        tally = WithheldTally()
        try:
            path = self._series_path(key)
        except UnusableNameError as error:
            _withhold_series(tally, WithheldReason.UNUSABLE_NAME, key, columns, str(error))
            self._withheld[key] = tally
            return None
        try:
            self._shape.raw_layout.check_series(key)
        except UnusableNameError as error:
            _withhold_series(tally, WithheldReason.UNUSABLE_RAW_PATH, key, columns, str(error))
            self._withheld[key] = tally
            return None
        if before is not None and not before.ambiguous and columns.are_in(before.blocks):
            series = before
        else:
            series = build_series(key, self._usable_runs(key, columns, tally), before)
        if tally.counts:
            self._withheld[key] = tally
        if not len(series) and not series.ambiguous:
            return None
        if self._hides_dates or any(map(_is_ignored_by_spark, path)):
            self._ignored_by_spark[key] = len(series)
        if any(name.endswith(_READ_AS_NULL) for name in path):
            self._read_as_null[key] = len(series)
        return path, before if before is not None and before.digest == series.digest else series

    def _usable_runs(self, key: SeriesKey, rows: SeriesRows, tally: WithheldTally) -> SeriesRows:
        """Return the rows whose run id can be a raw path."""
        if self._shape.raw_layout.takes_all(rows.run_ids):
            return rows
        refused = {run_id: why for run_id in {*rows.run_ids} if (why := self._refusal(run_id)) is not None}
        if not refused:
            return rows
        usable: list[int] = []
        for index, run_id in enumerate(rows.run_ids):
            if run_id in refused:
                key_text = str(PartitionKey(key, rows.dates[index]))
                tally.add(WithheldReason.UNUSABLE_RAW_PATH, key_text, refused[run_id])
            else:
                usable.append(index)
        return rows.take(usable)

    def _refusal(self, run_id: bytes) -> str | None:
        """Return why a run id cannot be a raw path, None if it can."""
        try:
            self._shape.raw_layout.check_run_id(run_id)
        except UnusableNameError as error:
            return str(error)
        return None

    def _catalog(self, tree: Tree, by_key: Mapping[SeriesKey, Series], stamp_ns: int) -> Catalog:
        content = tree.root.digest
        if self._names is not None:
            content = hash_parts(b"groups", (b"".join([group.digest for group in tree.groups.values()]),))
        return Catalog(
            tree=tree,
            fingerprint=make_fingerprint(self._shape.digest_parts(), content),
            partitions=tree.root.partitions,
            stamp_ns=stamp_ns,
            by_key=by_key,
        )

    def _report(self, changed: ChangedDates | None) -> BuildReport:
        withheld = WithheldTally()
        for tally in self._withheld.values():
            withheld.merge(tally)
        layout = self._shape.layout
        claimed = [
            (layout.path_of(shown, date), date, claims)
            for shown, group in self._ambiguous.items()
            for date, claims in group.claims()
        ]
        for path, date, claims in sorted(claimed):
            path_text = "/".join(map(escape_text, path))
            rows_text = ", ".join(str(PartitionKey(claim, date)) for claim in claims)
            withheld.add(WithheldReason.AMBIGUOUS_PATH, path_text, f"claimed by the ready rows of {rows_text}")
        marked = sum(self._ignored_by_spark.values()), sum(self._read_as_null.values())
        return BuildReport(withheld, *marked, changed)


def _is_ignored_by_spark(name: bytes) -> bool:
    return name.startswith((b".", b"_")) or name.endswith(b"._COPYING_")


def _make_group(series: Sequence[Series]) -> SeriesGroup:
    digest = hash_parts(b"dates", (one.digest for one in series))
    return SeriesGroup(tuple(series), digest, max((one.newest_ns for one in series), default=NOT_SET))


def _dates_that_differ(was: Series | None, now: Series | None) -> Iterable[int]:
    if was is None or now is None:
        some = was if was is not None else now
        return (*some.dates, *some.ambiguous) if some is not None else ()
    return {*differing_dates(was, now)} | ({*was.ambiguous} ^ {*now.ambiguous})


def _withhold_series(tally: WithheldTally, reason: WithheldReason, key: SeriesKey, rows: SeriesRows, why: str) -> None:
    for date in rows.dates:
        tally.add(reason, str(PartitionKey(key, date)), why)
