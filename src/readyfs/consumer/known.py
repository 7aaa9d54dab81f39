"""Gaps that somebody has acknowledged: they are counted, and alarm nobody."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from readyfs.consumer.series_file import KEY_COLUMNS, read_lines
from readyfs.partition import SeriesKey
from readyfs.state.filters import Filters


@dataclass(frozen=True, slots=True)
class KnownGap:
    """Dates of some series that are known not to be ready, both inclusive; the patterns are those of filters."""

    series: Filters
    first: int
    last: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SeriesKnown:
    """The known gaps of one series."""

    gaps: tuple[KnownGap, ...]

    def at(self, date: int) -> KnownGap | None:
        """Return the known gap in which a date lies."""
        return next((gap for gap in self.gaps if gap.first <= date <= gap.last), None)


class KnownGaps:
    """All known gaps; those that name their series exactly are found by its key."""

    def __init__(self, gaps: Iterable[KnownGap] = ()) -> None:
        self._exact: dict[SeriesKey, list[KnownGap]] = {}
        self._patterns: list[KnownGap] = []
        for gap in gaps:
            texts = (*gap.series.sources, *gap.series.customers, *gap.series.queries)
            if any(char in text for text in texts for char in "*?["):
                self._patterns.append(gap)
            else:
                key = SeriesKey(*(text.encode("utf-8", "surrogateescape") for text in texts))
                self._exact.setdefault(key, []).append(gap)

    def of(self, series: SeriesKey) -> SeriesKnown:
        """Return the known gaps of a series."""
        matching = [gap for gap in self._patterns if gap.series.admits(series)]
        return SeriesKnown((*self._exact.get(series, ()), *matching))


def read_known_gaps(path: Path) -> KnownGaps:
    """Read a CSV file of known gaps; raise `UsageError` if it is bad.

    Its columns are `source,customer_id,query_name,first_date,last_date`, and `reason` if it is wanted. What names the
    series may be a pattern as in filters: `*` stands for all.
    """
    gaps = []
    for line in read_lines(path, "--known", ("first_date", "last_date"), ("reason",)):
        first, last = line.required_date("first_date"), line.required_date("last_date")
        if last < first:
            raise line.error("last_date is before first_date", "exchange them")
        empty = next((name for name in KEY_COLUMNS if not line.fields[name]), None)
        if empty is not None:
            raise line.error(f"{empty} is empty", "write a name, or * for all")
        source, customer, query = (line.fields[name] for name in KEY_COLUMNS)
        gaps.append(KnownGap(Filters((source,), (customer,), (query,)), first, last, line.fields["reason"]))
    return KnownGaps(gaps)
