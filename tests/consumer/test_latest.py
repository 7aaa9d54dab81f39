"""How far a series has come: the newest ready date, the one expected by now, and up to where there is no gap."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readyfs.consumer.agreement import Agreement, Judge, Verdict
from readyfs.consumer.cadence import parse_cadence
from readyfs.consumer.latest import find_latest, first_absent, first_date
from readyfs.partition import NOT_SET, PartitionStatus, WithheldReason, render_date
from readyfs.state.reader import StateRow
from tests.consumer.days import SERIES, UTC, between, day, days_of, hours, instant, judge, row


def found(
    ready: list[int], by: Judge, *others: StateRow
) -> tuple[str | None, str | None, int | None, str | None, str | None]:
    """Return newest, expected, behind, complete until, and the status; of rows that are ready, and of others."""
    one = find_latest(SERIES, array("i", ready), NOT_SET, by, first_date(days_of(ready, *others)))
    shown = [None if date is None else render_date(date).decode()[5:] for date in (one.newest, one.expected)]
    until = None if one.complete_until is None else render_date(one.complete_until).decode()[5:]
    return shown[0], shown[1], one.behind, until, one.status


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
    ready = between("06-01", "06-09")
    one = find_latest(SERIES, ready, NOT_SET, unstated("06-20T12:00", "auto"), ready[0])
    assert (one.behind, one.status, one.guessed, one.cadence and one.cadence.text) == (10, Verdict.PASS, True, "daily")


def test_what_nobody_can_know_does_not_pass() -> None:
    # Too few dates for a guess, and a series that has no date at all.
    assert found([day("06-01")], unstated("06-20T12:00", "auto")) == ("06-01", None, None, None, None)
    no_date = row(None, PartitionStatus.WITHHELD, withheld=WithheldReason.BAD_ROW)
    assert found([], unstated("06-20T12:00"), no_date) == (None, None, None, None, None)


def test_since_is_where_the_series_must_begin() -> None:
    ready = between("06-05", "06-09")
    assert found(ready, unstated("06-10T12:00", since=day("06-05")))[3] == "06-09"
    assert found(ready, unstated("06-10T12:00", since=day("06-04")))[3] is None
    assert found(ready, unstated("06-10T12:00", first=day("06-01")))[3] == "06-09"


def test_nothing_is_expected_after_the_last_date() -> None:
    assert found(between("06-01", "06-05"), unstated("06-20T12:00", last=day("06-05")))[:3] == ("06-05", "06-05", 0)


@pytest.mark.parametrize("status", [one for one in PartitionStatus if one is not PartitionStatus.READY])
def test_a_series_begins_with_its_first_row_in_whatever_status(status: PartitionStatus) -> None:
    """As `gaps` has it: what was never ready is no less late."""
    by = unstated("06-10T12:00")
    assert found(between("06-05", "06-09"), by, row("06-04", status)) == ("06-09", "06-09", 0, None, "pass")
    assert found([], by, row("06-04", status), row("06-06", status)) == (None, "06-09", 6, None, "error")
    assert found([], by, row("06-09", status)) == (None, "06-09", 1, None, "pass")
    assert found([], by, row("06-12", status)) == (None, None, 0, None, "pass")


def test_a_series_without_a_ready_date_has_come_nowhere() -> None:
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
