"""Ready rows while a load collects them: packed into one buffer for each series, whatever order they come in.

A row takes 32 bytes here and nothing else, so that a table of ten million fits; sealing turns each buffer into sorted
columns and frees it on the way.
"""

from __future__ import annotations

from array import array
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from operator import eq, iadd, lt
from struct import Struct
from typing import Final

from readyfs.partition import SeriesKey
from readyfs.series_rows import SeriesRows
from readyfs.state.rows.vocabulary import Vocabulary

_RECORD: Final = Struct("=iiqqi4x")
"""Date, number of the run, `updated_at`, record count, number of the version; `_seal` knows where each of them lies."""


class Records:
    """Rows by the number of their series; `has_duplicates` tells, once drained, whether a partition stands twice."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._buffers: defaultdict[int, bytearray] = defaultdict(bytearray)
        self.has_duplicates = False

    def add(self, series: int, date: int, run: int, updated_at_ns: int, record_count: int, version: int) -> None:
        """Add one row: the numbers of its series, run and version, and its values."""
        self._buffers[series].extend(_RECORD.pack(date, run, updated_at_ns, record_count, version))

    def add_columns(
        self,
        series: Sequence[int],
        dates: Sequence[int],
        runs: Sequence[int],
        updated_at_ns: Sequence[int],
        record_counts: Sequence[int],
        versions: Sequence[int],
    ) -> None:
        """Add many rows at once; raise `struct.error` if a value does not fit, and add none of them then."""
        records = list(map(_RECORD.pack, dates, runs, updated_at_ns, record_counts, versions))
        # Appends each record to the buffer of its series, without a line of Python for a row.
        deque(map(iadd, map(self._buffers.__getitem__, series), records), maxlen=0)

    def drain(self) -> Iterator[tuple[SeriesKey, SeriesRows]]:
        """Yield each series with its rows sorted by date, in the order in which they came, and free its buffer."""
        for number in tuple(self._buffers):
            yield self._vocabulary.series.keys_by_number[number], self._seal(self._buffers.pop(number))

    def _seal(self, buffer: bytearray) -> SeriesRows:
        words, long_words = array("i"), array("q")
        words.frombytes(buffer)
        long_words.frombytes(buffer)
        dates, versions = words[0::8], words[6::8]
        runs, names = self._vocabulary.runs.by_number, self._vocabulary.versions.by_number
        if len(set(versions)) == 1:
            schema_versions = _repeat(names[versions[0]], len(versions))
        else:
            schema_versions = tuple(map(names.__getitem__, versions))
        is_ordered = all(map(lt, dates, islice(dates, 1, None)))
        run_ids = tuple(map(runs.__getitem__, words[1::8]))
        rows = SeriesRows(dates, run_ids, long_words[1::4], long_words[2::4], schema_versions, is_ordered)
        if is_ordered:
            return rows
        rows = rows.take(sorted(range(len(dates)), key=dates.__getitem__))
        self.has_duplicates = self.has_duplicates or any(map(eq, rows.dates, islice(rows.dates, 1, None)))
        return rows


@lru_cache(maxsize=1024)
def _repeat(version: bytes | None, count: int) -> tuple[bytes | None, ...]:
    """Return a column of one value: all series of one length share it."""
    return (version,) * count
