"""What one user may have of the public socket, and that others do not notice."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from readyfs.control import allowance
from readyfs.control.allowance import BURST_BYTES, BYTES_PER_S, CONNECTION_BYTES, CONNECTIONS, RESERVE, Allowances
from readyfs.errors import LimitError


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def allowances(clock: Clock) -> Allowances:
    return Allowances(clock)


def test_one_user_has_so_many_connections_and_another_has_its_own(allowances: Allowances) -> None:
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            stack.enter_context(allowances.connection(1))
        with pytest.raises(LimitError, match="too many clients"), allowances.connection(1):
            pass
        with allowances.connection(2):
            pass
    with allowances.connection(1):
        pass


def test_all_users_together_have_a_limit(allowances: Allowances, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowance, "ALL_CONNECTIONS", 2)
    with ExitStack() as stack:
        stack.enter_context(allowances.connection(1))
        stack.enter_context(allowances.connection(2))
        with pytest.raises(LimitError), allowances.connection(3):
            pass


def test_bytes_come_back_with_time_and_never_beyond_the_burst(allowances: Allowances, clock: Clock) -> None:
    allowances.spend(1, BURST_BYTES)
    with pytest.raises(LimitError, match="too much"):
        allowances.spend(1, 1)
    allowances.spend(2, BURST_BYTES)
    clock.now_s += 2
    allowances.spend(1, 2 * BYTES_PER_S)
    with pytest.raises(LimitError):
        allowances.spend(1, 1)
    clock.now_s += 1e9
    with pytest.raises(LimitError):
        allowances.spend(1, BURST_BYTES + 1)


def test_connections_without_a_request_are_counted_too(allowances: Allowances) -> None:
    for _ in range(BURST_BYTES // CONNECTION_BYTES):
        with allowances.connection(1):
            pass
    with pytest.raises(LimitError, match="too much"), allowances.connection(1):
        pass


def test_users_who_are_owed_nothing_are_forgotten_and_the_others_are_not(allowances: Allowances, clock: Clock) -> None:
    with allowances.connection(0):
        allowances.spend(1, BURST_BYTES)
        clock.now_s += 1
        for uid in range(10, 6000):
            allowances.spend(uid, 1)
            clock.now_s += 0.001
        assert len(allowances._accounts) <= allowance._MOST_ACCOUNTS + 1
        with pytest.raises(LimitError):
            allowances.spend(1, BURST_BYTES)


def test_what_is_known_to_be_dear_afterwards_is_charged_down_to_the_reserve(
    allowances: Allowances, clock: Clock
) -> None:
    allowances.charge(1, 100 * BURST_BYTES)
    with pytest.raises(LimitError):
        allowances.spend(1, 1, RESERVE)
    allowances.charge(1, 100 * BURST_BYTES)
    allowances.spend(1, RESERVE)
    allowances.charge(1, 100 * BURST_BYTES)
    clock.now_s += 1
    allowances.spend(1, BYTES_PER_S)
    allowances.spend(2, 1, RESERVE)
