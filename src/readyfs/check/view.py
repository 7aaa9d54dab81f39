"""The runs that a view shows, read through its mount: what a check looks at in place of the state table.

Each date directory says in its extended attributes which run it is of, so that neither the layout nor the history need
be known. A directory that cannot be read, as one of an ambiguous path, is withheld with its reason.
"""

from __future__ import annotations

import errno
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from readyfs.errors import UsageError
from readyfs.partition import NOT_SET, SeriesKey, WithheldReason, WithheldTally, parse_date
from readyfs.series_rows import SeriesRows
from readyfs.series_rows.columns import Row
from readyfs.text import escape_text

_PREFIX: Final = "user.readyfs."


def resolve_view(path: Path) -> Path:
    """Return the path of a view without links, so that it stays one view; raise `UsageError` if it is none.

    The root of the live tree is none: it changes while it is read.
    """
    try:
        resolved = path.resolve(strict=True)
        os.getxattr(resolved, f"{_PREFIX}taken_at")
    except OSError as error:
        is_live = error.errno == errno.ENODATA and os.path.ismount(path)
        why = "it is the live tree, which changes" if is_live else error.strerror
        raise UsageError(
            f"{escape_text(os.fsencode(path))} is no view that can be read: {why}",
            "name one as `readyfs pin` prints it",
        ) from error
    return resolved


class AmbiguousDirectoryError(OSError):
    """A directory stands where two ready rows claim one path: it tells no run, and none of its files can be read."""

    def __init__(self, path: str) -> None:
        """Say what a reader of its files is told."""
        super().__init__(errno.EIO, os.strerror(errno.EIO), path)


class ShownRow(NamedTuple):
    """A date directory of a view: its path, and the row that it shows."""

    path: str
    series: SeriesKey
    row: Row


def read_view(view: Path) -> tuple[dict[SeriesKey, SeriesRows], WithheldTally]:
    """Return the rows of a view and what cannot be read of it; raise `UsageError` if it is gone."""
    rows: dict[SeriesKey, list[Row]] = defaultdict(list)
    withheld = WithheldTally()

    def withhold(path: str, error: OSError) -> None:
        withheld.add(WithheldReason.AMBIGUOUS_PATH, escape_text(os.fsencode(path)), str(error.strerror))

    for _path, series, row in walk_view(view, withhold):
        rows[series].append(row)
    return {key: SeriesRows.of(sorted(found, key=lambda row: row[0])) for key, found in rows.items()}, withheld


def walk_view(view: Path, note_unreadable: Callable[[str, OSError], None]) -> Iterator[ShownRow]:
    """Yield what a view shows, and tell of each directory that cannot be read; raise `UsageError` if the view is gone.

    A directory of an ambiguous path is one that cannot be read.
    """
    try:
        left = _below(os.fspath(view))
    except OSError as error:
        raise UsageError(
            f"the view {escape_text(os.fsencode(view))} cannot be read: {error.strerror}", "pin another"
        ) from error
    while left:
        path = left.pop()
        try:
            found = read_row(path)
            if found is None:
                left.extend(_below(path))
                continue
        except OSError as error:
            note_unreadable(path, error)
            continue
        yield found


def _below(path: str) -> list[str]:
    """Return the directories in a directory above the dates, the first name last; raise `OSError`.

    One that holds files and tells no run is that of an ambiguous path: `AmbiguousDirectoryError`.
    """
    with os.scandir(path) as entries:
        found = list(entries)
    if any(entry.is_file(follow_symlinks=False) for entry in found):
        raise AmbiguousDirectoryError(path)
    return sorted((entry.path for entry in found if entry.is_dir(follow_symlinks=False)), reverse=True)


def read_row(path: str) -> ShownRow | None:
    """Return the row of a date directory, None for one above the dates; raise `OSError`.

    Each attribute is a request to the daemon, so that only what a check compares is asked for.
    """
    run_id = _read(path, "run_id")
    if run_id is None:
        return None
    date = parse_date(_read(path, "logical_date") or b"")
    if date is None:
        return None
    source, customer, query = (_read(path, name) or b"" for name in ("source", "customer_id", "query_name"))
    records = _read(path, "record_count")
    count = NOT_SET if records is None else int(records)
    row = (date, run_id, NOT_SET, count, _read(path, "schema_version"))
    return ShownRow(path, SeriesKey(source, customer, query), row)


def _read(path: str, name: str) -> bytes | None:
    try:
        return os.getxattr(path, _PREFIX + name)
    except OSError as error:
        if error.errno == errno.ENODATA:
            return None
        raise
