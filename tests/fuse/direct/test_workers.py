"""The threads that serve a connection, over a channel that holds what a kernel might send, well-formed or not."""

from __future__ import annotations

import errno
import queue
import struct
import threading
from collections.abc import Callable, Iterator
from typing import cast

import pytest
from structlog.testing import capture_logs

from readyfs.errors import BrokenRunError, WouldBlockError
from readyfs.fuse.direct.channel import Channel
from readyfs.fuse.direct.in_flight import INTERRUPT_GRACE_S, InFlight, Request
from readyfs.fuse.direct.operations import Answer, Handler, Operations
from readyfs.fuse.direct.protocol import CHANGES, IN_HEADER, OUT_HEADER, Buffer, Opcode
from readyfs.fuse.direct.workers import Workers
from tests.mount.daemon import wait_until


class FakeChannel:
    """Gives what was put into it, and keeps the answers as errno and body by unique id."""

    def __init__(self) -> None:
        self.messages: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.answers: dict[int, tuple[int, bytes]] = {}
        self.clients_are_gone = False

    def receive(self) -> bytes | None:
        return self.messages.get()

    def send(self, *answer: Buffer) -> bool:
        data = b"".join(answer)
        length, error, unique = OUT_HEADER.unpack_from(data)
        assert length == len(data)
        assert unique not in self.answers, "answered twice"
        self.answers[unique] = (-error, data[OUT_HEADER.size :])
        return not self.clients_are_gone

    def put(self, opcode: int, unique: int, body: bytes = b"name\0", length: int | None = None) -> None:
        size = IN_HEADER.size + len(body) if length is None else length
        self.messages.put(IN_HEADER.pack(size, opcode, unique, 1, 0, 0, 0, 0, 0) + body)

    def answer(self, unique: int) -> tuple[int, bytes]:
        wait_until(lambda: unique in self.answers, f"request {unique} is answered")
        return self.answers[unique]


class FakeOperations:
    """Handlers that a test gives, and what was forgotten."""

    def __init__(self) -> None:
        self.handlers: dict[int, tuple[str, Handler]] = {Opcode.STATFS: ("statfs", lambda *_: Answer(b"well"))}
        self.forgotten: list[Request] = []

    def forget(self, request: Request) -> None:
        self.forgotten.append(request)

    batch_forget = forget


class Served:
    """Workers over the fakes; `now_s` is what their deadlines go by."""

    def __init__(self, raw_threads: int = 2) -> None:
        self.channel, self.operations = FakeChannel(), FakeOperations()
        self.now_s = 0.0
        self.in_flight = InFlight(60.0, lambda: self.now_s)
        self.ended = threading.Event()
        self.workers = Workers(
            cast(Channel, self.channel),
            cast(Operations, self.operations),
            self.in_flight,
            raw_threads,
            self.ended.set,
        )
        self.workers.start()

    def handle(self, handler: Callable[[Request], Answer], *, waits: bool = False) -> None:
        """Have LOOKUP handled so; by a worker that may wait for the raw store if asked."""

        def handle(request: Request, may_block: bool) -> Answer:
            if waits and not may_block:
                raise WouldBlockError
            return handler(request)

        self.operations.handlers[Opcode.LOOKUP] = ("lookup", handle)

    def assert_serves(self) -> None:
        """Check that a further request is answered."""
        self.channel.put(Opcode.STATFS, 10_002)
        assert self.channel.answer(10_002) == (0, b"well")

    def end(self) -> None:
        self.channel.messages.put(None)
        assert self.ended.wait(10)
        wait_until(lambda: self.workers.has_ended, "every thread has ended")


@pytest.fixture
def served() -> Iterator[Served]:
    one = Served()
    yield one
    one.end()


@pytest.mark.parametrize("opcode", sorted(CHANGES))
def test_what_would_change_something_is_answered_erofs(served: Served, opcode: int) -> None:
    """V8: also after a remount for writing, when the kernel sends such requests."""
    served.channel.put(opcode, 2)
    assert served.channel.answer(2) == (errno.EROFS, b"")
    served.assert_serves()


@pytest.mark.parametrize("opcode", [0, 25, 27, 52, 9999, 2**32 - 1])
def test_unknown_opcode_is_answered_enosys(served: Served, opcode: int) -> None:
    served.channel.put(opcode, 2)
    assert served.channel.answer(2) == (errno.ENOSYS, b"")
    served.assert_serves()


