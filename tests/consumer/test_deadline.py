"""When a date has ended and when it is due, across both changes of clocks and in unusual zones."""

from __future__ import annotations

import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readyfs.consumer.deadline import (
    Allowance,
    Deadline,
    date_of,
    end_ns,
    last_ended,
    parse_deadline,
    parse_zone,
    wall_time_ns,
)
from readyfs.errors import UsageError

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = ["UTC", "Europe/Berlin", "America/Havana", "Asia/Beirut", "Pacific/Apia", "Asia/Kolkata", "Pacific/Kiritimati"]


def day(text: str) -> int:
    return datetime.date.fromisoformat(text).toordinal()


def instant(text: str) -> int:
    return round(datetime.datetime.fromisoformat(text).timestamp()) * 10**9


def utc(time_ns: int) -> str:
    return datetime.datetime.fromtimestamp(time_ns / 1e9, datetime.UTC).strftime("%Y-%m-%dT%H:%MZ")


@pytest.mark.parametrize(
    ("zone", "date", "end"),
    [
        ("UTC", "2024-06-10", "2024-06-11T00:00Z"),
        ("Europe/Berlin", "2024-06-10", "2024-06-10T22:00Z"),
        ("Europe/Berlin", "2024-03-31", "2024-03-31T22:00Z"),  # a day of 23 hours
        ("Europe/Berlin", "2024-03-30", "2024-03-30T23:00Z"),
        ("Europe/Berlin", "2024-10-27", "2024-10-27T23:00Z"),  # a day of 25 hours
        ("Asia/Beirut", "2024-03-30", "2024-03-30T22:00Z"),  # midnight is skipped: the day ends with the change
        ("America/Havana", "2024-11-02", "2024-11-03T04:00Z"),  # 00:00 comes twice: the day ends with the first
        ("Pacific/Apia", "2011-12-29", "2011-12-30T10:00Z"),  # the day after it is skipped as a whole
        ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00Z"),
        ("UTC", "9999-12-31", "10000"),
    ],
)
def test_a_date_ends_at_the_midnight_of_its_zone(zone: str, date: str, end: str) -> None:
    if end == "10000":
        assert end_ns(day(date), parse_zone(zone)) == end_ns(day("9999-12-30"), parse_zone(zone)) + 86_400 * 10**9
    else:
        assert utc(end_ns(day(date), parse_zone(zone))) == end


@pytest.mark.parametrize(
    ("deadline", "date", "due"),
    [
        ("09:00", "2024-06-10", "2024-06-11T07:00Z"),
        ("9:00+2d", "2024-06-10", "2024-06-12T07:00Z"),
        ("09:00 +2d", "2024-06-10", "2024-06-12T07:00Z"),
        ("09:00", "2024-03-30", "2024-03-31T07:00Z"),  # the clocks went forward in the night before
        ("09:00", "2024-10-26", "2024-10-27T08:00Z"),  # and back
        ("02:30", "2024-03-30", "2024-03-31T01:30Z"),  # skipped: what is shown as 03:30
        ("02:00", "2024-03-30", "2024-03-31T01:00Z"),  # the first moment that is skipped is that of the change
        ("03:00", "2024-03-30", "2024-03-31T01:00Z"),
        ("02:30", "2024-10-26", "2024-10-27T00:30Z"),  # doubled: the first of the two
        ("03:00", "2024-10-26", "2024-10-27T02:00Z"),
        ("00:30", "2024-06-10", "2024-06-11T00:00Z"),  # never before the date has ended, here in UTC
    ],
)
def test_a_deadline_is_a_time_of_the_clocks_on_a_later_day(deadline: str, date: str, due: str) -> None:
    assert utc(parse_deadline(deadline, BERLIN, datetime.UTC).due_ns(day(date))) == due


def test_an_allowance_is_counted_from_the_end_of_the_date_in_hours_that_pass() -> None:
    # Through the night in which the clocks go forward, 36 hours are 36 hours and not 37.
    assert utc(Allowance(36 * 3600.0, BERLIN).due_ns(day("2024-03-30"))) == "2024-04-01T11:00Z"


