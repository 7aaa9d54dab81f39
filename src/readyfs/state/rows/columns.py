"""The quick way from a chunk of the state table to records: column by column, for rows as a producer writes them.

A database concatenates each column of a chunk into one text, which comes about six times faster than cells do. Here the
texts are split and each column is turned into numbers by dictionary lookups and by functions that are not Python's. Any
value that is not of the plain form raises `UnusualError`, and the chunk goes row by row through `RowParser.feed`,
which is exact about everything.
"""

from __future__ import annotations

import datetime
from array import array
from collections.abc import Sequence
from itertools import compress
from typing import Final, NamedTuple, TypeVar

from readyfs.partition import NOT_SET
from readyfs.state.rows.records import Records
from readyfs.state.rows.values import BadValueError, parse_updated_at
from readyfs.state.rows.vocabulary import Vocabulary

SEPARATOR: Final = b"\x1f"
"""Stands between the values of a column (ASCII: unit separator)."""
NULL: Final = b"\x1e\x1e"
"""Stands for NULL. A value that is this very text would be taken for NULL, too."""

_SECOND_NS: Final = 1_000_000_000
_EPOCH_DAY: Final = datetime.date(1970, 1, 1).toordinal()
_DIGITS_TO_ZERO: Final = bytes.maketrans(b"0123456789", b"0" * 10)
_UTC: Final = b"+00:00"
_ISO_MICROSECONDS: Final = b"0000-00-00T00:00:00.000000+00:00" + SEPARATOR
_ISO_SECONDS: Final = b"0000-00-00T00:00:00+00:00" + SEPARATOR
_UNIX_MICROSECONDS: Final = b"0000000000.000000" + SEPARATOR


V = TypeVar("V")


class UnusualError(Exception):
    """A chunk holds something that only the row parser can judge."""


class Chunk(NamedTuple):
    """So many ready rows of the table, one text for each column in the order of `ROW_FIELDS` without the status."""

    rows: int
    source: bytes
    customer_id: bytes
    query_name: bytes
    logical_date: bytes
    current_run_id: bytes
    updated_at: bytes
    record_count: bytes
    schema_version: bytes

    @property
    def is_splittable(self) -> bool:
        """Whether every column splits into as many values as there are rows: none of them holds the separator."""
        return all(column.count(SEPARATOR) == self.rows - 1 for column in self[1:])


class _Days(dict[bytes, int]):
    """Nanoseconds since the epoch at the beginning of a day, by its ISO text."""

    def __missing__(self, text: bytes) -> int:
        ordinal = datetime.date.fromisoformat(text.decode("ascii")).toordinal()
        value = self[text] = (ordinal - _EPOCH_DAY) * 86_400 * _SECOND_NS
        return value


_DAYS: Final = _Days()
_HOURS: Final = {b"%02d" % hour: hour * 3600 * _SECOND_NS for hour in range(24)}
_MINUTES: Final = {b"%02d" % minute: minute * 60 * _SECOND_NS for minute in range(60)}
_TO_SEPARATORS: Final = bytes.maketrans(b"T:", SEPARATOR * 2)


def add_chunk(chunk: Chunk, vocabulary: Vocabulary, records: Records) -> int:
    """Add the rows of a chunk to the records, those that the filters want; return how many these were.

    Raises `UnusualError` if a value is not of the plain form; nothing was added then.
    """
    try:
        if any(NULL in column for column in chunk[1:6]):
            raise UnusualError
        rows = chunk.rows
        key = zip(*(_split(column, rows) for column in chunk[1:4]), strict=True)
        series = list(map(vocabulary.series.__getitem__, key))
        dates = _look_up(vocabulary.dates, _split(chunk.logical_date, rows))
        wanted = _wanted(series, dates, vocabulary)
        runs = _split(chunk.current_run_id, rows)
        if b"" in runs:
            raise UnusualError
        columns: tuple[Sequence[int], ...] = (
            series,
            dates,
            _look_up(vocabulary.runs, runs),
            _times(chunk.updated_at, rows),
            _counts(chunk.record_count),
            _look_up(vocabulary.versions, _versions(_split(chunk.schema_version, rows))),
        )
        if wanted is not None:
            columns = tuple(list(compress(column, wanted)) for column in columns)
        records.add_columns(*columns)
    except (BadValueError, ValueError, KeyError, OverflowError) as error:
        raise UnusualError from error
    return len(columns[0])


