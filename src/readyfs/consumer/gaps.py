"""Which dates of a series are not ready for longer than was agreed, in ranges."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from readyfs.consumer.agreement import Judge, Verdict
from readyfs.consumer.cadence import Cadence
from readyfs.consumer.expected import Expectations
from readyfs.consumer.judged import JudgedSeries, LateDate, judge_all
from readyfs.consumer.known import KnownGap, KnownGaps
from readyfs.partition import PartitionStatus, SeriesKey
from readyfs.state.reader import SeriesDays, StateRow


@dataclass(frozen=True, slots=True)
class Gap:
    """Dates in a row that are not ready, all for one reason; `first` and `last` are ordinals, both inclusive.

    `dates` is how many there are: of those between, only expected dates count, and dates with a row. A gap that is
    `known`, or that only a guess expects, has the verdict of one that passes.
    """

    status: PartitionStatus
    verdict: Verdict
    first: int
    last: int
    dates: int
    known: KnownGap | None = None
    guessed: bool = False
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SeriesGaps:
    """What is late of one series. Dates are ordinals, None where there is none.

    `expected` counts the dates that should be ready by now, `ready` those of them that are. `waiting` counts the dates
    that have ended, are not ready and are not late yet. `first_gap` is the first date that is late and not known.
    """

    series: SeriesKey
    verdict: Verdict
    expected: int
    ready: int
    waiting: int
    newest: int | None
    newest_ns: int
    first_gap: int | None
    gaps: tuple[Gap, ...]
    cadence: Cadence | None
    guessed: bool

    @property
    def complete(self) -> float | None:
        """The share of the expected dates that is ready, None if none is expected."""
        return self.ready / self.expected if self.expected else None

    def count(self, verdict: Verdict) -> int:
        """Return how many dates are worth a warning, or an alarm."""
        return sum(gap.dates for gap in self.gaps if gap.verdict is verdict and verdict is not Verdict.PASS)

    @property
    def known(self) -> int:
        """How many dates are late, and known to be."""
        return sum(gap.dates for gap in self.gaps if gap.known is not None)

    @property
    def guessed_dates(self) -> int:
        """How many dates are missing if a guess is right, and not known to be."""
        return sum(gap.dates for gap in self.gaps if gap.guessed and gap.known is None)


def find_gaps(
    series: Iterable[SeriesDays], judge: Judge, expectations: Expectations, known: KnownGaps
) -> Iterator[SeriesGaps]:
    """Yield what is late of each series, as they come in; then of those that must exist and have no row."""
    return map(gaps_of, judge_all(series, judge, expectations, known))


def gaps_of(judged: JudgedSeries) -> SeriesGaps:
    """Return what is late of a series whose dates were judged."""
    days = judged.days
    gaps = tuple(_ranges(judged.late, judged.rows, judged.cadence)) if judged.late else ()
    alarming = [gap for gap in gaps if gap.verdict is not Verdict.PASS]
    return SeriesGaps(
        series=days.series,
        verdict=max((gap.verdict for gap in alarming), key=lambda verdict: verdict.rank, default=Verdict.PASS),
        expected=len(judged.expected),
        ready=len(judged.expected) - len(judged.missing),
        waiting=len(judged.waiting),
        newest=days.ready[-1] if days.ready else None,
        newest_ns=days.newest_ns,
        first_gap=alarming[0].first if alarming else None,
        gaps=gaps,
        cadence=judged.cadence,
        guessed=judged.guessed,
    )


def _ranges(late: Mapping[int, LateDate], rows: Mapping[int, StateRow], cadence: Cadence | None) -> Iterator[Gap]:
    """Yield the late dates in ranges, in order; a date that is expected and not late ends a range."""
    dates = sorted(late)
    begin = 0
    for place in range(1, len(dates) + 1):
        if place < len(dates) and late[dates[place]] == late[dates[begin]]:
            between = dates[place - 1] + 1, dates[place] - 1
            if between[0] > between[1] or (cadence is not None and not cadence.expected(*between)):
                continue
        yield _make_gap(late[dates[begin]], dates[begin:place], rows)
        begin = place


def _make_gap(late: LateDate, dates: list[int], rows: Mapping[int, StateRow]) -> Gap:
    row = rows.get(dates[-1])
    detail = "" if row is None else row.detail or row.error_message or ""
    return Gap(late.status, late.verdict, dates[0], dates[-1], len(dates), late.known, late.guessed, detail)
