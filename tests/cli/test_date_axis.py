"""Dates from left to right: every date has one column, however they are put together, and the ruler says which."""

from __future__ import annotations

import datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readyfs.cli.date_axis import LONG, DateAxis, Unit, join_stretches, make_axis
from tests.consumer.days import day

FIRST, LAST = datetime.date.min.toordinal(), datetime.date.max.toordinal()

dates = st.one_of(
    st.integers(day("2023-01-01"), day("2026-12-31")), st.integers(FIRST, LAST), st.sampled_from([FIRST, LAST])
)
ranges = st.tuples(dates, dates).map(sorted).map(tuple)


def word(unit: Unit, date: int) -> tuple[int, ...]:
    """Return what a calendar calls the unit that a date lies in."""
    one = datetime.date.fromordinal(date)
    return {
        Unit.DAY: (one.year, one.month, one.day),
        Unit.WEEK: one.isocalendar()[:2],
        Unit.MONTH: (one.year, one.month),
        Unit.QUARTER: (one.year, (one.month + 2) // 3),
        Unit.YEAR: (one.year,),
    }[unit]


@given(st.sampled_from(Unit), dates)
def test_a_unit_has_the_dates_that_the_calendar_gives_it(unit: Unit, date: int) -> None:
    number = unit.number(date)
    begin, end = unit.begin(number), unit.begin(number + 1)
    assert begin <= date < end
    assert word(unit, begin) == word(unit, date) == word(unit, end - 1)
    assert begin == FIRST or word(unit, begin - 1) != word(unit, date)
    assert end == LAST + 1 or word(unit, end) != word(unit, date)


@given(st.lists(ranges, min_size=1, max_size=4), st.integers(2, 200), st.sampled_from([None, *Unit]))
def test_each_date_has_one_column(stretches: list[tuple[int, int]], room: int, unit: Unit | None) -> None:
    joined = join_stretches(stretches)
    axis = make_axis(joined, room, unit)
    assert 0 < len(axis.columns) <= room
    assert unit in (None, axis.unit)
    for before, after in pairwise(axis.columns):
        assert before.end <= after.begin
        # What has no column is what no stretch has.
        assert all(max(first, before.end) > min(last, after.begin - 1) for first, last in joined)
    assert axis.columns[0].begin <= joined[0][0]
    assert axis.columns[-1].end > joined[-1][1]
    for column in axis.columns[1:] if axis.has_older else axis.columns:
        assert column.begin == column.end or word(axis.unit, column.begin) == word(axis.unit, column.end - 1)


@given(ranges, st.integers(2, 200))
def test_the_unit_is_the_finest_of_which_all_dates_fit(stretch: tuple[int, int], room: int) -> None:
    axis = make_axis([stretch], room)
    assert not axis.has_older or axis.unit is Unit.YEAR
    finer = [unit for unit in Unit if list(Unit).index(unit) < list(Unit).index(axis.unit)]
    for unit in finer:
        assert make_axis([stretch], room, unit).has_older, unit


def test_what_does_not_fit_is_in_one_column_before_the_newest() -> None:
    axis = make_axis([(day("01-01"), day("06-10"))], 4, Unit.DAY)
    assert axis.has_older
    assert [(one.begin, one.end) for one in axis.columns] == [
        (day("01-01"), day("06-08")),
        (day("06-08"), day("06-09")),
        (day("06-09"), day("06-10")),
        (day("06-10"), day("06-11")),
    ]


def test_long_stretches_without_a_date_are_left_out() -> None:
    far = (LAST, LAST)
    joined = join_stretches([(day("06-01"), day("06-02")), far, (day("06-02"), day("06-03"))])
    assert joined == [(day("06-01"), day("06-03")), far]
    axis = make_axis(joined, 10)
    assert (axis.unit, len(axis.columns), axis.has_older) == (Unit.DAY, 5, False)
    assert axis.columns[3].begin == axis.columns[3].end
    near = (day("06-03") + LONG, day("06-03") + LONG)
    assert join_stretches([(day("06-01"), day("06-03")), near]) == [(day("06-01"), near[1])]


def test_nothing_is_left_out_between_what_is_older_and_the_newest() -> None:
    axis = make_axis([(day("06-01"), day("06-06")), (LAST - 2, LAST)], 5, Unit.DAY)
    assert [(one.begin, one.end) for one in axis.columns] == [
        (day("06-01"), LAST - 2),
        *((date, date + 1) for date in range(LAST - 2, LAST + 1)),
    ]


def ruler(first: str, last: str, unit: Unit, room: int = 60, more: tuple[int, int] | None = None) -> tuple[str, str]:
    axis = make_axis([(day(first), day(last)), *([] if more is None else [more])], room, unit)
    return axis.ruler(room)


@pytest.mark.parametrize(
    ("first", "last", "unit", "lines"),
    [
        ("2024-05-30", "2024-06-18", Unit.DAY, ("  2024-06", "30  03     10     17")),
        ("2024-06-05", "2024-06-06", Unit.DAY, ("2024-06", "05")),
        ("2024-12-02", "2025-02-23", Unit.WEEK, ("    2025", "12  01  02")),
        ("2023-11-05", "2024-12-31", Unit.MONTH, ("  2024", "  01 04 07 10")),
        ("2023-11-05", "2024-12-31", Unit.QUARTER, (" 2024", "41234")),
        ("2018-11-05", "2031-12-31", Unit.YEAR, ("  2020      2030", "89012345678901")),
        ("0001-01-01", "0001-01-01", Unit.YEAR, ("0001", "1")),
        ("9999-12-31", "9999-12-31", Unit.DAY, ("9999-12", "31")),
        ("9999-12-31", "9999-12-31", Unit.WEEK, ("9999", "12")),
    ],
)
def test_ruler_says_where_a_period_begins(first: str, last: str, unit: Unit, lines: tuple[str, str]) -> None:
    assert ruler(first, last, unit) == lines


def test_ruler_marks_what_is_put_together_and_what_is_left_out() -> None:
    far = (LAST - 2, LAST)
    assert ruler("2024-01-01", "2024-06-05", Unit.DAY, 12, far) == ("   2024-06", "<30  03 /29")
    assert DateAxis(Unit.DAY, ()).ruler(10) == ("", "")


@given(ranges, st.integers(2, 60), st.sampled_from(Unit))
def test_ruler_is_no_wider_than_its_room(stretch: tuple[int, int], room: int, unit: Unit) -> None:
    assert max(map(len, make_axis([stretch], room, unit).ruler(room))) <= room
