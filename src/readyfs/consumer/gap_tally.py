"""What is counted over all series, while their gaps come in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from readyfs.consumer.agreement import Verdict
from readyfs.consumer.gaps import SeriesGaps


@dataclass(slots=True)
class GapTally:
    """Counts of series and of dates; of a late series one counts, however many dates of it are late.

    Only a series of which something is expected can be complete.
    """

    series: int = 0
    expecting_series: int = 0
    complete_series: int = 0
    late_series: int = 0
    waiting_series: int = 0
    expected: int = 0
    ready: int = 0
    waiting: int = 0
    warned: int = 0
    alarmed: int = 0
    known: int = 0
    guessed: int = 0

    def counting(self, found: Iterable[SeriesGaps]) -> Iterator[SeriesGaps]:
        """Yield the same, each counted before."""
        for one in found:
            self.add(one)
            yield one

    def add(self, one: SeriesGaps) -> None:
        """Count one series."""
        self.series += 1
        self.expecting_series += one.expected > 0
        self.complete_series += one.expected > 0 and one.ready == one.expected and not one.gaps
        self.late_series += one.verdict is not Verdict.PASS
        self.expected += one.expected
        self.ready += one.ready
        if one.waiting:
            self.waiting_series += 1
            self.waiting += one.waiting
        if one.gaps:
            self.warned += one.count(Verdict.WARN)
            self.alarmed += one.count(Verdict.ERROR)
            self.known += one.known
            self.guessed += one.guessed_dates

    @property
    def verdict(self) -> Verdict:
        """The worst that was found."""
        return Verdict.ERROR if self.alarmed else Verdict.WARN if self.warned else Verdict.PASS

    @property
    def complete(self) -> float | None:
        """The share of all expected dates that is ready, None if none is expected."""
        return self.ready / self.expected if self.expected else None