def test_a_date_becomes_due_in_the_nanosecond_of_its_deadline() -> None:
    for deadline in (Allowance(3600.0, BERLIN), parse_deadline("09:00", BERLIN, datetime.UTC)):
        due = deadline.due_ns(day("2024-06-10"))
        assert deadline.last_due(due) == day("2024-06-10")
        assert deadline.last_due(due - 1) == day("2024-06-09")


def test_work_that_began_anew_is_due_as_if_the_date_had_ended_then() -> None:
    date, again = day("2024-06-10"), instant("2024-08-01T12:00:00+00:00")
    assert utc(Allowance(3600.0, datetime.UTC).due_again_ns(date, again)) == "2024-08-01T13:00Z"
    assert utc(parse_deadline("09:00", BERLIN, datetime.UTC).due_again_ns(date, again)) == "2024-08-02T07:00Z"
    before = instant("2024-06-01T12:00:00+00:00")
    assert utc(Allowance(3600.0, datetime.UTC).due_again_ns(date, before)) == "2024-06-11T01:00Z"
    assert utc(parse_deadline("09:00", BERLIN, datetime.UTC).due_again_ns(date, before)) == "2024-06-11T07:00Z"


@given(
    zone=st.sampled_from(ZONES),
    start=st.integers(day("2005-01-01"), day("2037-12-31")),
    seconds=st.integers(0, 86_400),
    deadline=st.sampled_from(["0s", "36h", "100d", "00:00", "02:30", "23:59+2d", "09:00+366d"]),
)
def test_the_last_date_due_is_the_last_whose_deadline_has_passed(
    zone: str, start: int, seconds: int, deadline: str
) -> None:
    place = parse_zone(zone)
    allowed = {"0s": 0.0, "36h": 36 * 3600.0, "100d": 100 * 86_400.0}
    rule: Deadline = (
        Allowance(allowed[deadline], place) if deadline in allowed else parse_deadline(deadline, place, datetime.UTC)
    )
    now = (start - day("1970-01-01")) * 86_400 * 10**9 + seconds * 10**9
    date = rule.last_due(now)
    assert rule.due_ns(date) <= now < rule.due_ns(date + 1)
    assert all(rule.due_ns(earlier) <= rule.due_ns(earlier + 1) for earlier in range(date - 3, date + 3))


@pytest.mark.parametrize(
    "change", ["2024-11-03T03:50:00+00:00", "2024-11-03T04:30:00+00:00", "2024-11-03T05:30:00+00:00"]
)
def test_the_newest_date_that_ended_never_goes_back(change: str) -> None:
    # In Havana, 00:30 comes twice that night.
    zone = ZoneInfo("America/Havana")
    expected = "2024-11-01" if change < "2024-11-03T04" else "2024-11-02"
    assert last_ended(instant(change), zone) == day(expected)


def test_a_date_is_found_for_every_time_that_a_row_can_hold() -> None:
    assert date_of(instant("2024-06-10T23:30:00+00:00"), BERLIN) == day("2024-06-11")
    for extreme in (-(2**63), 2**63 - 1):
        for zone in ZONES:
            assert 1 <= date_of(extreme, parse_zone(zone)) <= datetime.date.max.toordinal()


def test_times_of_the_first_and_last_years_are_counted_like_all_others() -> None:
    assert wall_time_ns(1, 0, 0, datetime.UTC) == -62_135_596_800 * 10**9
    last = datetime.date.max.toordinal()
    assert wall_time_ns(last + 1, 0, 0, BERLIN) - wall_time_ns(last, 0, 0, datetime.UTC) == 86_400 * 10**9


@pytest.mark.parametrize(
    "text", ["", "9", "9h", "24:00", "09:60", "09:00+0d", "09:00+367d", "09:00-1d", "09:00+2", "٠٩:00"]
)
def test_a_bad_deadline_is_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(UsageError, match="such as 09:00"):
        parse_deadline(text, BERLIN, datetime.UTC)


@pytest.mark.parametrize(
    "name", ["", "Berlin", "Europe", "../Europe/Berlin", "/etc/passwd", "Europe/Berlin\0", "a" * 300]
)
def test_a_zone_that_is_none_is_refused_with_the_remedy(name: str) -> None:
    with pytest.raises(UsageError, match="such as UTC or Europe/Berlin"):
        parse_zone(name)
