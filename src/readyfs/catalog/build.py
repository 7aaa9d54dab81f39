"""Building a catalog from the rows of one load.

Used by the refresh, off the serving thread. What did not change is taken over from the catalog before, object by
object, so that comparing two catalogs costs in proportion to what differs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby

from readyfs.catalog.series import Series, build_series, hash_parts
from readyfs.catalog.tree import Branch, Catalog, DateDirectory, Directory, Path
from readyfs.layout import MountLayout, RawLayout, UnusableNameError
from readyfs.partition import (
    NOT_SET,
    PartitionKey,
    SeriesKey,
    SeriesRows,
    WithheldReason,
    WithheldTally,
    escape_text,
)


@dataclass(frozen=True, slots=True)
class CatalogShape:
    """What, beside the rows, decides what a path means; all of it goes into the fingerprint."""

    layout: MountLayout
    raw_layout: RawLayout
    files: tuple[str, ...] = ()
    required_files: tuple[str, ...] = ()

    def digest_parts(self) -> tuple[bytes, ...]:
        """Return the settings as byte strings for hashing."""
        raw = self.raw_layout
        texts = (self.layout.template, raw.template, raw.encoding.value, str(len(self.files)))
        # A pattern for names that are not UTF-8 comes as surrogates.
        return tuple(os.fsencode(text) for text in (*texts, *sorted(self.files), *sorted(self.required_files)))


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build found beside the catalog.

    `ignored_by_spark` counts partitions below a name that begins with `.` or `_`: served, but Spark and pyarrow
    skip such names when they list a directory (V12).
    """

    withheld: WithheldTally
    ignored_by_spark: int


def build_catalog(
    rows: Mapping[SeriesKey, SeriesRows], shape: CatalogShape, previous: Catalog | None, now_ns: int
) -> tuple[Catalog, BuildReport]:
    """Build the catalog of the rows; return it with what had to be withheld for its name or path.

    `now_ns` is wall-clock time in nanoseconds since the epoch; `rows` is taken over. If nothing that a reader can
    see differs, the result has the fingerprint of `previous`.
    """
    withheld = WithheldTally()
    placed: list[tuple[Path, Series]] = []
    by_key: dict[SeriesKey, Series] = {}
    known_runs: dict[bytes, str | None] = {}
    ignored_by_spark = 0
    for key, columns in rows.items():
        try:
            path = shape.layout.directory_of(key)
        except UnusableNameError as error:
            _withhold_series(withheld, WithheldReason.UNUSABLE_NAME, key, columns, str(error))
            continue
        try:
            shape.raw_layout.check_series(key)
        except UnusableNameError as error:
            _withhold_series(withheld, WithheldReason.UNUSABLE_RAW_PATH, key, columns, str(error))
            continue
        series = build_series(key, _usable_runs(key, columns, shape.raw_layout, known_runs, withheld))
        if not len(series) and not series.ambiguous:
            continue
        before = previous.by_key.get(key) if previous is not None else None
        if before is not None and before.digest == series.digest:
            series = before
        if any(name.startswith((b".", b"_")) for name in path):
            ignored_by_spark += len(series)
        by_key[key] = series
        placed.append((path, series))
    placed.sort(key=lambda item: (item[0], item[1].key))
    stamp_ns = now_ns if previous is None else max(now_ns, previous.stamp_ns + 1)
    first = previous is None
    root = _build_directory(placed, 0, len(shape.layout.above), previous.root if previous else None, first, stamp_ns)
    catalog = Catalog(
        root=root,
        layout=shape.layout,
        fingerprint=hash_parts(b"catalog", (*shape.digest_parts(), root.digest)).hex(),
        partitions=_count(root),
        stamp_ns=max(stamp_ns, root.newest_ns) if first else stamp_ns,
        by_key=by_key,
    )
    for directory, date, claims in catalog.ambiguities():
        path_text = "/".join(escape_text(name) for name in (*directory, shape.layout.date_name(date)))
        rows_text = ", ".join(str(PartitionKey(claim, date)) for claim in claims)
        withheld.add(WithheldReason.AMBIGUOUS_PATH, path_text, f"claimed by the ready rows of {rows_text}")
    return catalog, BuildReport(withheld, ignored_by_spark)


def _withhold_series(tally: WithheldTally, reason: WithheldReason, key: SeriesKey, rows: SeriesRows, why: str) -> None:
    for date in rows.dates:
        tally.add(reason, str(PartitionKey(key, date)), why)


def _usable_runs(
    key: SeriesKey, rows: SeriesRows, raw: RawLayout, known: dict[bytes, str | None], tally: WithheldTally
) -> SeriesRows:
    """Return the rows whose run id can be a raw path; `known` remembers the verdict of each run id in this load."""
    for run_id in set(rows.run_ids).difference(known):
        try:
            raw.check_run_id(run_id)
        except UnusableNameError as error:
            known[run_id] = str(error)
        else:
            known[run_id] = None
    if not any(map(known.__getitem__, rows.run_ids)):
        return rows
    usable = SeriesRows()
    columns = (rows.dates, rows.run_ids, rows.updated_at_ns, rows.record_counts, rows.schema_versions)
    for date, run_id, updated_at_ns, record_count, schema_version in zip(*columns, strict=True):
        why = known[run_id]
        if why is None:
            usable.append(date, run_id, updated_at_ns, record_count, schema_version)
        else:
            tally.add(WithheldReason.UNUSABLE_RAW_PATH, str(PartitionKey(key, date)), why)
    return usable


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
    digest = hash_parts(b"branch", (part for name, child in children.items() for part in (name, child.digest)))
    if isinstance(before, Branch) and before.digest == digest:
        return before
    newest_ns = max((child.newest_ns for child in children.values()), default=NOT_SET)
    if isinstance(before, Branch) and before.children.keys() == children.keys():
        changed_ns = before.changed_ns
    else:
        changed_ns = _initial_time(newest_ns, stamp_ns) if first else stamp_ns
    return Branch(children, digest, changed_ns, newest_ns)


def _build_dates(series: tuple[Series, ...], before: Directory | None, first: bool, stamp_ns: int) -> DateDirectory:
    digest = hash_parts(b"dates", (one.digest for one in series))
    newest_ns = max((one.newest_ns for one in series), default=NOT_SET)
    if not isinstance(before, DateDirectory):
        return DateDirectory(series, digest, _initial_time(newest_ns, stamp_ns) if first else stamp_ns, newest_ns)
    if before.digest == digest:
        return before
    same_entries = len(before.series) == len(series) and all(
        old.key == new.key and old.dates == new.dates and old.run_ids == new.run_ids and old.ambiguous == new.ambiguous
        for old, new in zip(before.series, series, strict=True)
    )
    return DateDirectory(series, digest, before.changed_ns if same_entries else stamp_ns, newest_ns)


def _initial_time(newest_ns: int, stamp_ns: int) -> int:
    return stamp_ns if newest_ns == NOT_SET else newest_ns


def _count(node: Directory) -> int:
    if isinstance(node, DateDirectory):
        return node.partitions
    return sum(_count(child) for child in node.children.values())
