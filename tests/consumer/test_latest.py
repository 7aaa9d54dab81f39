"""How far a series has come: the newest ready date, the one expected by now, and up to where there is no gap."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readyfs.consumer.agreement import Agreement, Judge, Verdict
from readyfs.consumer.cadence import parse_cadence
from readyfs.consumer.latest import find_latest, first_absent
from readyfs.partition import NOT_SET, render_date
from tests.consumer.days import SERIES, UTC, between, day, hours, instant, judge


def found(ready: list[int], by: Judge) -> tuple[str | None, str | None, int, str | None, str]:
    """Return newest, expected, behind, complete until, and the status."""
    one = find_latest(SERIES, array("i", ready), NOT_SET, by)
    shown = [None if date is None else render_date(date).decode()[5:] for date in (one.newest, one.expected)]
    until = None if one.complete_until is None else render_date(one.complete_until).decode()[5:]
    return shown[0], shown[1], one.behind, until, str(one.status)


def unstated(
    now: str, cadence: str = "daily", *, since: int | None = None, first: int | None = None, last: int | None = None
) -> Judge:
    """Return the judge of somebody who did not say when dates are due."""
    stated = None if cadence == "auto" else parse_cadence(cadence)
    return Judge(
        Agreement(UTC, stated, hours(24), hours(36), since=since, first=first, last=last, is_stated=False), instant(now)
    )


def test_a_date_is_expected_when_it_has_ended() -> None:
    ready = between("06-01", "06-09")
    assert found(ready, unstated("06-10T23:59")) == ("06-09", "06-09", 0, "06-09", "pass")
    assert found(ready, unstated("06-11T00:00")) == ("06-09", "06-10", 1, "06-09", "pass")
    assert found(ready, unstated("06-12T00:00")) == ("06-09", "06-11", 2, "06-09", "warn")
    assert found(ready, unstated("06-12T12:00")) == ("06-09", "06-11", 2, "06-09", "error")


def test_a_date_is_expected_when_it_is_due_where_that_was_said() -> None:
    ready = between("06-01", "06-09")
    assert found(ready, judge("06-12T11:59", error=hours(36))) == ("06-09", "06-09", 0, "06-09", "pass")
    assert found(ready, judge("06-12T12:00", error=hours(36))) == ("06-09", "06-10", 1, "06-09", "error")


def test_a_gap_ends_what_is_complete_and_a_newer_date_is_the_newest_all_the_same() -> None:
    ready = between("06-01", "06-09", "06-04")
    assert found(ready, unstated("06-10T12:00")) == ("06-09", "06-09", 0, "06-03", "pass")


def test_the_cadence_says_which_dates_count() -> None:
    fridays = between("06-03", "06-07")
    assert found(fridays, unstated("06-10T12:00", "weekdays")) == ("06-07", "06-07", 0, "06-07", "pass")
    assert found(fridays, unstated("06-13T12:00", "weekdays")) == ("06-07", "06-12", 3, "06-07", "error")
    mondays = [day("06-03"), day("06-10")]
    assert found(mondays, unstated("06-20T12:00", "weekly:MON")) == ("06-10", "06-17", 1, "06-10", "error")


def test_a_date_before_its_time_counts_as_complete() -> None:
    assert found(between("06-01", "06-15"), unstated("06-10T12:00")) == ("06-15", "06-09", 0, "06-15", "pass")


def test_a_guess_reports_and_never_alarms() -> None:
    one = find_latest(SERIES, between("06-01", "06-09"), NOT_SET, unstated("06-20T12:00", "auto"))
    assert (one.behind, one.status, one.guessed, one.cadence and one.cadence.text) == (10, Verdict.PASS, True, "daily")
    assert found([day("06-01")], unstated("06-20T12:00", "auto")) == ("06-01", None, 0, None, "pass")


def test_since_is_where_the_series_must_begin() -> None:
    ready = between("06-05", "06-09")
    assert found(ready, unstated("06-10T12:00", since=day("06-05")))[3] == "06-09"
    assert found(ready, unstated("06-10T12:00", since=day("06-04")))[3] is None
    assert found(ready, unstated("06-10T12:00", first=day("06-01")))[3] == "06-09"


def test_nothing_is_expected_after_the_last_date() -> None:
    assert found(between("06-01", "06-05"), unstated("06-20T12:00", last=day("06-05")))[:3] == ("06-05", "06-05", 0)


def test_a_series_without_a_ready_date_has_come_nowhere() -> None:
    assert found([], unstated("06-10T12:00")) == (None, None, 0, None, "pass")
    assert found([], unstated("06-10T12:00", since=day("06-08"))) == (None, "06-09", 2, None, "error")


@pytest.mark.parametrize("cadence", ["daily", "weekdays", "weekly:TUE", "1,15 * *"])
@given(ready=st.sets(st.integers(0, 60)), begin=st.integers(0, 60), size=st.integers(0, 60))
def test_the_first_absent_date_is_the_first_that_is_not_ready(
    cadence: str, ready: set[int], begin: int, size: int
) -> None:
    base = day("06-01")
    dates = sorted(base + number for number in ready)
    expected = parse_cadence(cadence).expected(base + begin, base + begin + size)
    assert first_absent(expected, dates) == next((date for date in expected if date not in dates), None)