@pytest.mark.parametrize(
    ("opcode", "body", "length"),
    [
        (Opcode.LOOKUP, b"name\0", 44),
        (Opcode.LOOKUP, b"name\0", 2**32 - 1),
        (Opcode.LOOKUP, b"", None),
        (Opcode.READ, b"x" * 10, None),
        (Opcode.READDIRPLUS, b"", None),
        (Opcode.RELEASE, b"", None),
        (Opcode.GETXATTR, b"\0" * 8, None),
        (Opcode.INTERRUPT, b"", None),
    ],
)
def test_request_of_the_wrong_size_is_answered_eio(
    served: Served, opcode: Opcode, body: bytes, length: int | None
) -> None:
    served.channel.put(opcode, 2, body, length)
    assert served.channel.answer(2) == (errno.EIO, b"")
    served.assert_serves()


@pytest.mark.parametrize("opcode", [Opcode.FORGET, Opcode.BATCH_FORGET])
def test_forget_is_never_answered(served: Served, opcode: Opcode) -> None:
    """The kernel waits for no answer to it, and refuses one."""
    served.channel.put(opcode, 2, b"")
    served.channel.put(opcode, 4, struct.pack("=QQ", 1, 0))
    served.assert_serves()
    assert [request.body for request in served.operations.forgotten] == [struct.pack("=QQ", 1, 0)]
    assert not {2, 4} & served.channel.answers.keys()


@pytest.mark.parametrize("data", [b"", b"x", b"x" * (IN_HEADER.size - 1)])
def test_what_is_no_request_at_all_ends_no_worker(served: Served, data: bytes) -> None:
    served.channel.messages.put(data)
    served.channel.messages.put(data)
    served.assert_serves()


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize(
    ("error", "number"),
    [
        (OSError(errno.EMFILE, "many"), errno.EMFILE),
        (OSError("no number"), errno.EIO),
        (BrokenRunError("broken"), errno.EIO),
        (KeyError("bug"), errno.EIO),
        (struct.error("bug"), errno.EIO),
        (MemoryError(), errno.EIO),
        (RecursionError(), errno.EIO),
        (AssertionError(), errno.EIO),
        (StopIteration(), errno.EIO),
    ],
)
def test_whatever_a_handler_raises_is_an_answer(served: Served, error: Exception, number: int, waits: bool) -> None:
    def fail(request: Request) -> Answer:
        raise error

    served.handle(fail, waits=waits)
    for unique in (2, 4, 6):
        served.channel.put(Opcode.LOOKUP, unique)
        assert served.channel.answer(unique) == (number, b"")
    served.assert_serves()
    assert served.workers.errors == {errno.errorcode[number]: 3}
    assert not served.in_flight.waits_s()


def test_answer_that_nobody_took_is_undone(served: Served) -> None:
    undone = threading.Event()
    served.handle(lambda request: Answer(b"entry", undone.set))
    served.channel.put(Opcode.LOOKUP, 2)
    assert served.channel.answer(2) == (0, b"entry")
    assert not undone.is_set()
    served.channel.clients_are_gone = True
    served.channel.put(Opcode.LOOKUP, 4)
    assert undone.wait(10)


