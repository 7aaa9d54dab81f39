"""Which dates of a series are not ready for longer than was agreed, in ranges."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from readyfs.consumer.agreement import Judge, Verdict, choose_cadence
from readyfs.consumer.cadence import Cadence
from readyfs.consumer.expected import Expectations, ExpectedSeries
from readyfs.consumer.known import KnownGap, KnownGaps
from readyfs.consumer.latest import first_absent, first_date
from readyfs.partition import NOT_SET, PartitionStatus, SeriesKey
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
        """How many dates are missing if a guess is right."""
        return sum(gap.dates for gap in self.gaps if gap.guessed)


def find_gaps(
    series: Iterable[SeriesDays], judge: Judge, expectations: Expectations, known: KnownGaps
) -> Iterator[SeriesGaps]:
    """Yield what is late of each series, as they come in; then of those that must exist and have no row."""
    seen: set[SeriesKey] = set()
    for days in series:
        expectation = expectations.of(days.series)
        if expectation is not None:
            seen.add(days.series)
        yield _judge_series(days, judge, expectation, known)
    for key, expectation in expectations.without(seen):
        yield _judge_series(SeriesDays(key, (), (), NOT_SET), judge, expectation, known)


class _Late(NamedTuple):
    """What the dates of one range have in common."""

    status: PartitionStatus
    verdict: Verdict
    known: KnownGap | None
    guessed: bool


def _judge_series(days: SeriesDays, judge: Judge, expectation: ExpectedSeries | None, known: KnownGaps) -> SeriesGaps:
    stated = judge.agreement.cadence
    if expectation is not None and expectation.cadence is not None:
        stated = expectation.cadence
    cadence, guessed = choose_cadence(stated, days.ready)
    first, last, ended = _bounds(days, judge, expectation)
    expected = cadence.expected(first, last) if cadence is not None else ()
    ready = _between(days.ready, first, last)
    rows = {row.date: row for row in days.others if row.date is not None and first <= row.date <= ended}
    missing, waiting = _absent(expected, ready), set[int]()
    if last < ended and cadence is not None and not guessed:
        begin = max(first, last + 1)
        waiting = _absent(cadence.expected(begin, ended), _between(days.ready, begin, ended))
    gaps: tuple[Gap, ...] = ()
    if missing or rows:
        acknowledged = known.of(days.series)
        late: dict[int, _Late] = {}
        for date in missing.difference(rows):
            late[date] = _late(PartitionStatus.MISSING, judge.of(date), acknowledged.at(date), guessed)
        for date, row in rows.items():
            if _holds(days.ready, date):
                continue
            verdict = _judge_row(row, date, judge) if date <= last else Verdict.PASS
            if verdict is Verdict.PASS:
                waiting.add(date)
            else:
                late[date] = _late(row.status, verdict, acknowledged.at(date), False)
        gaps = tuple(_ranges(late, rows, cadence))
    alarming = [gap for gap in gaps if gap.verdict is not Verdict.PASS]
    return SeriesGaps(
        series=days.series,
        verdict=max((gap.verdict for gap in alarming), key=lambda verdict: verdict.rank, default=Verdict.PASS),
        expected=len(expected),
        ready=len(expected) - len(missing),
        waiting=len(waiting),
        newest=days.ready[-1] if days.ready else None,
        newest_ns=days.newest_ns,
        first_gap=alarming[0].first if alarming else None,
        gaps=gaps,
        cadence=cadence,
        guessed=guessed,
    )


def _bounds(days: SeriesDays, judge: Judge, expectation: ExpectedSeries | None) -> tuple[int, int, int]:
    """Return the first and the last date that are judged, and the last of those that have ended.

    The first is after both where there is none.
    """
    agreed = judge.agreement
    starts, lasts = [agreed.since], [agreed.last]
    if expectation is not None:
        starts.append(expectation.first)
        lasts.append(expectation.last)
    ended = min([judge.last_ended, *(date for date in lasts if date is not None)])
    last = min(judge.last_due, ended)
    stated = [date for date in starts if date is not None]
    if not stated:
        own = first_date(days)
        stated = [ended + 1 if own is None else own]
    return max(*stated, agreed.first or 0), last, ended


def _judge_row(row: StateRow, date: int, judge: Judge) -> Verdict:
    if row.status is PartitionStatus.REPROCESSING:
        return judge.of_reprocessing(date, row.updated_at_ns)
    return judge.of(date)


def _late(status: PartitionStatus, verdict: Verdict, known: KnownGap | None, guessed: bool) -> _Late:
    return _Late(status, Verdict.PASS if guessed or known is not None else verdict, known, guessed)


def _between(dates: Sequence[int], first: int, last: int) -> Sequence[int]:
    return dates[bisect_left(dates, first) : bisect_right(dates, last)]


def _absent(expected: Sequence[int], ready: Sequence[int]) -> set[int]:
    """Return which expected dates are not ready; where all are, that is told without looking at each."""
    return set() if first_absent(expected, ready) is None else set(expected).difference(ready)


def _holds(dates: Sequence[int], date: int) -> bool:
    place = bisect_left(dates, date)
    return place < len(dates) and dates[place] == date


def _ranges(late: dict[int, _Late], rows: dict[int, StateRow], cadence: Cadence | None) -> Iterator[Gap]:
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


def _make_gap(late: _Late, dates: list[int], rows: dict[int, StateRow]) -> Gap:
    row = rows.get(dates[-1])
    detail = "" if row is None else row.detail or row.error_message or ""
    return Gap(late.status, late.verdict, dates[0], dates[-1], len(dates), late.known, late.guessed, detail)
