"""Workers over the compiled loop: what it waits for too long is theirs, with all that holds for requests that wait."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator
from typing import cast

import pytest

from readyfs.errors import WouldBlockError
from readyfs.fuse.direct.channel import Channel
from readyfs.fuse.direct.dispatch import Dispatch
from readyfs.fuse.direct.in_flight import InFlight, Request
from readyfs.fuse.direct.native_loop import NativeLoop
from readyfs.fuse.direct.operations import Answer, Operations
from readyfs.fuse.direct.protocol import INTERRUPT_IN, OPEN_IN, Buffer, Opcode
from readyfs.fuse.direct.workers import MOMENT_S, SLOW_FOR_S, Workers
from readyfs.metrics.durations import BEGUN
from readyfs.metrics.request_tally import RequestTally
from tests.fuse.direct.looped import Looped, needs_module
from tests.fuse.direct.served import FakeOperations
from tests.mount.bindfs import BoundStore, bound
from tests.mount.daemon import Place, wait_until

pytestmark = needs_module
TIMEOUT_S = 60.0


class Joined:
    """A loop over a raw store that can hang, its workers, and handlers that say that Python answered."""

    def __init__(self, store: BoundStore, raw_threads: int = 2) -> None:
        self.store = store
        self.one = Looped(store.path)
        self.one.add_file("run", "a")
        self.in_flight = InFlight(TIMEOUT_S)
        self.handled: list[int] = []
        self.ended = threading.Event()
        operations = FakeOperations()
        for opcode, name in ((Opcode.OPEN, "open"), (Opcode.READ, "read"), (Opcode.RELEASE, "release")):
            operations.handlers[opcode] = (name, self._handle)
        channel = cast(Channel, self.one)
        self.dispatch = Dispatch(channel, cast(Operations, operations), self.in_flight)
        self.loop = Ported(self.one)
        loop = cast(NativeLoop, self.loop)
        self.workers = Workers(channel, self.dispatch, raw_threads, self.ended.set, loop)

    def _handle(self, request: Request, may_block: bool) -> Answer:
        if not may_block:
            raise WouldBlockError
        self.handled.append(request.unique)
        return Answer(b"python")

    def hang(self, unique: int) -> None:
        """Wait until a request that was sent is in flight."""
        wait_until(lambda: len(self.in_flight.waits_s()) == 1, "it was adopted")
        assert not self.one.has_answer(), unique

    def answers_late(self) -> bool:
        """Do what the clock does; return whether there was anything to answer."""
        late = self.in_flight.take_late()
        self.dispatch.answer_late(late)
        return bool(late)

    def end(self) -> None:
        self.store.go_on()
        self.one.end_connection()
        assert self.ended.wait(10)
        wait_until(lambda: self.workers.has_ended, "every thread has ended")
        self.one.end()


class Ported:
    """What workers use of `NativeLoop`, without a filesystem."""

    def __init__(self, one: Looped) -> None:
        loop = one.loop
        self.receive, self.watch, self.end_watch = loop.receive, loop.watch, loop.end_watch
        self.allow_calls = loop.allow_calls
        self._adopt = loop.adopt
        self.adopted_s = 0.0

    def adopt(self, call: int) -> tuple[bytes, float] | None:
        self.adopted_s = time.monotonic()
        found: tuple[bytes, float] | None = self._adopt(call)
        return found

    def tally(self) -> RequestTally:
        return RequestTally()


@pytest.fixture
def joined(place: Place) -> Iterator[Joined]:
    (place.raw / "run").mkdir(parents=True)
    (place.raw / "run/a").write_bytes(b"0123456789")
    with bound(place) as store:
        found = Joined(store)
        found.workers.start()
        yield found
        found.end()


def test_hanging_call_holds_up_nobody_else_and_is_answered_by_python(joined: Joined) -> None:
    """Once, when the store is back; what the loop opened meanwhile is closed."""
    one = joined.one
    joined.store.stop()
    unique = one.open()
    joined.hang(unique)
    for _ in range(3):
        other = one.put(Opcode.STATFS)
        assert one.answer() == (other, 0, b"well")
        one.assert_answers()
    assert joined.workers.tally().requests()["open"] == 1
    joined.store.go_on()
    assert one.answer() == (unique, 0, b"python")
    assert joined.handled == [unique]
    assert one.loop.open_files() == 0
    one.assert_answers()
    assert joined.workers.tally().requests()["open"] == 1
    tally = joined.workers.tally
    wait_until(lambda: sum(tally().durations["open"][:BEGUN]) == 1, "its duration is counted, behind its answer")


def test_answer_that_fails_unexpectedly_takes_no_place_and_no_thread(
    joined: Joined, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A place that is never given back would keep the loop from the raw store. The fixture sees each thread end."""
    one, failed = joined.one, threading.Event()

    def fail(*answer: Buffer) -> bool:
        failed.set()
        raise ValueError("a mistake")

    joined.store.stop()
    joined.hang(one.open())
    with monkeypatch.context() as patched:
        patched.setattr(one, "send", fail)
        joined.store.go_on()
        assert failed.wait(10)

    def opens_again() -> bool:
        joined.workers.make_room()
        unique = one.open()
        answered, error, body = one.answer()
        assert (answered, error) == (unique, 0)
        return body != b"python"

    wait_until(opens_again, "the loop asks the raw store again")