def split_rows(chunk: Chunk, status: bytes) -> list[tuple[bytes | None, ...]]:
    """Return the rows of a splittable chunk as cells in the order of `ROW_FIELDS`."""
    columns = [[None if value == NULL else value for value in column.split(SEPARATOR)] for column in chunk[1:]]
    return list(zip(*columns[:4], [status] * chunk.rows, *columns[4:], strict=True))


def _split(column: bytes, rows: int) -> list[bytes]:
    """Return the values of a column; one that repeats all over is one object, which is found without a search."""
    first = column.partition(SEPARATOR)[0]
    if column == ((first + SEPARATOR) * rows)[:-1]:
        return [first] * rows
    return column.split(SEPARATOR)


def _is_uniform(values: Sequence[object]) -> bool:
    # Values of one byte are one object in CPython wherever they come from, so that the ends alone prove nothing.
    return values[0] is values[-1] and values.count(values[0]) == len(values)


def _look_up(numbers: dict[V, int], values: list[V]) -> list[int]:
    if _is_uniform(values):
        return [numbers[values[0]]] * len(values)
    return list(map(numbers.__getitem__, values))


def _wanted(series: Sequence[int], dates: Sequence[int], vocabulary: Vocabulary) -> list[bool] | None:
    """Return which rows the filters want, None for all."""
    if vocabulary.admits_all:
        return None
    admitted, first, last = vocabulary.series.admitted, vocabulary.first_date, vocabulary.last_date
    return [bool(admitted[number]) and first <= date <= last for number, date in zip(series, dates, strict=True)]


def _times(column: bytes, rows: int) -> Sequence[int]:
    shape = column.translate(_DIGITS_TO_ZERO)
    if shape == (_ISO_MICROSECONDS * rows)[:-1]:
        return _iso_times(column, 1_000)
    if shape == (_UNIX_MICROSECONDS * rows)[:-1]:
        microseconds = map(int, column.translate(None, b".").split(SEPARATOR))
        return [count * 1_000 for count in microseconds]
    if shape == (_ISO_SECONDS * rows)[:-1]:
        return _iso_times(column, _SECOND_NS)
    return [NOT_SET if text == NULL else parse_updated_at(text) for text in column.split(SEPARATOR)]


def _iso_times(column: bytes, unit_ns: int) -> list[int]:
    # Day, hour, minute, and the rest without its dot as a whole number of units.
    parts = column.replace(b"+00:00", b"").translate(_TO_SEPARATORS, b".").split(SEPARATOR)
    counts = list(map(int, parts[3::4]))
    if max(counts) * unit_ns >= 60 * _SECOND_NS:
        raise UnusualError
    columns = (map(_DAYS.__getitem__, parts[0::4]), map(_HOURS.__getitem__, parts[1::4]))
    minutes = map(_MINUTES.__getitem__, parts[2::4])
    times = [
        day + hour + minute + count * unit_ns
        for day, hour, minute, count in zip(*columns, minutes, counts, strict=True)
    ]
    if min(times) < 0:
        raise UnusualError
    return times


def _counts(column: bytes) -> Sequence[int]:
    values = column.split(SEPARATOR)
    # `int` also takes signs, blanks and underscores.
    if column.translate(None, SEPARATOR).isdigit():
        return array("q", map(int, values))
    if not all(value.isdigit() or value == NULL for value in values):
        raise UnusualError
    return [NOT_SET if value == NULL else int(value) for value in values]


def _versions(values: list[bytes]) -> list[bytes | None]:
    if _is_uniform(values):
        return [None if values[0] == NULL else values[0]] * len(values)
    return [None if value == NULL else value for value in values]
