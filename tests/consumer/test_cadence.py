"""Which dates a cadence expects, and what guesses are made of dates."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readyfs.consumer.cadence import Cadence, guess_cadence, parse_cadence
from readyfs.errors import UsageError


def day(text: str) -> int:
    return datetime.date.fromisoformat(text).toordinal()


def expected(cadence: str | Cadence, first: str, last: str) -> list[str]:
    rule = parse_cadence(cadence) if isinstance(cadence, str) else cadence
    return [datetime.date.fromordinal(date).isoformat() for date in rule.expected(day(first), day(last))]


def every(step: int, count: int, start: str = "2024-01-01") -> list[int]:
    return [day(start) + step * number for number in range(count)]


@pytest.mark.parametrize(
    ("cadence", "dates"),
    [
        ("daily", "29 30 31 01 02 03 04 05 06"),
        ("weekdays", "29 30 31 03 04 05 06"),
        ("weekly:MON", "03"),
        ("weekly:thu", "30 06"),
        ("weekly:SUN", "02"),
        ("1,15 * *", "01"),
        ("L * *", "31"),
        ("* * FRI", "31"),
        ("* * 1-3", "29 03 04 05"),
        ("1 * MON", "01 03"),  # neither begins with a star: one that matches is enough
        ("* 6 *", "01 02 03 04 05 06"),
        ("* * MON#1", "03"),
    ],
)
def test_a_cadence_expects_its_dates_at_the_turn_of_a_month(cadence: str, dates: str) -> None:
    assert " ".join(date[-2:] for date in expected(cadence, "2024-05-29", "2024-06-06")) == dates


@pytest.mark.parametrize("cadence", ["daily", "weekdays", "weekly:MON", "1 * *"])
def test_both_ends_are_inclusive_and_an_empty_range_expects_nothing(cadence: str) -> None:
    first = day("2024-04-01")  # a Monday, and the first of a month
    assert list(parse_cadence(cadence).expected(first, first)) == [first]
    assert list(parse_cadence(cadence).expected(first, first - 1)) == []


@given(
    first=st.integers(1, datetime.date.max.toordinal()),
    length=st.integers(0, 800),
    weekday=st.integers(0, 6),
)
def test_weekly_is_what_cron_says_of_the_weekday_in_any_year(first: int, length: int, weekday: int) -> None:
    last = min(first + length, datetime.date.max.toordinal())
    name = "MON TUE WED THU FRI SAT SUN".split()[weekday]
    weekly = list(parse_cadence(f"weekly:{name}").expected(first, last))
    assert weekly == list(parse_cadence(f"* * {name}").expected(first, last))
    assert weekly == [date for date in range(first, last + 1) if datetime.date.fromordinal(date).weekday() == weekday]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not a cadence"),
        ("hourly", "is not a cadence"),
        ("auto", "is not a cadence"),
        ("daily:MON", "is not a cadence"),
        ("weekly", "names no weekday"),
        ("weekly:MONDAY", "names no weekday"),
        ("32 * *", "day-of-month"),
        ("30 2 *", "day-of-month"),
        ("* 13 *", "month"),
        ("* * 8", "day-of-week"),
        ("* * 5L/2", "day-of-week"),
        ("1- * *", "day-of-month"),
        ("*/0 * *", "day-of-month"),
    ],
)
def test_a_bad_cadence_is_refused_with_the_remedy(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        parse_cadence(text)
    assert "weekly:" in caught.value.remedy


def test_a_line_of_a_crontab_is_refused_and_its_day_fields_are_offered() -> None:
    # A job that runs on Tuesdays at six delivers Mondays.
    with pytest.raises(UsageError, match=r"fields for hours; .* such as '\* \* 2-6'"):
        parse_cadence("0 6 * * 2-6")


@given(st.text("0123456789*,/-#L MONFRISUDECW", max_size=20))
def test_three_fields_are_a_cadence_or_refused(text: str) -> None:
    try:
        found = parse_cadence(text)
    except UsageError:
        return
    assert all(first < second for first, second in pairwise(found.expected(day("2024-01-01"), day("2024-12-31"))))


@pytest.mark.parametrize(
    ("dates", "guess"),
    [
        (every(1, 10), "daily"),
        (every(7, 10), "weekly:MON"),
        ([date for date in every(1, 28) if date % 7 in range(1, 6)], "weekdays"),
        ([day(f"2024-{month:02}-15") for month in range(1, 8)], "15 * *"),
        (every(1, 5), "daily"),  # five working days in a row are no working days yet
        (every(1, 4), None),
        (every(3, 20), None),
        ([], None),
    ],
)
def test_a_guess_is_the_cadence_that_all_dates_fit(dates: Sequence[int], guess: str | None) -> None:
    found = guess_cadence(dates)
    assert (found and found.text) == guess


def test_a_guess_learns_failures_as_holidays() -> None:
    # Why no alarm rests on one: every Saturday and Sunday failed, and nobody would hear of it.
    without_weekends = [date for date in every(1, 60) if date % 7 in range(1, 6)]
    guess = guess_cadence(without_weekends)
    assert guess is not None
    assert set(guess.expected(without_weekends[0], without_weekends[-1])) == set(without_weekends)


def test_only_those_who_write_cron_fields_pay_for_the_library() -> None:
    import subprocess
    import sys

    script = "import sys, readyfs.consumer.cadence as c; c.parse_cadence('weekdays'); print('cronsim' in sys.modules)"
    source = Path(__file__).parents[2] / "src"
    output = subprocess.run([sys.executable, "-c", script], env={"PYTHONPATH": str(source)}, capture_output=True)
    assert output.stdout == b"False\n"
