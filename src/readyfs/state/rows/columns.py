"""The quick way from a chunk of the state table to records: column by column, for rows as a producer writes them.

A database concatenates each column of a chunk into one text, which comes about six times faster than cells do. Here the
texts are split and each column is turned into numbers by dictionary lookups and by functions that are not Python's. Any
value that is not of the plain form raises `UnusualError`, and the chunk goes row by row through `RowParser.feed`,
which is exact about everything.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import compress, repeat
from operator import add, eq, not_, sub
from typing import Final, NamedTuple, TypeAlias, TypeVar

import orjson

from readyfs.partition import NOT_SET
from readyfs.state.rows.records import Records
from readyfs.state.rows.values import BadValueError, parse_updated_at
from readyfs.state.rows.vocabulary import Minutes, Vocabulary

SEPARATOR: Final = b"\x1f"
"""Stands between the values of a column (ASCII: unit separator)."""
NULL: Final = b"\x1e\x1e"
"""Stands for NULL. A value that is this very text would be taken for NULL, too."""

_SECOND_NS: Final = 1_000_000_000
_DIGITS_TO_ZERO: Final = bytes.maketrans(b"0123456789", b"0" * 10)
_UTC: Final = b"+00:00"
_ISO_MICROSECONDS: Final = b"0000-00-00T00:00:00.000000+00:00" + SEPARATOR
_ISO_SECONDS: Final = b"0000-00-00T00:00:00+00:00" + SEPARATOR
_UNIX_MICROSECONDS: Final = b"0000000000.000000" + SEPARATOR
_MINUTE: Final = (0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15)
"""Where the digits of the minute lie in the two ISO forms."""
_SECONDS: Final = (17, 18)
_MICROSECONDS: Final = (17, 18, 20, 21, 22, 23, 24, 25)
_SECOND_DIGITS: Final = 11
"""Of a nanosecond within a minute."""
_LEADING_1: Final = 10**_SECOND_DIGITS
_COUNT_DIGITS: Final = 19
"""As for `parse_record_count`."""

V = TypeVar("V")


Cells: TypeAlias = tuple[bytes, ...]
"""A row of a chunk, with NULL's mark for NULL."""


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
            read_times(chunk.updated_at, rows, vocabulary.minutes),
            read_counts(chunk.record_count),
            _look_up(vocabulary.versions, _versions(chunk.schema_version, rows)),
        )
        if wanted is not None:
            columns = tuple(list(compress(column, wanted)) for column in columns)
        records.add_columns(*columns)
    except (BadValueError, ValueError, KeyError, OverflowError, struct.error) as error:
        raise UnusualError from error
    return len(columns[0])


def join_chunks(chunks: Sequence[Chunk]) -> Chunk:
    """Return splittable chunks as one that holds the rows of all."""
    rows, *columns = zip(*chunks, strict=True)
    return Chunk(sum(rows), *map(SEPARATOR.join, columns))


def join_cells(rows: Sequence[Cells]) -> Chunk:
    """Return at least one row as a chunk; no cell holds the separator."""
    return Chunk(len(rows), *map(SEPARATOR.join, zip(*rows, strict=True)))


def find_differing(before: Chunk, after: Chunk) -> tuple[list[Cells], list[Cells]]:
    """Return the rows of two splittable chunks that stand in one of them only, or in another place there."""
    old, new = _split_cells(before), _split_cells(after)
    same = list(map(eq, old, new))
    if len(old) == len(new):
        differs = list(map(not_, same))
        return list(compress(old, differs)), list(compress(new, differs))
    # Rows came or went, and all behind them moved: what both begin with and what both end with is the same.
    begin = same.index(False) if False in same else len(same)
    same = list(map(eq, reversed(old[begin:]), reversed(new[begin:])))
    end = same.index(False) if False in same else len(same)
    return old[begin : len(old) - end], new[begin : len(new) - end]


def split_rows(chunk: Chunk, status: bytes) -> list[tuple[bytes | None, ...]]:
    """Return the rows of a splittable chunk as cells in the order of `ROW_FIELDS`."""
    columns = [[None if value == NULL else value for value in column.split(SEPARATOR)] for column in chunk[1:]]
    return list(zip(*columns[:4], [status] * chunk.rows, *columns[4:], strict=True))


def _split_cells(chunk: Chunk) -> list[Cells]:
    return list(zip(*(_split(column, chunk.rows) for column in chunk[1:]), strict=True))


