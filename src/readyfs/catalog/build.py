"""Building a catalog from the ready rows.

Used by the refresh, off the serving thread. What did not change is taken over from the catalog before, object by
object, so that building and comparing cost in proportion to what differs: the series that changed, and the directories
above them.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Final

from readyfs.catalog.digests import hash_parts
from readyfs.catalog.series import Series, build_series, patch_series
from readyfs.catalog.tree import (
    Branch,
    Catalog,
    DateDirectory,
    Directory,
    Path,
    find_ambiguous,
    find_directory,
)
from readyfs.layout import MountLayout, RawLayout, UnusableNameError
from readyfs.partition import NOT_SET, ChangedDates, PartitionKey, SeriesKey, WithheldReason, WithheldTally
from readyfs.series_rows import SeriesRows
from readyfs.text import escape_text

_READ_AS_NULL: Final = b"=__HIVE_DEFAULT_PARTITION__"
"""The end of a name `KEY=VALUE` by which Hive writes NULL, and by which its readers take the value for NULL."""

_VERDICTS: Final = 100_000
"""So many run ids are remembered as usable or not before that begins anew."""


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
        self._height = len(shape.layout.above)
        self._latest: Catalog | None = None
        self._withheld: dict[SeriesKey, WithheldTally] = {}
        self._ignored_by_spark: dict[SeriesKey, int] = {}
        self._read_as_null: dict[SeriesKey, int] = {}
        self._ambiguous: dict[Path, DateDirectory] = {}
        self._verdicts: dict[bytes, str | None] = {}

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
        if len(self._verdicts) > _VERDICTS:
            self._verdicts.clear()
        stamp_ns = now_ns if previous is None else max(now_ns, previous.stamp_ns + 1)
        if changed is None or previous is None or previous is not self._latest:
            changed = None
            catalog = self._build_whole(rows, previous, stamp_ns)
        else:
            catalog = self._build_changed(rows, previous, stamp_ns, changed)
        if previous is not None and catalog.root is previous.root:
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
        placed.sort(key=lambda item: (item[0], item[1].key))
        first = previous is None
        root = _build_directory(placed, 0, self._height, previous.root if previous else None, first, stamp_ns)
        self._ambiguous = dict(find_ambiguous(root))
        return self._catalog(root, by_key, max(stamp_ns, root.newest_ns) if first else stamp_ns)

    def _build_changed(
        self,
        rows: Mapping[SeriesKey, SeriesRows],
        previous: Catalog,
        stamp_ns: int,
        changed: ChangedDates,
    ) -> Catalog:
        by_key = dict(previous.by_key)
        edits: dict[Path, dict[SeriesKey, Series | None]] = {}
        for key, dates in changed.items():
            before = by_key.get(key)
            found = self._patch(key, rows.get(key), before, dates) or self._place(key, rows.get(key), before)
            if found is not None and found[1] is not before:
                path, by_key[key] = found
                edits.setdefault(path, {})[key] = found[1]
            elif found is None and before is not None:
                del by_key[key]
                edits.setdefault(self._shape.layout.directory_of(key), {})[key] = None
        root = previous.root
        if edits:
            edited = _edit_directory(sorted(edits.items(), key=itemgetter(0)), 0, self._height, root, stamp_ns)
            assert edited is not None
            root = edited
        for path in edits:
            directory = find_directory(root, path)
            if isinstance(directory, DateDirectory) and directory.ambiguous:
                self._ambiguous[path] = directory
            else:
                self._ambiguous.pop(path, None)
        return self._catalog(root, by_key, stamp_ns)

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
        if not self._are_usable(row[1] for row in map(columns.row, changed) if row is not None):
            return None
        series = patch_series(before, columns, changed)
        return self._shape.layout.directory_of(key), before if before.digest == series.digest else series

    def _place(self, key: SeriesKey, columns: SeriesRows | None, before: Series | None) -> tuple[Path, Series] | None:
        """Return where a series lies and what it holds, `before` itself if that is the same; None if nothing."""
        self._withheld.pop(key, None)
        self._ignored_by_spark.pop(key, None)
        self._read_as_null.pop(key, None)
        if columns is None:
            return None
        tally = WithheldTally()
        try:
            path = self._shape.layout.directory_of(key)
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
        series = build_series(key, self._usable_runs(key, columns, tally), before)
        if tally.counts:
            self._withheld[key] = tally
        if not len(series) and not series.ambiguous:
            return None
        if any(name.startswith((b".", b"_")) or name.endswith(b"._COPYING_") for name in path):
            self._ignored_by_spark[key] = len(series)
        if any(name.endswith(_READ_AS_NULL) for name in path):
            self._read_as_null[key] = len(series)
        return path, before if before is not None and before.digest == series.digest else series

    def _are_usable(self, run_ids: Iterable[bytes]) -> bool:
        """Tell whether each run id can be a raw path, and remember the verdicts."""
        distinct = set(run_ids)
        for run_id in distinct.difference(self._verdicts):
            try:
                self._shape.raw_layout.check_run_id(run_id)
            except UnusableNameError as error:
                self._verdicts[run_id] = str(error)
            else:
                self._verdicts[run_id] = None
        return not any(map(self._verdicts.__getitem__, distinct))

    def _usable_runs(self, key: SeriesKey, rows: SeriesRows, tally: WithheldTally) -> SeriesRows:
        """Return the rows whose run id can be a raw path."""
        if self._are_usable(rows.run_ids):
            return rows
        usable: list[int] = []
        for index, run_id in enumerate(rows.run_ids):
            why = self._verdicts[run_id]
            if why is None:
                usable.append(index)
            else:
                tally.add(WithheldReason.UNUSABLE_RAW_PATH, str(PartitionKey(key, rows.dates[index])), why)
        return rows.take(usable)

    def _catalog(self, root: Directory, by_key: Mapping[SeriesKey, Series], stamp_ns: int) -> Catalog:
        return Catalog(
            root=root,
            layout=self._shape.layout,
            fingerprint=hash_parts(b"catalog", (*self._shape.digest_parts(), root.digest)).hex(),
            partitions=root.partitions,
            stamp_ns=stamp_ns,
            by_key=by_key,
        )

    def _report(self, changed: ChangedDates | None) -> BuildReport:
        withheld = WithheldTally()
        for tally in self._withheld.values():
            withheld.merge(tally)
        for path, directory in sorted(self._ambiguous.items()):
            for date, claims in directory.claims():
                path_text = "/".join(escape_text(name) for name in (*path, self._shape.layout.date_name(date)))
                rows_text = ", ".join(str(PartitionKey(claim, date)) for claim in claims)
                withheld.add(WithheldReason.AMBIGUOUS_PATH, path_text, f"claimed by the ready rows of {rows_text}")
        marked = sum(self._ignored_by_spark.values()), sum(self._read_as_null.values())
        return BuildReport(withheld, *marked, changed)


def _withhold_series(tally: WithheldTally, reason: WithheldReason, key: SeriesKey, rows: SeriesRows, why: str) -> None:
    for date in rows.dates:
        tally.add(reason, str(PartitionKey(key, date)), why)


def _build_directory(
    placed: list[tuple[Path, Series]], depth: int, height: int, before: Directory | None, first: bool, stamp_ns: int
) -> Directory:
    """Build the directory at `depth` from the sorted series below it, taking over `before` where it is the same."""
    if depth == height:
        return _build_dates(tuple(series for _, series in placed), before, first, stamp_ns)
    old = before.children if isinstance(before, Branch) else {}
    children = {
        name: _build_directory(list(group), depth + 1, height, old.get(name), first, stamp_ns)
        for name, group in groupby(placed, key=lambda item: item[0][depth])
    }
    return _build_branch(children, before, first, stamp_ns)


def _edit_directory(
    edits: list[tuple[Path, dict[SeriesKey, Series | None]]],
    depth: int,
    height: int,
    before: Directory | None,
    stamp_ns: int,
) -> Directory | None:
    """Return the directory with the edits below it made; None if it is left empty and is not the root."""
    if depth == height:
        ((_, changes),) = edits
        kept = before.series if isinstance(before, DateDirectory) else ()
        now = {**{one.key: one for one in kept}, **changes}
        series = sorted((one for one in now.values() if one is not None), key=lambda one: one.key)
        return _build_dates(tuple(series), before, False, stamp_ns) if series or depth == 0 else None
    children: dict[bytes, Directory] = dict(before.children) if isinstance(before, Branch) else {}
    came = False
    for name, group in groupby(edits, key=lambda item: item[0][depth]):
        child = _edit_directory(list(group), depth + 1, height, children.get(name), stamp_ns)
        if child is None:
            children.pop(name, None)
        else:
            came = came or name not in children
            children[name] = child
    if came:
        children = dict(sorted(children.items()))
    return _build_branch(children, before, False, stamp_ns) if children or depth == 0 else None


def _build_branch(children: Mapping[bytes, Directory], before: Directory | None, first: bool, stamp_ns: int) -> Branch:
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


def _build_dates(series: tuple[Series, ...], before: Directory | None, first: bool, stamp_ns: int) -> DateDirectory:
    digest = hash_parts(b"dates", (one.digest for one in series))
    newest_ns = max((one.newest_ns for one in series), default=NOT_SET)
    if not isinstance(before, DateDirectory):
        return DateDirectory(series, digest, _initial_time(newest_ns, stamp_ns) if first else stamp_ns, newest_ns)
    if before.digest == digest:
        return before
    same_entries = len(before.series) == len(series) and all(
        old.key == new.key and old.ambiguous == new.ambiguous and new.has_runs_of(old)
        for old, new in zip(before.series, series, strict=True)
    )
    return DateDirectory(series, digest, before.changed_ns if same_entries else stamp_ns, newest_ns)


def _initial_time(newest_ns: int, stamp_ns: int) -> int:
    return stamp_ns if newest_ns == NOT_SET else newest_ns
