"""Which dates a series should have: every day, some weekdays, or days by the day fields of cron.

A cadence is stated by a person. What `guess_cadence` finds is for reports alone: a guess learns failures as holidays.
"""

from __future__ import annotations

import datetime
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, Protocol

from readyfs.errors import UsageError

AUTO: Final = "auto"
"""The word that asks for a guess, where one is allowed."""

_WEEKDAYS: Final = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_REMEDY: Final = "write daily, weekdays, weekly:MON, or three cron fields (day, month, weekday) such as '1,15 * *'"


class Cadence(Protocol):
    """Which dates are expected; `text` is how it is written."""

    @property
    def text(self) -> str: ...  # noqa: D102 - the class says it

    def expected(self, first: int, last: int) -> Sequence[int]:
        """Return the sorted ordinals that are expected between two, both inclusive."""
        ...


@dataclass(frozen=True, slots=True)
class _Steps:
    """Every day, or every seventh; ordinal 1 is a Monday, so that `ordinal % 7` is 1 on Mondays."""

    text: str
    step: int = 1
    remainder: int = 0

    def expected(self, first: int, last: int) -> Sequence[int]:
        """Return a range, which costs nothing."""
        return range(first + (self.remainder - first) % self.step, last + 1, self.step)


@dataclass(frozen=True, slots=True)
class _Days:
    """Dates that a rule picks. They are the same for all series, so each year is worked out once."""

    text: str
    picks: Callable[[datetime.date], bool]
    years: dict[int, tuple[int, ...]] = field(default_factory=dict, compare=False, repr=False)

    def expected(self, first: int, last: int) -> Sequence[int]:
        """Return the dates of all years between, cut to size."""
        if first > last:
            return ()
        begin, end = datetime.date.fromordinal(first).year, datetime.date.fromordinal(last).year
        days = list(chain.from_iterable(map(self._year, range(begin, end + 1))))
        return days[bisect_left(days, first) : bisect_right(days, last)]

    def _year(self, year: int) -> tuple[int, ...]:
        known = self.years.get(year)
        if known is None:
            first, last = datetime.date(year, 1, 1).toordinal(), datetime.date(year, 12, 31).toordinal()
            days = map(datetime.date.fromordinal, range(first, last + 1))
            known = self.years[year] = tuple(day.toordinal() for day in days if self.picks(day))
        return known


DAILY: Final[Cadence] = _Steps("daily")


def parse_cadence(text: str) -> Cadence:
    """Return the cadence that `daily`, `weekdays`, `weekly:MON` or three cron fields stand for.

    The cron fields are day of the month, month and weekday, as in crontab(5): where neither day field begins with `*`,
    one that matches is enough. Raises `UsageError` for anything else.
    """
    word = " ".join(text.split())
    kind, colon, day = word.partition(":")
    match kind.lower():
        case "daily" if not colon:
            return DAILY
        case "weekdays" if not colon:
            return _WORKING_DAYS
        case "weekly" if day.upper() in _WEEKDAYS:
            return _weekly(_WEEKDAYS.index(day.upper()))
        case "weekly":
            raise UsageError(f"{text!r} names no weekday", f"write weekly: and one of {', '.join(_WEEKDAYS)}")
    fields = word.split()
    if len(fields) in (5, 6):
        # Such a line says when a job runs, which is rarely on the date that it delivers.
        raise UsageError(
            f"the cadence {text!r} has fields for hours",
            f"write only day, month and weekday of the dates that are delivered, such as '{' '.join(fields[-3:])}'",
        )
    if len(fields) != 3:
        raise UsageError(f"{text!r} is not a cadence", _REMEDY)
    return _cron(word)


def guess_cadence(dates: Sequence[int]) -> Cadence | None:
    """Return the cadence that sorted dates look like, or None if they are too few, or too irregular.

    All the dates fit it. It may expect dates that are not there.
    """
    if len(dates) < _FEWEST:
        return None
    days = [datetime.date.fromordinal(date) for date in dates]
    weekdays = {day.weekday() for day in days}
    months = {day.day for day in days}
    if len(months) == 1:
        guess = _cron(f"{months.pop()} * *")
    elif len(weekdays) == 1:
        guess = _weekly(weekdays.pop())
    elif max(weekdays) < 5 and dates[-1] - dates[0] >= 14:
        guess = _WORKING_DAYS
    else:
        guess = DAILY
    return guess if len(dates) * 2 >= len(guess.expected(dates[0], dates[-1])) else None


_FEWEST: Final = 5
"""Fewer dates look like anything."""

_WORKING_DAYS: Final[Cadence] = _Days("weekdays", lambda day: day.weekday() < 5)


def _weekly(weekday: int) -> Cadence:
    return _Steps(f"weekly:{_WEEKDAYS[weekday]}", 7, (weekday + 1) % 7)


def _cron(text: str) -> Cadence:
    # Imported by those who write cron fields.
    from cronsim import CronSim, CronSimError

    try:
        rule = CronSim(f"0 0 {text}", datetime.datetime(2000, 1, 1))  # noqa: DTZ001 - its days are those of a calendar
    except CronSimError as error:
        reason = str(error)
        raise UsageError(f"{text!r} is not a cadence ({reason[:1].lower()}{reason[1:]})", _REMEDY) from error
    return _Days(text, lambda day: day.month in rule.months and rule.match_day(day))
