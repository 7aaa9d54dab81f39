"""Which series must exist: a customer that never delivered has no row, and nothing else would tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path

from readyfs.consumer.cadence import Cadence, parse_cadence
from readyfs.consumer.series_file import read_lines
from readyfs.errors import UsageError
from readyfs.partition import SeriesKey
from readyfs.state.filters import Filters


@dataclass(frozen=True, slots=True)
class ExpectedSeries:
    """From when to when a series must have data, both inclusive, and how often if it is not as all others."""

    first: int
    last: int | None = None
    cadence: Cadence | None = None


@dataclass(frozen=True, slots=True)
class Expectations:
    """The series that must exist."""

    series: Mapping[SeriesKey, ExpectedSeries] = field(default_factory=dict)

    def of(self, series: SeriesKey) -> ExpectedSeries | None:
        """Return what is expected of a series, None if it is not listed."""
        return self.series.get(series)

    def without(self, seen: Set[SeriesKey]) -> Iterator[tuple[SeriesKey, ExpectedSeries]]:
        """Yield the series that are not among those seen, sorted."""
        for key in sorted(self.series.keys() - seen):
            yield key, self.series[key]


def read_expectations(path: Path, filters: Filters) -> Expectations:
    """Read a CSV file of series that must exist, those alone that the filters admit; raise `UsageError` if it is bad.

    Its columns are `source,customer_id,query_name,first_date`, and `last_date` and `cadence` if they are wanted.
    """
    found: dict[SeriesKey, ExpectedSeries] = {}
    for line in read_lines(path, "--expect", ("first_date",), ("last_date", "cadence")):
        first, last = line.required_date("first_date"), line.date("last_date")
        if last is not None and last < first:
            raise line.error("last_date is before first_date", "exchange them")
        try:
            cadence = parse_cadence(text) if (text := line.fields["cadence"].strip()) else None
        except UsageError as error:
            raise line.error(error.message, error.remedy) from error
        series = line.series
        if series in found:
            raise line.error("this series stands there twice", "leave out one of the lines")
        found[series] = ExpectedSeries(first, last, cadence)
    return Expectations({series: one for series, one in found.items() if filters.admits(series)})
