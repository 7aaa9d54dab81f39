"""How far a series has come: its newest ready date, the one expected by now, and up to where there is no gap."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from readyfs.consumer.agreement import Judge, Verdict, choose_cadence
from readyfs.consumer.cadence import Cadence
from readyfs.partition import SeriesKey
from readyfs.state.reader import SeriesDays


@dataclass(frozen=True, slots=True)
class Latest:
    """How far one series has come. Dates are ordinals, None where there is none.

    `behind` counts the expected dates after the newest ready one up to the one that is expected by now. What is
    expected by a guess is `guessed` and passes. Of a series without a first date, or whose cadence cannot be guessed,
    nobody knows what is expected: `behind` and `status` are None.
    """

    series: SeriesKey
    newest: int | None
    newest_ns: int
    expected: int | None
    behind: int | None
    complete_until: int | None
    cadence: Cadence | None
    guessed: bool
    status: Verdict | None


def first_date(days: SeriesDays) -> int | None:
    """Return the first date of a series, ready or not: from there on dates are expected."""
    own = (days.ready[0] if days.ready else None, days.others[0].date if days.others else None)
    return min((date for date in own if date is not None), default=None)


def find_latest(series: SeriesKey, ready: Sequence[int], newest_ns: int, judge: Judge, first_row: int | None) -> Latest:
    """Return how far a series has come, by its sorted ready dates and the newest time at which one was updated.

    `first_row` is the first date of which anything is known, ready or not.
    """
    agreed = judge.agreement
    cadence, guessed = choose_cadence(agreed.cadence, ready)
    newest = ready[-1] if ready else None
    first = agreed.since if agreed.since is not None else first_row
    if cadence is None or first is None:
        return Latest(series, newest, newest_ns, None, None, None, cadence, guessed, None)
    first = max(first, agreed.first or first)
    due = judge.last_expected if agreed.last is None else min(judge.last_expected, agreed.last)
    dates = cadence.expected(first, due)
    after = bisect_left(dates, first if newest is None else newest + 1)
    behind = len(dates) - after
    return Latest(
        series=series,
        newest=newest,
        newest_ns=newest_ns,
        expected=dates[-1] if dates else None,
        behind=behind,
        complete_until=_complete_until(cadence.expected(first, max(due, newest or due)), ready),
        cadence=cadence,
        guessed=guessed,
        status=judge.of(dates[after]) if behind and not guessed else Verdict.PASS,
    )


def _complete_until(expected: Sequence[int], ready: Sequence[int]) -> int | None:
    """Return the last of the first expected dates that are all ready."""
    absent = first_absent(expected, ready)
    if absent is None:
        return expected[-1] if expected else None
    place = bisect_left(expected, absent)
    return expected[place - 1] if place else None


def first_absent(expected: Sequence[int], ready: Sequence[int]) -> int | None:
    """Return the first of the sorted expected dates that is not among the sorted ready ones, or None."""
    if expected and (not ready or expected[0] < ready[0]):
        return expected[0]
    if isinstance(expected, range) and expected.step == 1:
        # Of every day, so many are ready up to one as have passed: found by halving.
        begin = bisect_left(ready, expected.start)
        count = bisect_left(
            range(len(ready) - begin), True, key=lambda place: ready[begin + place] != expected.start + place
        )
        date = expected.start + count
        return date if date < expected.stop else None
    return min(set(expected).difference(ready), default=None)
