from __future__ import annotations

import pytest

from readyfs.errors import RawStoreUnresponsiveError, RequestInterruptedError
from readyfs.fuse.direct.in_flight import INTERRUPT_GRACE_S, InFlight, Request
from readyfs.fuse.direct.protocol import Opcode


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def table(clock: Clock) -> InFlight:
    return InFlight(60.0, clock)


def request(unique: int = 2) -> Request:
    return Request(unique=unique, opcode=Opcode.OPEN, operation="open", inode=7, body=b"")


def test_a_request_is_answered_by_one_alone(table: InFlight) -> None:
    one = request()
    assert table.enter(one)
    assert table.waits(one)
    assert table.take(one)
    assert not table.take(one)
    assert not table.waits(one)


def test_one_that_waits_for_too_long_is_answered_by_an_error(table: InFlight, clock: Clock) -> None:
    one, other = request(2), request(4)
    table.enter(one)
    clock.now_s += 1.0
    table.enter(other)
    clock.now_s += 59.0
    assert table.take_late() == [one]
    assert one.late_error is RawStoreUnresponsiveError
    assert not table.take(one)
    assert table.take(other)


def test_an_interrupted_one_is_answered_soon_as_interrupted(table: InFlight, clock: Clock) -> None:
    one = request()
    table.enter(one)
    assert table.interrupt(one.unique)
    assert table.take_late() == []
    clock.now_s += INTERRUPT_GRACE_S
    assert table.take_late() == [one]
    assert one.late_error is RequestInterruptedError


def test_an_interrupt_never_lengthens_a_wait(table: InFlight, clock: Clock) -> None:
    one = request()
    table.enter(one)
    clock.now_s += 59.99
    table.interrupt(one.unique)
    clock.now_s += 0.01
    assert table.take_late() == [one]


def test_an_interrupt_of_what_does_not_wait_is_not_known(table: InFlight) -> None:
    assert not table.interrupt(2)


def test_giving_up_takes_all_and_lets_none_in(table: InFlight) -> None:
    one, late = request(2), request(4)
    table.enter(one)
    assert table.give_up() == [one]
    assert not table.enter(late)
    assert not table.waits(late)


def test_waits_are_told_the_oldest_first(table: InFlight, clock: Clock) -> None:
    old, young = request(2), request(4)
    table.enter(old)
    clock.now_s += 5.0
    table.enter(young)
    clock.now_s += 1.0
    assert table.waits_s() == [6.0, 1.0]
    assert table.waiting_longer_than(1.0) == [old, young]
    assert table.waiting_longer_than(2.0) == [old]
