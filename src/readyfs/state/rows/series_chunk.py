"""The quick way from a database to the rows of a series: each column as one text, as a load reads chunks of a table.

The database says of each row whether it is plain: ready, with a run id, and of types whose text means what the cell
does. Any other row comes by itself and is judged. Whatever is not of the plain form here raises `UnusualError`, and
then all rows of the series are judged one by one.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import compress, islice
from operator import lt, not_
from typing import Final, NamedTuple

from readyfs.partition import NOT_SET, SeriesKey
from readyfs.series_rows import SeriesRows
from readyfs.state.filters import Filters
from readyfs.state.rows.columns import NULL, SEPARATOR, UnusualError, read_counts, read_times
from readyfs.state.rows.judge import SAYS_READY
from readyfs.state.rows.parser import Row
from readyfs.state.rows.values import BadValueError
from readyfs.state.rows.vocabulary import DateOrdinals, Minutes


class SeriesChunk(NamedTuple):
    """All rows of a series, one text for each column; `signs` are empty for plain rows.

    The last three are None where nobody asked for them.
    """

    source: bytes
    customer_id: bytes
    query_name: bytes
    rows: int
    signs: bytes
    logical_date: bytes
    updated_at: bytes
    current_run_id: bytes | None = None
    record_count: bytes | None = None
    schema_version: bytes | None = None

    @property
    def series(self) -> SeriesKey:
        """The key."""
        return SeriesKey(self.source, self.customer_id, self.query_name)

    @property
    def is_splittable(self) -> bool:
        """Whether no value holds the separator."""
        return all(column is None or column.count(SEPARATOR) == self.rows - 1 for column in self[4:])

    @property
    def odd_signs(self) -> list[bytes]:
        """The signs of the rows that are not plain."""
        if len(self.signs) == self.rows - 1:
            return []
        return [sign for sign in self.signs.split(SEPARATOR) if sign]


class ChunkReader:
    """Reads chunks; what it has learnt of dates and minutes holds for all of them."""

    def __init__(self, ready: str, filters: Filters) -> None:
        self._ready = ready.encode("utf-8", "surrogateescape")
        self._first, self._last = filters.date_range
        self._dates = DateOrdinals()
        self._minutes = Minutes()

    def times(self, chunks: Sequence[SeriesChunk]) -> list[Sequence[int] | None]:
        """Return the times of each chunk, None for one in which they have to be judged one by one.

        The times of many chunks are read at once, because what that costs hardly depends on how many there are.
        """
        try:
            joined = SEPARATOR.join([chunk.updated_at for chunk in chunks])
            times = read_times(joined, sum(chunk.rows for chunk in chunks), self._minutes)
        except (UnusualError, BadValueError, ValueError, KeyError, OverflowError):
            if len(chunks) == 1:
                return [None]
            return [times for chunk in chunks for times in self.times([chunk])]
        found: list[Sequence[int] | None] = []
        begin = 0
        for chunk in chunks:
            found.append(times[begin : begin + chunk.rows])
            begin += chunk.rows
        return found

    def read(self, chunk: SeriesChunk, times: Sequence[int] | None) -> SeriesRows:
        """Return the plain rows of a chunk, of the dates that the filters want.

        Their run ids and the like are empty where the chunk has no such column. Raises `UnusualError`.
        """
        if times is None:
            raise UnusualError
        rows = chunk.rows
        try:
            dates: Sequence[int] = list(map(self._dates.__getitem__, chunk.logical_date.split(SEPARATOR)))
            counts: Sequence[int] = (NOT_SET,) * rows
            if chunk.record_count is not None and chunk.record_count != _nulls(rows):
                counts = read_counts(chunk.record_count)
        except (BadValueError, ValueError, KeyError, OverflowError) as error:
            raise UnusualError from error
        runs: Sequence[bytes] = (b"",) * rows
        if chunk.current_run_id is not None:
            runs = chunk.current_run_id.split(SEPARATOR)
        versions: Sequence[bytes | None] = (None,) * rows
        if chunk.schema_version is not None and chunk.schema_version != _nulls(rows):
            versions = [None if one == NULL else one for one in chunk.schema_version.split(SEPARATOR)]
        wanted: list[bool] | None = None
        if len(chunk.signs) != rows - 1:
            wanted = list(map(not_, chunk.signs.split(SEPARATOR)))
        if self._first > min(dates) or self._last < max(dates):
            inside = [self._first <= date <= self._last for date in dates]
            wanted = inside if wanted is None else [a and b for a, b in zip(wanted, inside, strict=True)]
        if wanted is not None:
            dates, times, counts = (list(compress(one, wanted)) for one in (dates, times, counts))
            runs, versions = list(compress(runs, wanted)), list(compress(versions, wanted))
        if not all(map(lt, dates, islice(dates, 1, None))):
            raise UnusualError
        return SeriesRows(array("i", dates), tuple(runs), array("q", times), array("q", counts), tuple(versions), True)

    def cells(self, chunk: SeriesChunk) -> Iterator[Row]:
        """Yield the plain rows of a chunk as they are judged one by one."""
        absent = [NULL] * chunk.rows
        columns = [absent if column is None else column.split(SEPARATOR) for column in chunk[4:]]
        if chunk.current_run_id is None:
            columns[3] = [b"?"] * chunk.rows  # a plain row has one
        for sign, *cells in zip(*columns, strict=True):
            if not sign:
                day, updated, _, count, version = (None if cell == NULL else cell for cell in cells)
                yield (SAYS_READY, *chunk[:3], day, self._ready, cells[2], updated, count, version, None, None)


_NULLS: Final[dict[int, bytes]] = {}


def _nulls(rows: int) -> bytes:
    """Return a column of NULL."""
    found = _NULLS.get(rows)
    if found is None:
        found = _NULLS[rows] = SEPARATOR.join([NULL] * rows)
    return found
