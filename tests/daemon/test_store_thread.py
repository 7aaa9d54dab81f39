"""A call that hangs holds up who waits for it, up to the deadline, and nobody else."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from readyfs.daemon.store_thread import MOST_WAITING, StoreBusyError, StoreHangsError, StoreThread

PATIENCE_S = 20.0


class Hanging:
    """A call that hangs until it is told to go on."""

    def __init__(self) -> None:
        self.began, self.goes_on, self.calls = threading.Event(), threading.Event(), 0

    def __call__(self) -> str:
        self.calls += 1
        self.began.set()
        self.goes_on.wait(PATIENCE_S)
        return "late"


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    found = Hanging()
    yield found
    found.goes_on.set()


def later(thread: StoreThread, key: object, call: Hanging, answers: list[str]) -> threading.Thread:
    asking = threading.Thread(target=lambda: answers.append(thread.run(key, call, PATIENCE_S)))
    asking.start()
    return asking


def test_answers_and_errors_are_handed_over() -> None:
    thread = StoreThread("test")
    assert thread.run("a", lambda: 7, PATIENCE_S) == 7

    def fail() -> None:
        raise LookupError("seven")

    with pytest.raises(LookupError, match="seven"):
        thread.run("a", fail, PATIENCE_S)
    assert thread.run("a", lambda: 8, PATIENCE_S) == 8


def test_once_a_call_is_late_everybody_else_is_turned_away_at_once(hanging: Hanging) -> None:
    thread = StoreThread("test")
    while not hanging.began.is_set():  # what had no turn in time is not begun
        with pytest.raises(StoreHangsError):
            thread.run("slow", hanging, 0.01)
    began = time.monotonic()
    for number in range(100):
        with pytest.raises(StoreHangsError):
            thread.run(number, lambda: None, PATIENCE_S)
    assert time.monotonic() - began < PATIENCE_S
    hanging.goes_on.set()
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            assert thread.run("quick", lambda: 7, PATIENCE_S) == 7
            break
        except StoreHangsError:
            assert time.monotonic() < deadline


def test_who_asks_the_same_waits_for_the_same_answer(hanging: Hanging) -> None:
    thread, answers = StoreThread("test"), list[str]()
    asking = [later(thread, "slow", hanging, answers) for _ in range(MOST_WAITING + 5)]
    assert hanging.began.wait(PATIENCE_S)
    deadline = time.monotonic() + PATIENCE_S
    while thread._current is None or thread._current.waiting < len(asking):
        assert time.monotonic() < deadline
    hanging.goes_on.set()
    for one in asking:
        one.join(PATIENCE_S)
    assert answers == ["late"] * len(asking)
    assert hanging.calls == 1


def test_only_so_many_wait(hanging: Hanging) -> None:
    thread, answers = StoreThread("test"), list[str]()
    asking = [later(thread, "first", hanging, answers)]
    assert hanging.began.wait(PATIENCE_S)
    for number in range(MOST_WAITING):
        asking.append(later(thread, number, hanging, answers))
        deadline = time.monotonic() + PATIENCE_S
        while len(thread._queue) <= number:
            assert time.monotonic() < deadline
    with pytest.raises(StoreBusyError):
        thread.run("one more", lambda: None, PATIENCE_S)
    hanging.goes_on.set()
    for one in asking:
        one.join(PATIENCE_S)
    assert len(answers) == MOST_WAITING + 1


def test_what_nobody_waits_for_any_more_is_not_begun(hanging: Hanging) -> None:
    thread, answers, calls = StoreThread("test"), list[str](), list[int]()
    first = later(thread, "first", hanging, answers)
    assert hanging.began.wait(PATIENCE_S)
    with pytest.raises(StoreHangsError):
        thread.run("second", lambda: calls.append(2), 0.01)
    hanging.goes_on.set()
    first.join(PATIENCE_S)
    assert thread.run("third", lambda: 3, PATIENCE_S) == 3
    assert calls == []
