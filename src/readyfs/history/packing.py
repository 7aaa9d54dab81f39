"""Changes as bytes: columns of many series behind each other, compressed, in pieces of about a megabyte.

Texts that rows share stand once in a piece, and rows have their positions. So they are one object when they are read,
too, however many rows there are. Whatever is read was checked by a checksum before. What is sound and makes no sense
all the same is `DamagedError`.
"""

from __future__ import annotations

import datetime
import struct
import sys
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from operator import lt
from typing import Final, TypeVar

from readyfs.history.changes import SeriesChange
from readyfs.partition import SeriesKey
from readyfs.series_rows.blocks import little_endian
from readyfs.series_rows.columns import Columns

PIECE_BYTES: Final = 1 << 20
"""About so much is packed at once: what is on the way to the disk takes this much memory, whatever a catalog takes."""
_COUNTS: Final = struct.Struct("<7I")
_ROW_BYTES: Final = 40
_LEVEL: Final = 1
"""The fastest: ids compress to a third with any level."""
_NULL: Final = -1
_FIRST_DATE: Final = datetime.date.min.toordinal()
_LAST_DATE: Final = datetime.date.max.toordinal()
_MOST_BYTES: Final = 1 << 30
"""No piece takes more: it ends with the series by which it is as large as a piece shall be."""

T = TypeVar("T")


class DamagedError(Exception):
    """What is on disk is not what was written there, or not ours; the text says why."""


def pack_pieces(changes: Iterable[SeriesChange]) -> Iterator[bytes]:
    """Yield changes as pieces."""
    piece: list[SeriesChange] = []
    size = 0
    for change in changes:
        piece.append(change)
        size += _ROW_BYTES * (1 + len(change.rows)) + sum(map(len, change.rows.run_ids))
        if size >= PIECE_BYTES:
            yield _pack(piece)
            piece, size = [], 0
    if piece:
        yield _pack(piece)


def _pack(changes: list[SeriesChange]) -> bytes:
    key_sizes, sizes = array("I"), array("I")
    dates, gone, ambiguous = array("i"), array("i"), array("i")
    updated_at_ns, record_counts = array("q"), array("q")
    keys: list[bytes] = []
    run_ids: list[bytes] = []
    versions: list[bytes | None] = []
    for change in changes:
        rows = change.rows
        own = rows.compact().schema_versions
        keys.extend(change.key)
        sizes.extend((len(rows), len(change.gone), len(change.ambiguous), len(own), change.is_whole))
        dates.extend(rows.dates)
        run_ids.extend(rows.run_ids)
        updated_at_ns.extend(rows.updated_at_ns)
        record_counts.extend(rows.record_counts)
        gone.extend(change.gone)
        ambiguous.extend(change.ambiguous)
        versions.extend(own)
    run_texts, run_places = _once(run_ids)
    version_texts, version_places = _once(versions)
    key_sizes.extend(map(len, keys))
    columns = (
        key_sizes,
        sizes,
        dates,
        gone,
        ambiguous,
        updated_at_ns,
        record_counts,
        array("I", map(len, run_texts)),
        run_places,
        array("i", [_NULL if version is None else len(version) for version in version_texts]),
        version_places,
    )
    counts = (len(changes), len(dates), len(gone), len(ambiguous), len(run_texts), len(versions), len(version_texts))
    texts = (*keys, *run_texts, *[version or b"" for version in version_texts])
    return zlib.compress(b"".join((_COUNTS.pack(*counts), *map(little_endian, columns), *texts)), _LEVEL)


def _once(values: Sequence[T]) -> tuple[Sequence[T], array[int]]:
    """Return distinct values and where each stands among them; all values and no positions if few are equal."""
    places = {value: place for place, value in enumerate(dict.fromkeys(values))}
    if len(places) * 2 > len(values):
        return values, array("I")
    return [*places], array("I", map(places.__getitem__, values))


def unpack_piece(piece: bytes) -> Iterator[SeriesChange]:
    """Yield the changes of a piece; raise `DamagedError`."""
    yield from parse_piece(inflate_piece(piece, _MOST_BYTES))


