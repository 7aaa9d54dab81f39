"""The ready rows of one series in columns: what state stores hand over and compare, and catalogs are built of."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from functools import partial
from itertools import compress, count
from operator import ne
from typing import Any, TypeAlias, TypeVar

Row: TypeAlias = tuple[int, bytes, int, int, bytes | None]
"""Date, run id, `updated_at` in nanoseconds, record count and schema version of one ready row."""

C = TypeVar("C", bound="array[Any] | list[Any]")
V = TypeVar("V")


@dataclass(frozen=True, slots=True, eq=False)
class SeriesRows:
    """The ready rows of one series in parallel columns, never changed once made.

    Integers are `NOT_SET` for NULL. Dates are sorted where a state store hands them over; one may stand twice, and
    making sense of that is the catalog's business. `is_ordered` says that the dates are known to be sorted, each once.
    """

    dates: array[int]
    run_ids: tuple[bytes, ...]
    updated_at_ns: array[int]
    record_counts: array[int]
    schema_versions: tuple[bytes | None, ...]
    is_ordered: bool = False

    @classmethod
    def of(cls, rows: Iterable[Row]) -> SeriesRows:
        """Return rows of (date, run id, updated_at in ns, record count, schema version) as columns."""
        dates, run_ids, updated_at_ns, record_counts, schema_versions = tuple(zip(*rows, strict=True)) or ((),) * 5
        return cls(
            array("i", dates), run_ids, array("q", updated_at_ns), array("q", record_counts), tuple(schema_versions)
        )

    def __len__(self) -> int:
        return len(self.dates)

    def take(self, indexes: Sequence[int]) -> SeriesRows:
        """Return the rows at these positions, in this order."""
        return SeriesRows(
            array("i", map(self.dates.__getitem__, indexes)),
            tuple(map(self.run_ids.__getitem__, indexes)),
            array("q", map(self.updated_at_ns.__getitem__, indexes)),
            array("q", map(self.record_counts.__getitem__, indexes)),
            tuple(map(self.schema_versions.__getitem__, indexes)),
        )

    def place(self, date: int) -> int:
        """Return the position of a date among the sorted dates, -1 if it is none of them."""
        place = bisect_left(self.dates, date)
        return place if place < len(self.dates) and self.dates[place] == date else -1

    def holds(self, date: int) -> bool:
        """Tell whether a date is among the sorted dates."""
        return self.place(date) >= 0

    def differing(self, rows: SeriesRows) -> list[int]:
        """Return the positions of those of the rows that are not among these sorted ones, equal in every column."""
        size = len(self.dates)
        if not size:
            return list(range(len(rows)))
        # Column by column: a loop over the rows takes three times as long. Past the end stands another date.
        places = [min(place, size - 1) for place in map(partial(bisect_left, self.dates), rows.dates)]
        found: set[int] = set()
        for mine, theirs in zip(self._columns(), rows._columns(), strict=True):
            held, asked = list(map(mine.__getitem__, places)), list(theirs)
            if held != asked:
                found.update(compress(count(), map(ne, held, asked)))
        return sorted(found)

    def _columns(self) -> tuple[Sequence[Any], ...]:
        return self.dates, self.run_ids, self.updated_at_ns, self.record_counts, self.schema_versions

    def patched(self, rows: SeriesRows, gone: Set[int]) -> SeriesRows:
        """Return these rows with others in place of those of the same dates, and without the dates that are gone.

        Both must be sorted and without duplicates; so is the result. Columns that stay as they were are shared.
        """
        places = [bisect_left(self.dates, date) for date in rows.dates]
        size = len(self.dates)
        if not gone and all(
            place < size and self.dates[place] == date for place, date in zip(places, rows.dates, strict=True)
        ):
            return self._with(places, rows)
        return self._spliced(rows, gone)

    def _with(self, places: Sequence[int], rows: SeriesRows) -> SeriesRows:
        run_ids, versions = list(self.run_ids), self.schema_versions
        updated_at_ns, record_counts = self.updated_at_ns[:], self.record_counts
        for index, place in enumerate(places):
            run_ids[place] = rows.run_ids[index]
            updated_at_ns[place] = rows.updated_at_ns[index]
        if any(record_counts[place] != rows.record_counts[index] for index, place in enumerate(places)):
            record_counts = record_counts[:]
            for index, place in enumerate(places):
                record_counts[place] = rows.record_counts[index]
        if any(versions[place] != rows.schema_versions[index] for index, place in enumerate(places)):
            changed = list(versions)
            for index, place in enumerate(places):
                changed[place] = rows.schema_versions[index]
            versions = tuple(changed)
        return SeriesRows(self.dates, tuple(run_ids), updated_at_ns, record_counts, versions, True)

    def _spliced(self, rows: SeriesRows, gone: Set[int]) -> SeriesRows:
        came = {date: index for index, date in enumerate(rows.dates)}
        # What is kept of the old rows, as ranges, and which new row follows each.
        pieces: list[tuple[int, int, int | None]] = []
        begin, size = 0, len(self.dates)
        for date in sorted(gone | came.keys()):
            place = bisect_left(self.dates, date, begin)
            pieces.append((begin, place, came.get(date)))
            begin = place + (place < size and self.dates[place] == date)
        pieces.append((begin, size, None))
        return SeriesRows(
            _splice(array("i"), self.dates, rows.dates, pieces),
            tuple(_splice([], self.run_ids, rows.run_ids, pieces)),
            _splice(array("q"), self.updated_at_ns, rows.updated_at_ns, pieces),
            _splice(array("q"), self.record_counts, rows.record_counts, pieces),
            tuple(_splice([], self.schema_versions, rows.schema_versions, pieces)),
            True,
        )


def _splice(into: C, kept: Sequence[V], new: Sequence[V], pieces: Sequence[tuple[int, int, int | None]]) -> C:
    for begin, end, index in pieces:
        into.extend(kept[begin:end])
        if index is not None:
            into.append(new[index])
    return into
