"""What each date of a series is worth: expected or not, ready, waiting, or late.

`gaps` makes ranges of it, and `coverage` a picture; so both tell the same.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import NamedTuple

from readyfs.consumer.agreement import Judge, Verdict, choose_cadence
from readyfs.consumer.cadence import Cadence
from readyfs.consumer.expected import Expectations, ExpectedSeries
from readyfs.consumer.known import KnownGap, KnownGaps
from readyfs.consumer.latest import first_absent, first_date
from readyfs.partition import NOT_SET, PartitionStatus, SeriesKey
from readyfs.state.reader import SeriesDays, StateRow


class LateDate(NamedTuple):
    """A date that is not ready for longer than was agreed.

    One that is `known`, or that only a guess expects, has the verdict of one that passes.
    """

    status: PartitionStatus
    verdict: Verdict
    known: KnownGap | None
    guessed: bool


@dataclass(frozen=True, slots=True)
class JudgedSeries:
    """What each date of one series is worth. Dates are ordinals.

    `expected` are the dates that should be ready by now, and `missing` those of them that are not. `waiting` have
    ended, are not ready and are not late yet. `rows` are the rows with a date that is judged and not ready.
    """

    days: SeriesDays
    expected: Sequence[int]
    missing: Set[int]
    waiting: Set[int]
    late: Mapping[int, LateDate]
    rows: Mapping[int, StateRow]
    cadence: Cadence | None
    guessed: bool


def judge_all(
    series: Iterable[SeriesDays], judge: Judge, expectations: Expectations, known: KnownGaps
) -> Iterator[JudgedSeries]:
    """Yield what the dates of each series are worth, as they come in; then of those that must exist and have no row."""
    seen: set[SeriesKey] = set()
    for days in series:
        expectation = expectations.of(days.series)
        if expectation is not None:
            seen.add(days.series)
        yield _judge(days, judge, expectation, known)
    for key, expectation in expectations.without(seen):
        yield _judge(SeriesDays(key, (), (), NOT_SET), judge, expectation, known)


def _judge(days: SeriesDays, judge: Judge, expectation: ExpectedSeries | None, known: KnownGaps) -> JudgedSeries:
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
    late: dict[int, LateDate] = {}
    if missing or rows:
        acknowledged = known.of(days.series)
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
    return JudgedSeries(days, expected, missing, waiting, late, rows, cadence, guessed)


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


def _late(status: PartitionStatus, verdict: Verdict, known: KnownGap | None, guessed: bool) -> LateDate:
    return LateDate(status, Verdict.PASS if guessed or known is not None else verdict, known, guessed)


def _between(dates: Sequence[int], first: int, last: int) -> Sequence[int]:
    return dates[bisect_left(dates, first) : bisect_right(dates, last)]


def _absent(expected: Sequence[int], ready: Sequence[int]) -> set[int]:
    """Return which expected dates are not ready; where all are, that is told without looking at each."""
    return set() if first_absent(expected, ready) is None else set(expected).difference(ready)


def _holds(dates: Sequence[int], date: int) -> bool:
    place = bisect_left(dates, date)
    return place < len(dates) and dates[place] == date