def inflate_piece(piece: bytes | memoryview, most: int) -> bytes:
    """Return a piece as it was before it was compressed, at most so many bytes; raise `DamagedError`."""
    inflating = zlib.decompressobj()
    try:
        text = inflating.decompress(piece, max(most, 1))
    except zlib.error as error:
        raise DamagedError(f"a piece of it makes no sense: {error}") from error
    if not inflating.eof or inflating.unused_data:
        raise DamagedError("a piece of it is cut short, or takes too much memory")
    return text


def parse_piece(text: bytes) -> Iterator[SeriesChange]:
    """Yield the changes in a piece that is not compressed any more; raise `DamagedError`."""
    try:
        yield from _unpack(text)
    except (struct.error, ValueError, IndexError, OverflowError) as error:
        raise DamagedError(f"a piece of it makes no sense: {error}") from error


def _unpack(text: bytes) -> Iterator[SeriesChange]:
    series, rows, gone_count, ambiguous_count, run_count, own_count, version_count = _COUNTS.unpack_from(text)
    reader = _Reader(text, _COUNTS.size)
    key_sizes, sizes = reader.numbers("I", 3 * series), reader.numbers("I", 5 * series)
    dates, gone, ambiguous = (reader.numbers("i", count) for count in (rows, gone_count, ambiguous_count))
    for days in (dates, gone, ambiguous):
        if days and not _FIRST_DATE <= min(days) <= max(days) <= _LAST_DATE:
            raise ValueError("there is no such date")
    updated_at_ns, record_counts = reader.numbers("q", rows), reader.numbers("q", rows)
    run_sizes = reader.numbers("I", run_count)
    run_places = reader.numbers("I", rows if run_count < rows else 0)
    version_sizes = reader.numbers("i", version_count)
    version_places = reader.numbers("I", own_count if version_count < own_count else 0)
    keys = reader.texts(key_sizes)
    run_ids = _each(reader.texts(run_sizes), run_places, rows)
    stripped = reader.texts([max(size, 0) for size in version_sizes])
    given = tuple([None if size == _NULL else one for size, one in zip(version_sizes, stripped, strict=True)])
    versions = _each(given, version_places, own_count)
    row = went = claimed = version = 0
    key = iter(keys)
    numbers = iter(sizes)
    for names, counts in zip(zip(key, key, key, strict=True), zip(*[numbers] * 5, strict=True), strict=True):
        row_size, gone_size, ambiguous_size, own_size, is_whole = counts
        own = versions[version : version + own_size]
        end = row + row_size
        if len(own) not in (min(1, row_size), row_size) or end > rows:
            raise ValueError("sizes do not fit")
        # Else what looks at the first and the last date, or searches, would be deceived.
        own_dates = dates[row:end]
        if not all(map(lt, own_dates, own_dates[1:])):
            raise ValueError("its dates are not in order")
        yield SeriesChange(
            SeriesKey._make(names),
            Columns(own_dates, run_ids[row:end], updated_at_ns[row:end], record_counts[row:end], own),
            gone[went : went + gone_size],
            ambiguous[claimed : claimed + ambiguous_size],
            bool(is_whole),
        )
        row, went, claimed, version = end, went + gone_size, claimed + ambiguous_size, version + own_size


def _each(values: tuple[T, ...], places: array[int], count: int) -> tuple[T, ...]:
    """Do the inverse of `_once`, for so many values."""
    if len(places):
        return tuple(map(values.__getitem__, places))
    if len(values) != count:
        raise ValueError("counts do not fit")
    return values


class _Reader:
    def __init__(self, text: bytes, place: int) -> None:
        self._text = text
        self._place = place

    def numbers(self, kind: str, count: int) -> array[int]:
        found = array(kind)
        found.frombytes(self._take(count * found.itemsize))
        if sys.byteorder == "big":
            found.byteswap()
        return found

    def texts(self, sizes: Sequence[int]) -> tuple[bytes, ...]:
        # One call for all of them takes half of the time that a slice for each would.
        codes = {size: f"{size}s" for size in set(sizes)}
        form = struct.Struct("".join(map(codes.__getitem__, sizes)))
        return form.unpack(self._take(form.size))

    def _take(self, size: int) -> bytes:
        end = self._place + size
        if end > len(self._text):
            raise ValueError("it is too short")
        text, self._place = self._text[self._place : end], end
        return text
