"""The names of moments: times of all forms, and steps back."""

from __future__ import annotations

import pytest

from readyfs.history.moments import Moment
from readyfs.history.times import find_moment, parse_steps, parse_time

DAY_NS = 86400 * 10**9
NOV_27_NS = 1_795_737_600 * 10**9
TEN_NS = NOV_27_NS + 36000 * 10**9


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-27", NOV_27_NS),
        ("20261127", NOV_27_NS),
        ("2026-11-27T10", TEN_NS),
        ("2026-11-27T10:00", TEN_NS),
        ("2026-11-27T10:00Z", TEN_NS),
        ("20261127T1000Z", TEN_NS),
        ("2026-11-27T10:00:00", TEN_NS),
        ("2026-11-27T12:00+02:00", TEN_NS),
        ("2026-11-27T12:00+02", TEN_NS),
        ("2026-11-27T04:30:00-0530", TEN_NS),
        ("2026-11-28T00:30:00+14:30", TEN_NS),
        ("2026-11-27T10:00:00.5", TEN_NS + 500_000_000),
        ("2026-11-27T10:00:00,000000001Z", TEN_NS + 1),
        ("1970-01-01", 0),
        ("1969-12-31T23:59:59Z", -(10**9)),
    ],
)
def test_time_is_read(text: str, expected: int) -> None:
    assert parse_time(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "now", "2026", "2026-11", "2026-1127", "202611-27", "2026-13-01", "2026-02-30", "0000-01-01"),
        *("2026-11-27T", "2026-11-27 10:00", "2026-11-27T24:00", "2026-11-27T10:60", "2026-11-27T10:00:60"),
        *("2026-11-27Z", "2026-11-27T10:00z", "2026-11-27T10:00+24:00", "2026-11-27T10:00+01:60", "-2026-11-27"),
        *("2026-11-27T10:00:00.", "2026-11-27T10:00:00.0000000001", "2026-11-27T10:00.5", " 2026-11-27", "٢٠٢٦-11-27"),
        *("2026-11-27T10:00\n", "2026-11-27/", "\udcff"),
    ],
)
def test_nonsense_is_no_time(text: str) -> None:
    assert parse_time(text) is None


@pytest.mark.parametrize(("text", "steps"), [("~0", 0), ("~1", 1), ("~12", 12), ("~999999999", 999_999_999)])
def test_steps_are_read(text: str, steps: int) -> None:
    assert parse_steps(text) == steps


@pytest.mark.parametrize("text", ["~", "~-1", "~01", "~ 1", "~1 ", "1", "~x", "~1234567890", "~\u0661", "~1\n"])
def test_nonsense_is_no_step(text: str) -> None:
    assert parse_steps(text) is None


MOMENTS = [Moment("a", NOV_27_NS), Moment("b", NOV_27_NS + 10), Moment("a", TEN_NS)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("~0", MOMENTS[2]),
        ("~2", MOMENTS[0]),
        ("~3", None),
        ("2026-11-27", MOMENTS[0]),
        ("2026-11-27T00:00:00.000000009", MOMENTS[0]),
        ("2026-11-27T00:00:00.000000010", MOMENTS[1]),
        ("2026-11-27T09:59:59.999999999Z", MOMENTS[1]),
        ("2026-11-27T10:00Z", MOMENTS[2]),
        ("2026-11-27T11:00+01:00", MOMENTS[2]),
        ("2026-11-28", MOMENTS[2]),
        ("2026-11-28T00:00:00.000000001", None),
        ("2026-11-26", None),
        ("tomorrow", None),
    ],
)
def test_the_newest_moment_at_or_before_a_time_is_found(name: str, expected: Moment | None) -> None:
    assert find_moment(name, MOMENTS, NOV_27_NS + DAY_NS) == expected


def test_nothing_is_found_in_nothing() -> None:
    assert find_moment("~0", (), TEN_NS) is None
    assert find_moment("2026-11-27", (), TEN_NS) is None


def test_a_clock_that_was_set_back_leaves_what_was_in_force_last() -> None:
    moments = [Moment("a", 100), Moment("b", 900), Moment("c", 200)]
    assert find_moment("1970-01-01T00:00:00.0000005", moments, TEN_NS) == moments[2]
    assert find_moment("1970-01-01T00:00:00.00000015", moments, TEN_NS) == moments[0]
