"""The runs that a view shows, read through its mount: what a check looks at in place of the state table.

Each date directory says in its extended attributes which run it is of, so that neither the layout nor the history need
be known. A directory that cannot be read, as one of an ambiguous path, is withheld with its reason.
"""

from __future__ import annotations

import datetime
import os
from collections import defaultdict
from pathlib import Path
from typing import Final

from readyfs.errors import UsageError
from readyfs.partition import NOT_SET, SeriesKey, WithheldReason, WithheldTally, parse_date
from readyfs.series_rows import SeriesRows
from readyfs.series_rows.columns import Row
from readyfs.text import escape_text

_PREFIX: Final = "user.readyfs."


def read_view(view: Path) -> tuple[dict[SeriesKey, SeriesRows], WithheldTally]:
    """Return the rows of a view and what cannot be read of it; raise `UsageError` if it is no view."""
    shown = escape_text(os.fsencode(view))
    try:
        os.getxattr(view, f"{_PREFIX}fingerprint")
        left = _below(os.fspath(view))
    except OSError as error:
        raise UsageError(
            f"{shown} is no view that can be read: {error.strerror}", "name one as `readyfs pin` prints it"
        ) from error
    rows: dict[SeriesKey, list[Row]] = defaultdict(list)
    withheld = WithheldTally()
    while left:
        path = left.pop()
        try:
            found = _read_row(path)
            if found is None:
                left.extend(_below(path))
                continue
        except OSError as error:
            withheld.add(WithheldReason.AMBIGUOUS_PATH, escape_text(os.fsencode(path)), str(error.strerror))
            continue
        key, row = found
        rows[key].append(row)
    return {key: SeriesRows.of(sorted(found, key=lambda row: row[0])) for key, found in rows.items()}, withheld


def _below(path: str) -> list[str]:
    """Return what is in a directory, the first name last."""
    return [f"{path}/{name}" for name in sorted(os.listdir(path), reverse=True)]


def _read_row(path: str) -> tuple[SeriesKey, Row] | None:
    """Return the row of a date directory, None for one above the dates; raise `OSError`."""
    names = frozenset(os.listxattr(path))
    if f"{_PREFIX}run_id" not in names:
        return None

    def read(name: str) -> bytes | None:
        return os.getxattr(path, _PREFIX + name) if _PREFIX + name in names else None

    source, customer, query, run_id = (read(name) or b"" for name in ("source", "customer_id", "query_name", "run_id"))
    date = parse_date(read("logical_date") or b"")
    if date is None:
        return None
    updated_at, records = read("updated_at"), read("record_count")
    updated_at_ns = NOT_SET if updated_at is None else _parse_time(updated_at)
    count = NOT_SET if records is None else int(records)
    return SeriesKey(source, customer, query), (date, run_id, updated_at_ns, count, read("schema_version"))


def _parse_time(text: bytes) -> int:
    since = datetime.datetime.fromisoformat(text.decode("ascii")) - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    return (since.days * 86400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000
