"""The ready rows of one series in columns: what state stores hand over and compare, and catalogs are built of."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from typing import TypeAlias

Row: TypeAlias = tuple[int, bytes, int, int, bytes | None]
"""Date, run id, `updated_at` in nanoseconds, record count and schema version of one ready row."""


@dataclass(frozen=True, slots=True, eq=False)
class SeriesRows:
    """The ready rows of one series in parallel columns, never changed once made.

    Integers are `NOT_SET` for NULL. Dates are sorted where a state store hands them over; one may stand twice, and
    making sense of that is the catalog's business.
    """

    dates: array[int]
    run_ids: tuple[bytes, ...]
    updated_at_ns: array[int]
    record_counts: array[int]
    schema_versions: tuple[bytes | None, ...]

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

    def holds(self, date: int) -> bool:
        """Tell whether a date is among the sorted dates."""
        place = bisect_left(self.dates, date)
        return place < len(self.dates) and self.dates[place] == date

    def includes(self, rows: SeriesRows) -> bool:
        """Tell whether each of these rows is among the sorted rows, equal in every column."""
        dates, run_ids, times = self.dates, self.run_ids, self.updated_at_ns
        counts, versions = self.record_counts, self.schema_versions
        columns = (rows.dates, rows.run_ids, rows.updated_at_ns, rows.record_counts, rows.schema_versions)
        for date, run_id, time_ns, count, version in zip(*columns, strict=True):
            place = bisect_left(dates, date)
            if (
                place == len(dates)
                or dates[place] != date
                or run_ids[place] != run_id
                or times[place] != time_ns
                or counts[place] != count
                or versions[place] != version
            ):
                return False
        return True

    def patched(self, rows: SeriesRows, gone: Set[int]) -> SeriesRows:
        """Return these rows with others in place of those of the same dates, and without the dates that are gone.

        Both must be sorted and without duplicates; so is the result.
        """
        places = [bisect_left(self.dates, date) for date in rows.dates]
        size = len(self.dates)
        if not gone and all(
            place < size and self.dates[place] == date for place, date in zip(places, rows.dates, strict=True)
        ):
            return self._with(places, rows)
        replaced = set(rows.dates)
        keep = [index for index, date in enumerate(self.dates) if date not in replaced and date not in gone]
        both = SeriesRows(
            array("i", [*map(self.dates.__getitem__, keep), *rows.dates]),
            (*map(self.run_ids.__getitem__, keep), *rows.run_ids),
            array("q", [*map(self.updated_at_ns.__getitem__, keep), *rows.updated_at_ns]),
            array("q", [*map(self.record_counts.__getitem__, keep), *rows.record_counts]),
            (*map(self.schema_versions.__getitem__, keep), *rows.schema_versions),
        )
        if keep and len(rows) and both.dates[len(keep) - 1] > rows.dates[0]:
            return both.take(sorted(range(len(both)), key=both.dates.__getitem__))
        return both

    def _with(self, places: Sequence[int], rows: SeriesRows) -> SeriesRows:
        run_ids, versions = list(self.run_ids), list(self.schema_versions)
        updated_at_ns, record_counts = self.updated_at_ns[:], self.record_counts[:]
        for index, place in enumerate(places):
            run_ids[place] = rows.run_ids[index]
            updated_at_ns[place] = rows.updated_at_ns[index]
            record_counts[place] = rows.record_counts[index]
            versions[place] = rows.schema_versions[index]
        return SeriesRows(self.dates, tuple(run_ids), updated_at_ns, record_counts, tuple(versions))
