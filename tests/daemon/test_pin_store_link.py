"""What the daemon says of its pin store, and what it does not: that it is away, when only too many ask."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Final

import pytest
from structlog.testing import capture_logs

from readyfs.config.table import PIN_STORE_TIMEOUT
from readyfs.daemon.pin_store_link import WRITE_S, PinStoreLink
from readyfs.daemon.store_thread import MOST_WAITING
from readyfs.errors import PinStoreAwayError, PinStoreBusyError
from readyfs.pinned_view import ANSWER_S, REFRESH_S
from tests.daemon.store_in_memory import Clock, Content, StoreInMemory

PATIENCE_S: Final = 20.0

Call = Callable[[PinStoreLink, int, Callable[[], None]], None]


def ask(link: PinStoreLink, number: int, call: Callable[[], None]) -> None:
    link.ask(number, call)


def write(link: PinStoreLink, number: int, call: Callable[[], None]) -> None:
    link.write(call, PATIENCE_S)


@pytest.mark.parametrize("do", [ask, write])
def test_too_many_at_once_are_turned_away_and_the_store_is_not_called_away(do: Call) -> None:
    """Who looks up many names would otherwise have found views end, and the pins of others fail."""
    link = PinStoreLink(StoreInMemory(Content(Clock()), "here"), PATIENCE_S)
    began, goes_on = threading.Event(), threading.Event()

    def wait() -> None:
        began.set()
        assert goes_on.wait(PATIENCE_S)

    with capture_logs() as lines, ThreadPoolExecutor(MOST_WAITING + 2) as others:
        waiting = [others.submit(do, link, 0, wait)]
        assert began.wait(PATIENCE_S)
        answers = [others.submit(do, link, number, lambda: None) for number in range(1, MOST_WAITING + 2)]
        refused = next(as_completed(answers, PATIENCE_S))
        assert isinstance(refused.exception(), PinStoreBusyError)
        assert link.problem is None
        goes_on.set()
        assert [one.exception(PATIENCE_S) for one in (*waiting, *answers) if one is not refused] == [None] * (
            MOST_WAITING + 1
        )
    assert lines == []


def test_store_that_does_not_answer_is_called_away_until_it_does() -> None:
    link = PinStoreLink(StoreInMemory(Content(Clock()), "here"), 0.01)
    goes_on = threading.Event()
    with capture_logs() as lines:
        with pytest.raises(PinStoreAwayError, match="did not answer"):
            link.ask("slow", lambda: goes_on.wait(PATIENCE_S))
        problem = link.problem
        goes_on.set()
        link.timeout_s = PATIENCE_S
        _until_it_answers(link)
        assert (problem is not None, link.problem) == (True, None)
    assert [line["event"] for line in lines] == ["the pin store cannot be used", "the pin store can be used again"]


def _until_it_answers(link: PinStoreLink) -> None:
    for number in range(10_000):
        try:
            link.ask(number, lambda: None)
        except PinStoreAwayError:
            continue  # the call that hung is not over yet
        return
    raise AssertionError("it does not answer")


def test_who_pins_waits_for_longer_than_the_store_may_take() -> None:
    """Else the pin would be made after its user gave up, and nobody would remove it."""
    timeout_s = PIN_STORE_TIMEOUT.default({})
    assert min(ANSWER_S, REFRESH_S) > timeout_s + WRITE_S
