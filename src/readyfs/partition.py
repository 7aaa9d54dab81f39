"""The vocabulary that every layer shares: what a partition is, and why a row may be withheld.

Identifiers are `bytes` exactly as the state store holds them (UTF-8 for text), because a name that is not valid
UTF-8 is still a name. A logical date is the proleptic Gregorian ordinal of `datetime.date` (1 = 0001-01-01).
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from readyfs.text import escape_text

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


ChangedDates: TypeAlias = Mapping[SeriesKey, Collection[int]]
"""Which dates of which series may mean something else than they did."""


class Partition(NamedTuple):
    """A ready partition: its key and its row's lineage.

    `updated_at_ns` is UTC nanoseconds since the epoch; both integers are `NOT_SET` where the row holds NULL.
    """

    key: PartitionKey
    run_id: bytes
    updated_at_ns: int
    record_count: int
    schema_version: bytes | None


RunKey: TypeAlias = tuple[PartitionKey, bytes]
"""One run: its partition and its id."""


def run_of(partition: Partition) -> RunKey:
    """Return the run that a partition's row names as current."""
    return (partition.key, partition.run_id)


class PartitionStatus(StrEnum):
    """What is the matter with a partition; the value is the word that people and machines are shown.

    `REPROCESSING` is a row that is not ready, has not failed, and still names a run: it was ready and was queued again.
    `MISSING` is a date that should have a row. `BROKEN` is ready in the state, and its run cannot be served.
    """

    READY = "ready"
    PENDING = "pending"
    FAILED = "failed"
    REPROCESSING = "reprocessing"
    WITHHELD = "withheld"
    MISSING = "missing"
    BROKEN = "broken"


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

    def render(self) -> str:
        """Return how many there are for each reason, and the first example, as one line."""
        counts = ", ".join(f"{reason} {count:,}" for reason, count in self.counts.items() if count)
        first = next(iter(self.examples), None)
        return counts if first is None else f"{counts}; the first is {first.subject}: {first.detail}"


@lru_cache(maxsize=65536)
def render_date(date: int) -> bytes:
    """Return `YYYY-MM-DD` for an ordinal."""
    return datetime.date.fromordinal(date).isoformat().encode()


def render_time(time_ns: int) -> bytes:
    """Return UTC ISO 8601 with microseconds, the form in which the contract's state table holds it."""
    # By hand: lists print very many, and a datetime takes three times as long.
    days, rest_ns = divmod(time_ns, 86_400_000_000_000)
    minutes, second_ns = divmod(rest_ns, 60_000_000_000)
    microseconds = second_ns // 1000
    return b"%sT%02d:%02d:%02d.%06d+00:00" % (
        render_date(_EPOCH_DATE + days),
        minutes // 60,
        minutes % 60,
        microseconds // 1_000_000,
        microseconds % 1_000_000,
    )


def show_moment(time: int | str) -> str:
    """Return a time for people: `2026-11-28 05:00:00Z`, of nanoseconds or of what `render_time` has rendered."""
    text = time if isinstance(time, str) else render_time(time).decode()
    return f"{text[:10]} {text[11:19]}Z"


_EPOCH_DATE: Final = 719_163
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
