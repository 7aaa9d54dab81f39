"""Ready rows while a load collects them: packed into one buffer for each series, whatever order they come in.

A row takes 32 bytes here and nothing else, so that a table of ten million fits; sealing turns each buffer into sorted
columns and frees it on the way.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from operator import eq, iadd, itemgetter, lt
from struct import Struct
from typing import Final

from readyfs.partition import SeriesKey
from readyfs.series_rows import SeriesRows
from readyfs.state.rows.vocabulary import Vocabulary

_RECORD: Final = Struct("=4q")
_BYTES: Final = Struct(f"{_RECORD.size}s")
_RUN_BITS: Final = 40
_RUN_MASK: Final = (1 << _RUN_BITS) - 1


class Records:
    """Rows by the number of their series; `members` lists them all as series << 32 | date.

    `has_duplicates` tells, once drained, whether a partition stands twice.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._buffers: dict[int, bytearray] = {}
        self.members = array("q")
        self.has_duplicates = False

    def add(self, series: int, date: int, run: int, updated_at_ns: int, record_count: int, version: int) -> None:
        """Add one row: the numbers of its series, run and version, and its values."""
        self._buffer(series).extend(_RECORD.pack(date << _RUN_BITS | run, updated_at_ns, record_count, version))
        self.members.append(series << 32 | date)

    def add_columns(
        self,
        series: Sequence[int],
        dates: Sequence[int],
        runs: Sequence[int],
        updated_at_ns: Sequence[int],
        record_counts: Sequence[int],
        versions: Sequence[int],
    ) -> None:
        """Add many rows at once; raise OverflowError if a value does not fit, and add none of them then."""
        packed = array("q", bytes(_RECORD.size * len(series)))
        packed[0::4] = array("q", [date << _RUN_BITS | run for date, run in zip(dates, runs, strict=True)])
        packed[1::4] = array("q", updated_at_ns)
        packed[2::4] = array("q", record_counts)
        packed[3::4] = array("q", versions)
        for number in set(series).difference(self._buffers):
            self._buffers[number] = bytearray()
        records = map(itemgetter(0), _BYTES.iter_unpack(packed))
        # Appends each record to the buffer of its series, without a line of Python for a row.
        deque(map(iadd, map(self._buffers.__getitem__, series), records), maxlen=0)
        self.members.extend([number << 32 | date for number, date in zip(series, dates, strict=True)])

    def take_members(self) -> array[int]:
        """Return the rows that were added since the last call."""
        members, self.members = self.members, array("q")
        return members

    def drain(self) -> Iterator[tuple[SeriesKey, SeriesRows]]:
        """Yield each series with its rows sorted by date, in the order in which they came, and free its buffer."""
        for number in tuple(self._buffers):
            yield self._vocabulary.series.keys_by_number[number], self._seal(self._buffers.pop(number))

    def _buffer(self, series: int) -> bytearray:
        buffer = self._buffers.get(series)
        if buffer is None:
            buffer = self._buffers[series] = bytearray()
        return buffer

    def _seal(self, buffer: bytearray) -> SeriesRows:
        columns = array("q")
        columns.frombytes(buffer)
        heads, versions = columns[0::4].tolist(), columns[3::4]
        dates = array("i", [head >> _RUN_BITS for head in heads])
        runs, names = self._vocabulary.runs.by_number, self._vocabulary.versions.by_number
        if len(set(versions)) == 1:
            schema_versions = _repeat(names[versions[0]], len(versions))
        else:
            schema_versions = tuple([names[version] for version in versions])
        is_ordered = all(map(lt, dates, islice(dates, 1, None)))
        run_ids = tuple([runs[head & _RUN_MASK] for head in heads])
        rows = SeriesRows(dates, run_ids, columns[1::4], columns[2::4], schema_versions, is_ordered)
        if is_ordered:
            return rows
        rows = rows.take(sorted(range(len(dates)), key=dates.__getitem__))
        self.has_duplicates = self.has_duplicates or any(map(eq, rows.dates, islice(rows.dates, 1, None)))
        return rows


@lru_cache(maxsize=1024)
def _repeat(version: bytes | None, count: int) -> tuple[bytes | None, ...]:
    """Return a column of one value: all series of one length share it."""
    return (version,) * count
