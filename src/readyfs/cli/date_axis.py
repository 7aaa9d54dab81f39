"""Dates from left to right: which of them each column stands for, and the ruler above.

A column is a day, a week from Monday on, a month, a quarter or a year. A long time without any date is left out, and a
blank column stands for it. Where not all dates fit, the newest do, and one column stands for all before them.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

LONG: Final = 400
"""Without a date for so many days, a stretch ends: longer than any unit, so that none is drawn twice."""

OLDER: Final = "<"
"""Stands above the column of all dates before the others."""
LEFT_OUT: Final = "/"
"""Stands above the blank column of dates that are left out."""

_END: Final = datetime.date.max.toordinal() + 1
_MONTHS: Final = 12
_QUARTERS: Final = 4
_DAYS_OF_WEEK: Final = 7


class Unit(StrEnum):
    """What one column stands for, the finest first."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"

    def number(self, date: int) -> int:
        """Return the number of the unit that a date, an ordinal, lies in."""
        if self is Unit.DAY:
            return date
        if self is Unit.WEEK:
            return (date - 1) // _DAYS_OF_WEEK  # the first of all dates is a Monday
        day = datetime.date.fromordinal(date)
        if self is Unit.MONTH:
            return day.year * _MONTHS + day.month - 1
        return day.year if self is Unit.YEAR else day.year * _QUARTERS + (day.month - 1) // 3

    def begin(self, number: int) -> int:
        """Return the first date of a unit; of the one after the last, the date after the last."""
        if self is Unit.DAY:
            return number
        if self is Unit.WEEK:
            return min(number * _DAYS_OF_WEEK + 1, _END)
        per_year = {Unit.MONTH: _MONTHS, Unit.QUARTER: _QUARTERS, Unit.YEAR: 1}[self]
        year, part = divmod(number, per_year)
        if year > datetime.MAXYEAR:
            return _END
        return datetime.date(year, part * (_MONTHS // per_year) + 1, 1).toordinal()


class Column(NamedTuple):
    """The dates that a column stands for, as ordinals: `end` is the date after the last. One without dates is blank."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class DateAxis:
    """The columns in order. With `has_older` the first stands for all dates before the second."""

    unit: Unit
    columns: tuple[Column, ...]
    has_older: bool = False

    def ruler(self, room: int) -> tuple[str, str]:
        """Return the two lines above the columns, of at most so many characters."""
        upper, lower = _Line(room), _Line(room)
        marks: list[tuple[int, _Mark]] = []
        starts: list[tuple[int, _Mark]] = []
        is_start = True
        for place, column in enumerate(self.columns):
            if (self.has_older and place == 0) or column.begin == column.end:
                lower.put(place, OLDER if place == 0 else LEFT_OUT)
                is_start = True
                continue
            mark = _mark(self.unit, column.end - 1)
            marks.append((place, mark))
            if is_start:
                starts.append((place, mark))
                is_start = False
        for place, mark in marks:
            if mark.begins_upper:
                upper.put(place, mark.upper)
            if mark.begins_lower:
                lower.put(place, mark.lower)
        # Where room is left, the first column says where one is.
        for place, mark in starts:
            upper.put(place, mark.upper)
            lower.put(place, mark.lower)
        return upper.text, lower.text


def make_axis(stretches: Sequence[tuple[int, int]], room: int, unit: Unit | None = None) -> DateAxis:
    """Return the axis of dates, given as stretches in order, each with its first and its last date.

    Without a unit the finest is taken of which all fit into `room` columns, of which there are two at least.
    """
    if unit is None:
        unit = next((one for one in Unit if _count(one, stretches) <= room), Unit.YEAR)
    if _count(unit, stretches) <= room:
        return DateAxis(unit, tuple(reversed(list(_columns_from_last(unit, stretches)))))
    newest: list[Column] = []
    for column in _columns_from_last(unit, stretches):
        if len(newest) == room - 1:
            break
        newest.append(column)
    if newest[-1].begin == newest[-1].end:
        newest.pop()  # what is blank tells nothing beside the older ones
    return DateAxis(unit, (Column(stretches[0][0], newest[-1].begin), *reversed(newest)), True)


def join_stretches(stretches: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return stretches in order, those put together that overlap or have no long way between them."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(stretches):
        if joined and first - joined[-1][1] <= LONG:
            joined[-1] = joined[-1][0], max(last, joined[-1][1])
        else:
            joined.append((first, last))
    return joined


def _count(unit: Unit, stretches: Sequence[tuple[int, int]]) -> int:
    return sum(unit.number(last) - unit.number(first) + 2 for first, last in stretches) - 1


def _columns_from_last(unit: Unit, stretches: Sequence[tuple[int, int]]) -> Iterator[Column]:
    blank: int | None = None
    for first, last in reversed(stretches):
        if blank is not None:
            yield Column(blank, blank)
        end = unit.begin(unit.number(last) + 1)
        for number in range(unit.number(last), unit.number(first) - 1, -1):
            begin = unit.begin(number)
            yield Column(begin, end)
            end = begin
        blank = end


class _Mark(NamedTuple):
    """What the two lines of a ruler may say of a column, and whether something begins in it that they tell."""

    upper: str
    lower: str
    begins_upper: bool
    begins_lower: bool


def _mark(unit: Unit, last: int) -> _Mark:
    """Return what may stand above a column, given its last date: whatever begins in it has begun by then."""
    day = datetime.date.fromordinal(last)
    year, month = f"{day.year:04}", f"{day.month:02}"
    if unit is Unit.DAY:
        return _Mark(f"{year}-{month}", f"{day.day:02}", day.day == 1, day.weekday() == 0)
    if unit is Unit.WEEK:
        has_first = day.day <= _DAYS_OF_WEEK
        return _Mark(year, month, has_first and day.month == 1, has_first)
    if unit is Unit.MONTH:
        return _Mark(year, month, day.month == 1, day.month % 3 == 1)
    if unit is Unit.QUARTER:
        return _Mark(year, str(day.month // 3), day.month == 3, True)
    return _Mark(year, year[-1], day.year % 10 == 0, True)


class _Line:
    """One line of a ruler; a text that would touch another one is left out."""

    def __init__(self, room: int) -> None:
        self._chars = [" "] * room

    @property
    def text(self) -> str:
        return "".join(self._chars).rstrip()

    def put(self, place: int, text: str) -> None:
        """Put a text into the line, if there is room for it. Single characters may touch each other."""
        end = place + len(text)
        if end > len(self._chars) or any(char != " " for char in self._chars[place:end]):
            return
        around = (*self._chars[max(0, place - 1) : place], *self._chars[end : end + 1])
        if len(text) == 1 or all(char in (" ", OLDER, LEFT_OUT) for char in around):
            self._chars[place:end] = text
