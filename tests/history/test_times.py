"""The names of moments: times of all forms, and steps back."""

from __future__ import annotations

import pytest

from readyfs.history.moments import UNKNOWN_STEPS, Moment, Replacement, follow
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


def in_a_row(*taken: tuple[str, int]) -> list[Moment]:
    """Moments of which each was replaced by the next."""
    found = [Moment(fingerprint, time_ns, number) for number, (fingerprint, time_ns) in enumerate(taken)]
    return follow(found, {one.number - 1: Replacement(one.taken_at_ns, 0) for one in found})


MOMENTS = in_a_row(("a", NOV_27_NS), ("b", NOV_27_NS + 10), ("a", TEN_NS))


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
def test_the_moment_that_was_in_force_at_a_time_is_found(name: str, expected: Moment | None) -> None:
    assert find_moment(name, MOMENTS, NOV_27_NS + DAY_NS) == expected


def test_nothing_is_found_in_nothing() -> None:
    assert find_moment("~0", (), TEN_NS) is None
    assert find_moment("2026-11-27", (), TEN_NS) is None


def test_a_clock_that_was_set_back_leaves_what_was_in_force_last() -> None:
    moments = in_a_row(("a", 100), ("b", 900), ("c", 200))
    assert find_moment("1970-01-01T00:00:00.0000005", moments, TEN_NS) == moments[2]
    assert find_moment("1970-01-01T00:00:00.00000015", moments, TEN_NS) == moments[0]


def test_a_moment_that_is_not_kept_has_no_neighbour_stand_in_for_it() -> None:
    """The first of five is pinned, and the bounds let go of the next two."""
    moments = in_a_row(*[(name, 100 * (index + 1)) for index, name in enumerate("abcde")])
    kept = [moments[0], *moments[3:]]
    found = {name: find_moment(name, kept, TEN_NS) for name in ("~0", "~1", "~2", "~3", "~4", "~5")}
    assert [name and name.fingerprint for name in found.values()] == ["e", "d", None, None, "a", None]
    at = [find_moment(f"1970-01-01T00:00:00.000000{time:03}", kept, TEN_NS) for time in range(50, 600, 50)]
    assert [one and one.fingerprint for one in at] == [None, "a", "a", None, None, None, None, "d", "d", "e", "e"]


def test_nobody_knows_how_far_back_a_moment_is_behind_one_that_is_lost() -> None:
    moments = follow([Moment("a", 100, 1), Moment("b", 200, 2 + UNKNOWN_STEPS)], {})
    assert find_moment("~0", moments, TEN_NS) == moments[1]
    assert find_moment("~999999999", moments, TEN_NS) is None
    assert find_moment("1970-01-01T00:00:00.000000150", moments, TEN_NS) is None


def test_nothing_is_found_while_what_is_in_force_is_not_known() -> None:
    moments = follow([Moment("a", 100, 1)], {}, is_last_in_force=False)
    assert find_moment("~0", moments, TEN_NS) is None
    assert find_moment("1970-01-01T00:00:00.000000150", moments, TEN_NS) is None
