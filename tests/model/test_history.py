"""The check of histories: it must refuse what must not happen."""

from __future__ import annotations

import pytest

from tests.model.history import Answer, Refresh, Violation, Write, check

WRITES = [Write(0, 0, {"d": "r0"}), Write(10, 12, {"d": "r1"}), Write(30, 32, {"d": "r2"}), Write(50, 52, {})]


def answer(began: int, ended: int, value: str, *, reader: int = 1, date: str = "d") -> Answer:
    return Answer(reader, began, ended, date, value)


@pytest.mark.parametrize("value", ["r0", "r1"])
def test_answer_during_a_refresh_may_be_old_or_new(value: str) -> None:
    assert check(WRITES, [Refresh(14, 20)], [answer(15, 16, value)]) == 1


@pytest.mark.parametrize(
    ("began", "ended", "value"),
    [
        (22, 23, "r0"),  # a refresh that began after the commit of r1 has ended
        (22, 23, "r2"),  # not committed yet
        (22, 23, ""),
        (22, 23, "r9"),
    ],
)
def test_answer_after_a_refresh_is_exact(began: int, ended: int, value: str) -> None:
    check(WRITES, [Refresh(14, 20)], [answer(began, ended, "r1")])
    with pytest.raises(Violation):
        check(WRITES, [Refresh(14, 20)], [answer(began, ended, value)])


def test_refresh_that_began_before_the_commit_ended_promises_nothing() -> None:
    assert check(WRITES, [Refresh(11, 20)], [answer(22, 23, "r0")]) == 1


def test_reader_never_goes_back() -> None:
    first, second = answer(34, 35, "r2"), answer(36, 37, "r1")
    with pytest.raises(Violation):
        check(WRITES, [Refresh(14, 20), Refresh(33, 60)], [first, second])
    assert check(WRITES, [Refresh(14, 20), Refresh(33, 60)], [first, second._replace(reader=2)]) == 2


def test_reader_never_goes_back_at_another_path() -> None:
    """V4: but for listings, which the kernel keeps until the refresh has ended."""
    writes = [Write(0, 0, {"d": "r0", "e": "s0"}), Write(10, 12, {"d": "r1"})]
    first, second = answer(15, 16, "r1"), answer(17, 18, "s0", date="e")
    with pytest.raises(Violation):
        check(writes, [Refresh(14, 20)], [first, second])
    assert check(writes, [Refresh(14, 20)], [first, second._replace(reader=2)]) == 2
    assert check(writes, [Refresh(14, 20)], [first, answer(17, 18, "d e", date="")]) == 2


def test_listing_must_equal_the_names_of_a_version() -> None:
    assert check(WRITES, [], [answer(5, 6, "d", date=""), answer(55, 56, "", date="")]) == 2
    with pytest.raises(Violation):
        check(WRITES, [], [answer(55, 56, "d e", date="")])
