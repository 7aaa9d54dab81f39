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

    @property
    def newest(self) -> Sequence[Column]:
        """The columns of one unit each, with the blank ones between."""
        return self.columns[1:] if self.has_older else self.columns

    def ruler(self, room: int) -> tuple[str, str]:
        """Return the two lines above the columns, of at most so many characters."""
        lines = (_Line(room), _Line(room))
        begins = [place for place, _ in self._starts()]
        marks = [_marks(self.unit, column) for column in self.columns]
        for place, (column, (_, is_begin)) in enumerate(zip(self.columns, marks, strict=True)):
            if place == 0 and self.has_older:
                lines[1].put(0, "<", 0)
            elif column.begin == column.end:
                lines[1].put(place, "/", 0)
            else:
                for line, text, begins_here in zip(lines, marks[place][0], is_begin, strict=True):
                    if begins_here:
                        line.put(place, text, 0 if len(text) == 1 else 1)
        for place in begins:
            for line, text in zip(lines, marks[place][0], strict=True):
                line.put(place, text, 0 if len(text) == 1 else 1)
        return lines[0].text, lines[1].text

    def _starts(self) -> Iterator[tuple[int, Column]]:
        """Yield the columns with which a stretch begins."""
        is_start = True
        for place, column in enumerate(self.columns):
            if column.begin == column.end or (place == 0 and self.has_older):
                is_start = True
            elif is_start:
                yield place, column
                is_start = False


def make_axis(stretches: Sequence[tuple[int, int]], room: int, unit: Unit | None = None) -> DateAxis:
    """Return the axis of dates, given as stretches in order, each with its first and its last date.

    Without a unit the finest is taken of which all fit into so many columns.
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
    while newest and newest[-1].begin == newest[-1].end:
        newest.pop()  # what is blank tells nothing beside the older ones
    end = newest[-1].begin if newest else stretches[-1][1] + 1
    return DateAxis(unit, (Column(stretches[0][0], end), *reversed(newest)), True)


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


def _marks(unit: Unit, column: Column) -> tuple[tuple[str, str], tuple[bool, bool]]:
    """Return what the two lines may say of a column, and whether something begins in it that they tell."""
    last = datetime.date.fromordinal(min(column.end, _END) - 1 if column.end > column.begin else column.begin)
    year, month = f"{last.year:04}", f"{last.month:02}"
    if unit is Unit.DAY:
        return (f"{year}-{month}", f"{last.day:02}"), (last.day == 1, last.weekday() == 0)
    if unit is Unit.WEEK:
        begins = last.day <= _DAYS_OF_WEEK
        return (year, month), (begins and last.month == 1, begins)
    if unit is Unit.MONTH:
        return (year, month), (last.month == 1, last.month % 3 == 1)
    if unit is Unit.QUARTER:
        return (year, str(last.month // 3)), (last.month == 3, True)
    return (year, year[-1]), (last.year % 10 == 0, True)


class _Line:
    """One line of a ruler; what would touch another text is left out."""

    def __init__(self, room: int) -> None:
        self._chars = [" "] * room

    @property
    def text(self) -> str:
        return "".join(self._chars).rstrip()

    def put(self, place: int, text: str, gap: int) -> None:
        end = place + len(text)
        around = self._chars[max(0, place - gap) : end + gap]
        if end <= len(self._chars) and set(around) <= {" "}:
            self._chars[place:end] = text
