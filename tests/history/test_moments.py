"""The bounds: what stays by number, by age, and because somebody holds it."""

from __future__ import annotations

from readyfs.history.moments import Bounds, Moment, Replacement, follow

S = 10**9


def moments(*seconds: int) -> list[Moment]:
    """Moments after so many seconds in which daemons ran, of which each was replaced by the next."""
    found = [Moment(chr(ord("a") + index), 0, index, 0, second * S) for index, second in enumerate(seconds)]
    return follow(found, {one.number - 1: Replacement(0, one.run_ns) for one in found})


def kept(bounds: Bounds, found: list[Moment], *held: str) -> str:
    keeps = bounds.keeps(found, frozenset(held))
    return "".join(moment.fingerprint for moment, stays in zip(found, keeps, strict=True) if stays)


def test_the_newest_of_a_number_stay_beside_the_one_in_force() -> None:
    found = moments(1, 2, 3, 4)
    assert kept(Bounds(2, 100.0, 0), found) == "bcd"
    assert kept(Bounds(9, 100.0, 0), found) == "abcd"
    assert kept(Bounds(0, 100.0, 0), found) == "d"
    assert kept(Bounds(0, 100.0, 0), []) == ""


def test_age_begins_when_another_took_the_place() -> None:
    """So that what answered for a time within the age is there."""
    assert kept(Bounds(9, 10.0, 0), moments(0, 80, 90, 95, 100)) == "bcde"
    assert kept(Bounds(9, 9.999, 0), moments(0, 80, 90, 95, 100)) == "cde"


def test_an_outage_deletes_nothing() -> None:
    """The first catalog after it is much newer, and what was in force until then has just been replaced."""
    assert kept(Bounds(9, 10.0, 0), moments(1, 2, 3)) == "abc"
    assert kept(Bounds(9, 10.0, 0), moments(1, 2, 3, 10**6)) == "cd"


def test_age_begins_then_whatever_is_kept_in_between() -> None:
    """The first was pinned, and the bounds let go of the second: it has not become younger by that."""
    found = moments(0, 1, 90, 100)
    assert kept(Bounds(9, 10.0, 0), [found[0], *found[2:]], "a") == "acd"
    assert kept(Bounds(9, 10.0, 0), [found[0], *found[2:]]) == "cd"


def test_what_is_held_stays() -> None:
    assert kept(Bounds(1, 10.0, 0), moments(1, 2, 3, 4), "a") == "acd"
