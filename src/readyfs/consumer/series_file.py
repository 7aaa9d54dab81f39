"""CSV files that name series: their header, their lines, and errors that say where they are."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from readyfs.errors import UsageError
from readyfs.partition import SeriesKey, parse_date
from readyfs.text import escape_text

_LARGEST_BYTES: Final = 64 << 20
KEY_COLUMNS: Final = ("source", "customer_id", "query_name")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file; `place` names the file and the line."""

    place: str
    fields: dict[str, str]

    @property
    def series(self) -> SeriesKey:
        """The series that it names."""
        source, customer_id, query_name = (_encode(self.fields[name]) for name in KEY_COLUMNS)
        return SeriesKey(source, customer_id, query_name)

    def date(self, column: str) -> int | None:
        """Return the ordinal of a date, None for an empty field; raise `UsageError` for what is no date."""
        text = self.fields[column].strip()
        date = parse_date(_encode(text)) if text else None
        if text and date is None:
            raise self.error(f"{column} '{text}' is no date", "write it as 2024-06-01")
        return date

    def required_date(self, column: str) -> int:
        """Return the ordinal of a date; raise `UsageError` for an empty field too."""
        date = self.date(column)
        if date is None:
            raise self.error(f"{column} is empty", "write a date such as 2024-06-01")
        return date

    def error(self, message: str, remedy: str) -> UsageError:
        """Return an error that says where it is."""
        return UsageError(f"{self.place}: {escape_text(_encode(message))}", remedy)


def read_lines(path: Path, flag: str, required: Collection[str], optional: Collection[str]) -> Iterator[Line]:
    """Yield the lines of a CSV file whose header names the columns of a series, the required and some optional ones.

    Empty lines, and those that begin with `#`, are left out; optional columns that are not there are empty. Raises
    `UsageError` for a file that cannot be read, or is of another form; `flag` is the option that names it.
    """
    shown = escape_text(os.fsencode(path))
    columns = (*KEY_COLUMNS, *required)
    remedy = f"the first line must be {','.join(columns)}, then if you like {','.join(optional)}"
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read {shown}: {error.strerror}", f"name another file with {flag}") from error
    if len(content) > _LARGEST_BYTES:
        raise UsageError(f"{shown} has more than 64 MiB", f"name a list of series with {flag}")
    lines = io.StringIO(content.decode("utf-8", "surrogateescape"), newline="")
    try:
        reader = csv.reader(_without_comments(lines), strict=True)
        header = next(filter(None, reader), None)
        if header is None:
            raise UsageError(f"{shown} is empty", remedy)
        names = [name.strip().removeprefix("\ufeff") for name in header]
        unknown = [name for name in names if name not in (*columns, *optional)]
        if unknown or len(set(names)) < len(names) or not set(columns) <= set(names):
            raise UsageError(f"{shown} has another header: {escape_text(_encode(','.join(names)))}", remedy)
        for cells in filter(None, reader):
            place = f"{shown} line {reader.line_num}"
            if len(cells) != len(names):
                raise UsageError(
                    f"{place} has {len(cells)} fields and the header {len(names)}",
                    "put a field that holds a comma into double quotes",
                )
            yield Line(place, dict.fromkeys(optional, "") | dict(zip(names, cells, strict=True)))
    except csv.Error as error:
        raise UsageError(f"{shown} is not CSV: {escape_text(str(error))}", "mend that line") from error


def _without_comments(lines: Iterator[str]) -> Iterator[str]:
    """Yield the lines, those left out as empty ones so that numbers stay right."""
    for line in lines:
        yield "" if line.startswith("#") else line


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