def _split(column: bytes, rows: int) -> list[bytes]:
    """Return the values of a column; one that repeats all over is one object, which is found without a search."""
    first = column.partition(SEPARATOR)[0]
    if column == ((first + SEPARATOR) * rows)[:-1]:
        return [first] * rows
    return column.split(SEPARATOR)


def _is_uniform(values: Sequence[object]) -> bool:
    # Values of one byte are one object in CPython wherever they come from, so that the ends alone prove nothing.
    return values[0] is values[-1] and values.count(values[0]) == len(values)


def _look_up(numbers: dict[V, int], values: Sequence[V]) -> list[int]:
    if _is_uniform(values):
        return [numbers[values[0]]] * len(values)
    return list(map(numbers.__getitem__, values))


def _wanted(series: Sequence[int], dates: Sequence[int], vocabulary: Vocabulary) -> list[bool] | None:
    """Return which rows the filters want, None for all."""
    if vocabulary.admits_all:
        return None
    admitted, first, last = vocabulary.series.admitted, vocabulary.first_date, vocabulary.last_date
    return [bool(admitted[number]) and first <= date <= last for number, date in zip(series, dates, strict=True)]


def read_times(column: bytes, rows: int, minutes: Minutes) -> Sequence[int]:
    """Return nanoseconds since the epoch; raise `UnusualError` or `BadValueError`."""
    shape = column.translate(_DIGITS_TO_ZERO)
    if shape == (_ISO_MICROSECONDS * rows)[:-1]:
        return _iso_times(column, rows, minutes, len(_ISO_MICROSECONDS), _MICROSECONDS)
    if shape == (_UNIX_MICROSECONDS * rows)[:-1]:
        microseconds = _integers(column.translate(None, b".").replace(SEPARATOR, b","))
        return [count * 1_000 for count in microseconds]
    if shape == (_ISO_SECONDS * rows)[:-1]:
        return _iso_times(column, rows, minutes, len(_ISO_SECONDS), _SECONDS)
    return [NOT_SET if text == NULL else parse_updated_at(text) for text in column.split(SEPARATOR)]


def _iso_times(column: bytes, rows: int, minutes: Minutes, width: int, seconds: Sequence[int]) -> list[int]:
    """Return nanoseconds since the epoch for texts of one width; `seconds` are the places of digits after minutes."""
    if column.count(_UTC) < rows:
        raise UnusualError
    rests = _digits(column, rows, width, seconds, _SECOND_DIGITS)
    if max(rests) >= _LEADING_1 + 60 * _SECOND_NS:
        raise UnusualError
    begins = map(minutes.__getitem__, _digits(column, rows, width, _MINUTE, len(_MINUTE)))
    times = list(map(sub, map(add, begins, rests), repeat(_LEADING_1)))
    if min(times) < 0:
        raise UnusualError
    return times


def _digits(column: bytes, rows: int, width: int, places: Sequence[int], count: int) -> list[int]:
    """Return the digits at some places of each text as one number, after a 1, and zeros behind until there are `count`.

    All texts are of one width, so what stands at one place in each of them is a slice. A list in JSON is read quicker
    than `int` reads numbers, and JSON knows none that begin with 0.
    """
    text = bytearray((b"1" + b"0" * count + b",") * rows)
    for at, place in enumerate(places, 1):
        text[at :: count + 2] = column[place::width]
    return _integers(text[:-1])


def _integers(texts: bytes | bytearray) -> list[int]:
    values: list[int] = orjson.loads(b"".join((b"[", texts, b"]")))
    return values


def read_counts(column: bytes) -> Sequence[int]:
    """Return counts, `NOT_SET` for NULL; raise `UnusualError`."""
    digits = column.translate(None, SEPARATOR + NULL)
    # `int` also takes signs, blanks and underscores.
    if digits and not digits.isdigit():
        raise UnusualError
    try:
        values = _integers(column.replace(NULL, b"-1").replace(SEPARATOR, b","))
    except orjson.JSONDecodeError:
        texts = column.split(SEPARATOR)
        if not all(text == NULL or (text.isdigit() and len(text) <= _COUNT_DIGITS) for text in texts):
            raise UnusualError from None
        return [NOT_SET if text == NULL else int(text) for text in texts]
    if min(values) < NOT_SET:
        raise UnusualError  # digits after what looks like NULL
    return values


def _versions(column: bytes, rows: int) -> Sequence[bytes | None]:
    values = _split(column, rows)
    if NULL not in column:
        return values
    return [None if value == NULL else value for value in values]
