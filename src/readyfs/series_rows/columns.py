"""Rows in parallel columns: the compact form in which all rows are kept."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import compress, count, cycle
from operator import ne
from typing import Any, Final, TypeAlias, TypeVar

Row: TypeAlias = tuple[int, bytes, int, int, bytes | None]
"""Date, run id, `updated_at` in nanoseconds, record count and schema version of one ready row."""

T = TypeVar("T")
_NEVER: Final = 1 << 31
"""Is later than every date."""


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Rows of one series, never changed once made; `schema_versions` may be one value for all of them."""

    dates: array[int]
    run_ids: tuple[bytes, ...]
    updated_at_ns: array[int]
    record_counts: array[int]
    schema_versions: tuple[bytes | None, ...]

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Columns:
        """Return rows as columns."""
        dates, run_ids, updated_at_ns, record_counts, schema_versions = tuple(zip(*rows, strict=True)) or ((),) * 5
        return cls(
            array("i", dates), run_ids, array("q", updated_at_ns), array("q", record_counts), tuple(schema_versions)
        )

    def __len__(self) -> int:
        return len(self.dates)

    def __iter__(self) -> Iterator[Row]:
        versions = self.schema_versions
        every = cycle(versions) if len(versions) == 1 else versions
        return zip(self.dates, self.run_ids, self.updated_at_ns, self.record_counts, every, strict=False)

    def row(self, index: int) -> Row:
        """Return the row at a position."""
        versions = self.schema_versions
        return (
            self.dates[index],
            self.run_ids[index],
            self.updated_at_ns[index],
            self.record_counts[index],
            versions[index if len(versions) > 1 else 0],
        )

    def versions(self, begin: int, end: int) -> tuple[bytes | None, ...]:
        """Return the schema versions between two positions, one for each row."""
        versions = self.schema_versions
        return versions[begin:end] if len(versions) == len(self.dates) else versions * (end - begin)

    def cut(self, begin: int, end: int) -> Columns:
        """Return a copy of the rows between two positions."""
        return Columns(
            self.dates[begin:end],
            self.run_ids[begin:end],
            self.updated_at_ns[begin:end],
            self.record_counts[begin:end],
            self.versions(begin, end),
        )

    def compact(self) -> Columns:
        """Return the same rows, with one schema version if it is the same for all."""
        if len(self.schema_versions) == 1 or len(set(self.schema_versions)) != 1:
            return self
        version = self.schema_versions[:1]
        return Columns(self.dates, self.run_ids, self.updated_at_ns, self.record_counts, version)

    def shared(self) -> Columns:
        """Return the same few rows in columns that equal ones share: rows of a day differ little between series."""
        dates, run_ids, versions = self.dates.tobytes(), self.run_ids, self.compact().schema_versions
        return Columns(_dates(dates), _same(run_ids), self.updated_at_ns, self.record_counts, _same(versions))

    def take(self, indexes: Sequence[int]) -> Columns:
        """Return the rows at these positions, in this order."""
        return Columns(
            array("i", map(self.dates.__getitem__, indexes)),
            tuple(map(self.run_ids.__getitem__, indexes)),
            array("q", map(self.updated_at_ns.__getitem__, indexes)),
            array("q", map(self.record_counts.__getitem__, indexes)),
            tuple(map(self.versions(0, len(self)).__getitem__, indexes)),
        )

    def place(self, date: int) -> int:
        """Return the position of a date among the sorted dates, -1 if it is none of them."""
        place = bisect_left(self.dates, date)
        return place if place < len(self.dates) and self.dates[place] == date else -1

    def differing(self, rows: Columns) -> list[int]:
        """Return the positions of those of the rows that are not among these sorted ones, equal in every column."""
        size = len(self.dates)
        if not size:
            return list(range(len(rows)))
        # Column by column: a loop over the rows takes three times as long.
        aligned = self._aligned(rows)
        if aligned is not None:
            mine_from, theirs_from, length = aligned
            found = {*range(theirs_from), *range(theirs_from + length, len(rows))}
            for mine, theirs in zip(self._whole(), rows._whole(), strict=True):
                held, asked = mine[mine_from : mine_from + length], theirs[theirs_from : theirs_from + length]
                if held != asked:
                    found.update(compress(count(theirs_from), map(ne, held, asked)))
            return sorted(found)
        # Past the end stands another date.
        places = [min(place, size - 1) for place in map(partial(bisect_left, self.dates), rows.dates)]
        found = set()
        for mine, theirs in zip(self._whole(), rows._whole(), strict=True):
            held, asked = list(map(mine.__getitem__, places)), list(theirs)
            if held != asked:
                found.update(compress(count(), map(ne, held, asked)))
        return sorted(found)

    def _aligned(self, rows: Columns) -> tuple[int, int, int] | None:
        """Return where the dates that both have begin in each, and how many these are, if they are a range of both.

        So it is most often. None if it is not so.
        """
        dates, theirs = self.dates, rows.dates
        theirs_from = bisect_left(theirs, dates[0])
        mine_from = bisect_left(dates, theirs[theirs_from]) if theirs_from < len(theirs) else len(dates)
        length = min(len(dates) - mine_from, len(theirs) - theirs_from)
        end = theirs_from + length
        if dates[mine_from : mine_from + length] != theirs[theirs_from:end]:
            return None
        # The rows need not be sorted.
        is_range = max(theirs[:theirs_from], default=0) < dates[0] and min(theirs[end:], default=_NEVER) > dates[-1]
        return (mine_from, theirs_from, length) if is_range else None

    def _whole(self) -> tuple[Sequence[Any], ...]:
        versions = self.versions(0, len(self))
        return self.dates, self.run_ids, self.updated_at_ns, self.record_counts, versions

    def with_rows(self, rows: Columns, begin: int, end: int) -> Columns:
        """Return a copy of the rows between two positions, with others in place of those of the same dates.

        Both must be sorted and without duplicates; so is the result.
        """
        dates, run_ids = self.dates[begin:end], list(self.run_ids[begin:end])
        updated_at_ns, record_counts = self.updated_at_ns[begin:end], self.record_counts[begin:end]
        versions = list(self.versions(begin, end))
        place = 0
        for date, run_id, updated_ns, record_count, version in rows:
            place = bisect_left(dates, date, place)
            if place == len(dates) or dates[place] != date:
                dates.insert(place, date)
                run_ids.insert(place, run_id)
                updated_at_ns.insert(place, updated_ns)
                record_counts.insert(place, record_count)
                versions.insert(place, version)
                continue
            run_ids[place] = run_id
            updated_at_ns[place] = updated_ns
            record_counts[place] = record_count
            versions[place] = version
        return Columns(dates, tuple(run_ids), updated_at_ns, record_counts, tuple(versions))

    def without(self, gone: Set[int]) -> Columns:
        """Return the rows but for those of the dates that are gone."""
        return self.take([index for index, date in enumerate(self.dates) if date not in gone])


@lru_cache(maxsize=512)
def _same(values: T) -> T:
    """Return equal values, the same ones for all who asked lately."""
    return values


@lru_cache(maxsize=512)
def _dates(content: bytes) -> array[int]:
    return array("i", content)