def test_undo_that_fails_ends_no_worker(served: Served) -> None:
    served.channel.clients_are_gone = True
    served.handle(lambda request: Answer(b"entry", lambda: cast(None, 1 // 0)))
    for unique in (2, 4, 6):
        served.channel.put(Opcode.LOOKUP, unique)
        served.channel.answer(unique)
    served.assert_serves()


class HangingStore:
    """A handler that waits until it is let go, and counts who is inside."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.inside: list[int] = []
        self.undone: list[int] = []

    def __call__(self, request: Request) -> Answer:
        self.inside.append(request.unique)
        assert self.go_on.wait(20)
        return Answer(b"late", lambda: self.undone.append(request.unique))


def test_requests_that_wait_leave_others_served(served: Served) -> None:
    """More of them than raw threads: some are parked, all are answered in the end, once."""
    store = HangingStore()
    served.handle(store, waits=True)
    waiting = list(range(2, 22, 2))
    try:
        for unique in waiting:
            served.channel.put(Opcode.LOOKUP, unique)
        wait_until(lambda: len(served.in_flight.waits_s()) == len(waiting), "all are known")
        assert len(store.inside) == 2
        for unique in (100, 102, 104):
            served.channel.put(Opcode.STATFS, unique)
            assert served.channel.answer(unique) == (0, b"well")
    finally:
        store.go_on.set()
    for unique in waiting:
        assert served.channel.answer(unique) == (0, b"late")
    assert store.undone == []
    served.assert_serves()


def test_interrupted_request_is_answered_although_its_worker_hangs(served: Served) -> None:
    """Also one that is parked; the store's answer, when it comes, is undone, and a parked one never asks."""
    store = HangingStore()
    served.handle(store, waits=True)
    try:
        for unique in (2, 4, 6):
            served.channel.put(Opcode.LOOKUP, unique)
        wait_until(lambda: len(served.in_flight.waits_s()) == 3 and len(store.inside) == 2, "one is parked")
        for unique in (2, 4, 6):
            served.channel.put(Opcode.INTERRUPT, unique + 1, struct.pack("=Q", unique))
        wait_until(lambda: served.workers.requests["interrupt"] == 3, "the interrupts are taken")
        served.workers.answer_late(served.in_flight.take_late())
        assert not served.channel.answers, "a request that is only slow is answered properly"
        served.now_s += INTERRUPT_GRACE_S
        served.workers.answer_late(served.in_flight.take_late())
        for unique in (2, 4, 6):
            assert served.channel.answer(unique) == (errno.EINTR, b"")
    finally:
        store.go_on.set()
    served.assert_serves()
    wait_until(lambda: sorted(store.undone) == sorted(store.inside), "what came late is undone")
    assert len(store.inside) == 2


def test_interrupt_of_a_request_that_is_not_known_is_to_be_sent_again(served: Served) -> None:
    """EAGAIN: the request may be on its way into the table just now."""
    served.channel.put(Opcode.INTERRUPT, 3, struct.pack("=Q", 2))
    assert served.channel.answer(3) == (errno.EAGAIN, b"")


def test_requests_that_come_after_everything_was_given_up_fail(served: Served) -> None:
    served.in_flight.give_up()
    served.handle(lambda request: Answer(b"entry"), waits=True)
    served.channel.put(Opcode.LOOKUP, 2)
    assert served.channel.answer(2) == (errno.EIO, b"")


def test_system_without_a_thread_to_give_is_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    """While no further thread can be started the reader keeps its seat; once one can be, it is relieved."""
    served = Served()
    release = threading.Event()
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    def wait(request: Request) -> Answer:
        assert release.wait(20)
        return Answer(b"late")

    served.handle(wait, waits=True)
    with capture_logs() as logs:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        served.channel.put(Opcode.LOOKUP, 2)
        event = "no further thread can be started, a slow raw store holds up everybody"
        wait_until(lambda: any(line["event"] == event for line in logs), "it is logged")
        monkeypatch.setattr(threading.Thread, "start", start)
        served.assert_serves()
    assert len([line for line in logs if line["event"] == event]) == 1
    release.set()
    assert served.channel.answer(2) == (0, b"late")
    served.end()


def test_release_is_done_though_its_answer_was_given_up(served: Served) -> None:
    """Nobody waits for it, and what it lets go of would stay for ever."""
    done: list[int] = []
    go_on = threading.Event()

    def handle(request: Request, may_block: bool) -> Answer:
        if not may_block:
            raise WouldBlockError
        if request.operation == "lookup":
            assert go_on.wait(20)
        else:
            done.append(request.unique)
        return Answer()

    served.operations.handlers[Opcode.LOOKUP] = ("lookup", handle)
    served.operations.handlers[Opcode.RELEASE] = ("release", handle)
    for unique in (2, 4):  # as many as may wait at once
        served.channel.put(Opcode.LOOKUP, unique)
    wait_until(lambda: len(served.in_flight.waits_s()) == 2, "both wait")
    served.channel.put(Opcode.RELEASE, 6, bytes(24))
    wait_until(lambda: len(served.in_flight.waits_s()) == 3, "it is parked")
    served.now_s = 61.0
    served.workers.answer_late(served.in_flight.take_late())
    assert served.channel.answer(6)[0] == errno.EIO
    go_on.set()
    wait_until(lambda: done == [6], "it is done")


def test_failing_undo_costs_nothing_but_itself(served: Served) -> None:
    def fail() -> None:
        raise OSError(errno.EIO, "the store is gone")

    served.channel.clients_are_gone = True
    served.handle(lambda request: Answer(b"", fail), waits=True)
    with capture_logs() as logs:
        for unique in range(2, 12, 2):  # more often than may wait at once
            served.channel.put(Opcode.LOOKUP, unique)
            assert served.channel.answer(unique) == (0, b"")
    wait_until(lambda: not served.in_flight.waits_s(), "nothing waits")
    assert {line["event"] for line in logs} == {"request failed unexpectedly"}
