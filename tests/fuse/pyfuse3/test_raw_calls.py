from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from typing import Final

import pytest
import trio
import trio.testing

from readyfs.errors import RawStoreUnresponsiveError
from readyfs.fuse.errno_table import errno_of
from readyfs.fuse.pyfuse3.raw_calls import RawCalls

PATIENCE_S: Final = 20.0


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - a worker thread makes it so
            await trio.sleep(0.001)


class Hanging:
    """A raw store that hangs until it is released, and what became of its answers."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.under_way = threading.Semaphore(0)
        self.calls = 0
        self.discarded: list[str] = []

    def call(self) -> str:
        self.calls += 1
        self.under_way.release()
        assert self.release.wait(PATIENCE_S)
        return "late"

    async def wait_under_way(self) -> None:
        assert await trio.to_thread.run_sync(lambda: self.under_way.acquire(timeout=PATIENCE_S))


async def test_call_runs_on_a_worker_thread_and_its_result_is_delivered() -> None:
    discarded: list[int] = []
    thread = await RawCalls(1, PATIENCE_S).run("open", 1, threading.get_ident, discarded.append)
    assert thread != threading.get_ident()
    assert discarded == []


async def test_failure_is_delivered() -> None:
    calls = RawCalls(1, PATIENCE_S)
    with pytest.raises(ZeroDivisionError):
        await calls.run("open", 1, lambda: 1 // 0)
    assert calls.waits_s() == []


async def test_call_past_its_time_is_an_io_error_and_its_late_result_is_thrown_away() -> None:
    """A client whose request is never answered cannot even be killed."""
    calls, store = RawCalls(1, 0.01), Hanging()
    with pytest.raises(RawStoreUnresponsiveError, match="does not answer") as caught:
        await calls.run("open", 1, store.call, store.discarded.append)
    assert errno_of(caught.value) == errno.EIO
    assert calls.waits_s() == []
    assert store.discarded == []
    store.release.set()
    await until(lambda: store.discarded == ["late"])


async def test_late_failure_has_nothing_to_throw_away() -> None:
    calls, store = RawCalls(1, 0.01), Hanging()
    done = threading.Event()

    def fail() -> str:
        store.call()
        done.set()
        raise ZeroDivisionError

    with pytest.raises(RawStoreUnresponsiveError, match="does not answer"):
        await calls.run("open", 1, fail, store.discarded.append)
    store.release.set()
    assert await trio.to_thread.run_sync(done.wait, PATIENCE_S)
    assert store.discarded == []


async def test_result_in_the_last_moment_is_delivered_or_thrown_away_and_never_both() -> None:
    timeout_s = 0.002
    calls = RawCalls(4, timeout_s)
    delivered: list[int] = []
    discarded: list[int] = []
    finished: list[int] = []

    def work(number: int) -> int:
        time.sleep(timeout_s * (0.5 + number % 10 / 10))
        finished.append(number)
        return number

    async def run(number: int) -> None:
        try:
            delivered.append(await calls.run("open", number, lambda: work(number), discarded.append))
        except RawStoreUnresponsiveError:
            pass

    for start in range(0, 200, 4):
        async with trio.open_nursery() as nursery:
            for number in range(start, start + 4):
                nursery.start_soon(run, number)
    await until(lambda: len(delivered) + len(discarded) == len(finished) and calls.waits_s() == [])
    assert sorted(delivered + discarded) == sorted(finished)


async def test_calls_are_bounded_in_number() -> None:
    calls, store = RawCalls(2, PATIENCE_S), Hanging()
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(calls.run, "read", 1, store.call)
        for _ in range(2):
            await store.wait_under_way()
        await trio.testing.wait_all_tasks_blocked()
        assert store.calls == 2
        assert len(calls.waits_s()) == 5
        store.release.set()
    assert store.calls == 5


async def test_call_that_was_given_up_keeps_its_worker_until_the_store_answers() -> None:
    """Or a hung store would collect threads without end."""
    calls, store = RawCalls(1, 0.01), Hanging()
    for _ in range(3):
        with pytest.raises(RawStoreUnresponsiveError, match="does not answer"):
            await calls.run("read", 1, store.call)
    assert store.calls == 1
    store.release.set()
    late = RawCalls(1, PATIENCE_S)
    assert await late.run("read", 1, store.call) == "late"


async def test_giving_up_answers_everyone_who_waits_and_everyone_who_still_comes() -> None:
    calls, store = RawCalls(1, PATIENCE_S), Hanging()
    failures: list[int] = []

    async def run() -> None:
        with pytest.raises(RawStoreUnresponsiveError, match="does not answer") as caught:
            await calls.run("read", 1, store.call, store.discarded.append)
        failures.append(errno_of(caught.value))

    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(run)
            await store.wait_under_way()
            await trio.testing.wait_all_tasks_blocked()
            calls.give_up()
        await run()
    assert failures == [errno.EIO] * 4
    assert store.calls == 1
    assert calls.waits_s() == []
    store.release.set()
    await until(lambda: store.discarded == ["late"])


async def test_waiting_calls_are_told_with_their_age() -> None:
    calls = RawCalls(1, PATIENCE_S)
    seen: list[object] = []

    def look() -> None:
        seen.append([(call.operation, call.inode) for call in calls.waiting_longer_than(0.0)])
        seen.append(list(calls.waiting_longer_than(3_600.0)))
        seen.append([0.0 <= wait_s < PATIENCE_S for wait_s in calls.waits_s()])

    await calls.run("open", 42, look)
    assert seen == [[("open", 42)], [], [True]]
    assert list(calls.waiting_longer_than(0.0)) == []


async def test_oldest_call_is_told_first() -> None:
    calls, store = RawCalls(3, PATIENCE_S), Hanging()
    async with trio.open_nursery() as nursery:
        for inode in (7, 3, 5):
            nursery.start_soon(calls.run, "read", inode, store.call)
            await store.wait_under_way()
        assert [call.inode for call in calls.waiting_longer_than(0.0)] == [7, 3, 5]
        store.release.set()
