"""The vocabulary that every layer shares: what a partition is, and why a row may be withheld.

Identifiers are `bytes` exactly as the state store holds them (UTF-8 for text), because a name that is not valid
UTF-8 is still a name. A logical date is the proleptic Gregorian ordinal of `datetime.date` (1 = 0001-01-01).
"""

from __future__ import annotations

import datetime
import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

NOT_SET: Final = -1
"""Stands for NULL in the integer columns, whose real values are never negative."""


class SeriesKey(NamedTuple):
    """One (source, customer, query): the rows that differ only by their logical date."""

    source: bytes
    customer_id: bytes
    query_name: bytes


class PartitionKey(NamedTuple):
    """One logical partition."""

    series: SeriesKey
    date: int

    def __str__(self) -> str:
        """Return the key as one escaped line, for logs and messages."""
        parts = (*self.series, render_date(self.date))
        return "/".join(escape_text(part) for part in parts)


class Partition(NamedTuple):
    """A ready partition: its key and its row's lineage.

    `updated_at_ns` is UTC nanoseconds since the epoch; both integers are `NOT_SET` where the row holds NULL.
    """

    key: PartitionKey
    run_id: bytes
    updated_at_ns: int
    record_count: int
    schema_version: bytes | None


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


class WithheldReason(StrEnum):
    """Why a row whose status is ready is not served; the value is the word in the status and the log."""

    NO_RUN_ID = "no_run_id"
    BAD_ROW = "bad_row"
    UNUSABLE_NAME = "unusable_name"
    UNUSABLE_RAW_PATH = "unusable_raw_path"
    AMBIGUOUS_PATH = "ambiguous_path"


class WithheldExample(NamedTuple):
    """One withheld row, both texts already escaped for a log line."""

    reason: WithheldReason
    subject: str
    detail: str


@dataclass(slots=True)
class WithheldTally:
    """Counts of withheld rows by reason, with the first few of each reason kept as examples."""

    examples_per_reason: int = 100
    counts: dict[WithheldReason, int] = field(default_factory=dict)
    examples: list[WithheldExample] = field(default_factory=list)

    def add(self, reason: WithheldReason, subject: str, detail: str) -> None:
        """Count one row; texts are kept only while the reason has few examples."""
        count = self.counts.get(reason, 0) + 1
        self.counts[reason] = count
        if count <= self.examples_per_reason:
            self.examples.append(WithheldExample(reason, subject, detail))

    def merge(self, other: WithheldTally) -> None:
        """Add what another tally counted."""
        for reason, count in other.counts.items():
            self.counts[reason] = self.counts.get(reason, 0) + count
        self.examples.extend(other.examples)

    def total(self, reasons: Iterable[WithheldReason] = tuple(WithheldReason)) -> int:
        """Return how many rows were withheld for the given reasons."""
        return sum(self.counts.get(reason, 0) for reason in reasons)


@lru_cache(maxsize=65536)
def render_date(date: int) -> bytes:
    """Return `YYYY-MM-DD` for an ordinal."""
    return datetime.date.fromordinal(date).isoformat().encode()


_ISO_DATE: Final = re.compile(rb"\d{4}-\d{2}-\d{2}")


@lru_cache(maxsize=65536)
def parse_date(text: bytes) -> int | None:
    """Return the ordinal of an exact `YYYY-MM-DD`, or None if the text is anything else."""
    if _ISO_DATE.fullmatch(text) is None:
        return None
    try:
        return datetime.date.fromisoformat(text.decode("ascii")).toordinal()
    except ValueError:
        return None


def escape_text(value: bytes | str) -> str:
    """Return a value as printable text: control characters and invalid UTF-8 as backslash escapes.

    Nothing that comes from a state row, a file name or an environment reaches a log or a terminal without this.
    """
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode("ascii")
        for char in text
    )