def test_interrupt_of_a_hanging_call_is_answered_in_its_place(joined: Joined) -> None:
    one = joined.one
    joined.store.stop()
    unique = one.open()
    joined.hang(unique)
    one.put(Opcode.INTERRUPT, INTERRUPT_IN.pack(unique))
    wait_until(lambda: joined.workers.tally().requests()["interrupt"] == 1, "the interrupt is taken")
    wait_until(joined.answers_late, "its grace is over")
    assert one.answer() == (unique, errno.EINTR, b"")
    joined.store.go_on()
    one.assert_answers()
    wait_until(lambda: not joined.in_flight.waits_s() and one.loop.open_files() == 0, "it is undone")
    assert joined.handled == [], "nobody waits for it any more"


def test_deadline_counts_from_when_the_call_began(joined: Joined) -> None:
    one = joined.one
    joined.store.stop()
    before = time.monotonic()
    unique = one.open()
    joined.hang(unique)
    (request,) = joined.in_flight.waiting_longer_than(0.0)
    assert before <= request.since <= joined.loop.adopted_s - MOMENT_S
    assert request.deadline == request.since + TIMEOUT_S
    joined.store.go_on()
    assert one.answer()[0] == unique


def test_release_that_hangs_is_done_by_python_although_answered_late(joined: Joined) -> None:
    """Its file is closed in the loop; Python lets go of what else there is of it."""
    one = joined.one
    handle = one.opened()
    joined.store.stop()
    unique = one.release(handle)
    joined.hang(unique)
    one.put(Opcode.INTERRUPT, INTERRUPT_IN.pack(unique))
    wait_until(lambda: joined.workers.tally().requests()["interrupt"] == 1, "the interrupt is taken")
    wait_until(joined.answers_late, "its grace is over")
    assert one.answer() == (unique, errno.EINTR, b"")
    joined.store.go_on()
    wait_until(lambda: joined.handled == [unique], "it is done")
    assert one.loop.open_files() == 0
    one.assert_answers()


def test_end_of_the_daemon_answers_what_the_loop_waits_for(joined: Joined) -> None:
    one = joined.one
    joined.store.stop()
    unique = one.open()
    joined.workers.give_up()
    joined.dispatch.answer_late(joined.in_flight.give_up())
    assert one.answer() == (unique, errno.EIO, b"")
    further = one.open()
    assert one.answer() == (further, errno.EIO, b"")
    for _ in range(3):
        joined.workers.make_room()
        further = one.open()
        assert one.answer() == (further, errno.EIO, b""), "the loop asks the store no more"
    assert joined.handled == []


def test_calls_go_the_other_way_while_one_hangs_and_for_a_while_after(joined: Joined) -> None:
    one = joined.one
    handle = one.opened()
    joined.store.stop()
    hanging = one.open()
    joined.hang(hanging)
    others = [one.open(), one.read(handle, 4)]
    assert one.answer()[1:] == (0, b"python")
    assert one.answer()[1:] == (0, b"python")
    over = time.monotonic()
    joined.store.go_on()
    assert one.answer() == (hanging, 0, b"python")
    assert joined.handled == [*others, hanging]

    def is_native() -> bool:
        joined.workers.make_room()
        one.open()
        return one.answer()[2] != b"python"

    assert not is_native() or time.monotonic() - over >= SLOW_FOR_S
    wait_until(is_native, "the loop opens again")
    assert time.monotonic() - over >= SLOW_FOR_S


def test_without_a_thread_to_give_the_request_waits_all_the_same(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has its deadline and can be interrupted by the end; the one thread there is reads on afterwards."""
    (place.raw / "run").mkdir(parents=True)
    (place.raw / "run/a").write_bytes(b"0123456789")

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with bound(place) as store:
        joined = Joined(store)
        joined.workers.start()
        try:
            joined.one.assert_answers()
            monkeypatch.setattr(threading.Thread, "start", refuse)
            store.stop()
            unique = joined.one.open()
            joined.hang(unique)
            joined.dispatch.answer_late(joined.in_flight.give_up())
            assert joined.one.answer() == (unique, errno.EIO, b"")
            store.go_on()
            joined.one.assert_answers()
        finally:
            monkeypatch.undo()
            joined.end()


def test_places_are_given_back(joined: Joined) -> None:
    """As many requests as there are places wait afterwards as before: an adopted one took its place and left it."""
    one = joined.one
    for _ in range(3):
        joined.store.stop()
        unique = one.put(Opcode.OPEN, OPEN_IN.pack(os.O_RDONLY, 0))
        joined.hang(unique)
        joined.store.go_on()
        assert one.answer() == (unique, 0, b"python")
        wait_until(lambda: not joined.in_flight.waits_s(), "it is over")
        one.loop.allow_calls(True)
    inside = threading.Semaphore(0)
    go_on = threading.Event()

    def wait(request: Request, may_block: bool) -> Answer:
        if not may_block:
            raise WouldBlockError
        inside.release()
        assert go_on.wait(20)
        return Answer(b"python")

    joined.dispatch._handlers[Opcode.OPEN] = ("open", wait)
    one.loop.allow_calls(False)
    sent = {one.open() for _ in range(3)}
    assert inside.acquire(timeout=10)
    assert inside.acquire(timeout=10)
    assert not inside.acquire(timeout=0.1), "more wait at once than may"
    go_on.set()
    assert {one.answer()[0] for _ in range(3)} == sent
