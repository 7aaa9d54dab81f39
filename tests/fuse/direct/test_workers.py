"""The threads that serve a connection: who reads, and who waits for the raw store."""

from __future__ import annotations

import errno
import struct
import threading

import pytest
from structlog.testing import capture_logs

from readyfs.fuse.direct.in_flight import INTERRUPT_GRACE_S, Request
from readyfs.fuse.direct.operations import Answer
from readyfs.fuse.direct.protocol import IN_HEADER, Opcode
from tests.fuse.direct.served import Served
from tests.mount.daemon import wait_until


@pytest.mark.parametrize("data", [b"", b"x", b"x" * (IN_HEADER.size - 1)])
def test_what_is_no_request_at_all_ends_no_worker(served: Served, data: bytes) -> None:
    served.channel.messages.put(data)
    served.channel.messages.put(data)
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
        wait_until(lambda: served.workers.tally().requests()["interrupt"] == 3, "the interrupts are taken")
        served.dispatch.answer_late(served.in_flight.take_late())
        assert not served.channel.answers, "a request that is only slow is answered properly"
        served.now_s += INTERRUPT_GRACE_S
        served.dispatch.answer_late(served.in_flight.take_late())
        for unique in (2, 4, 6):
            assert served.channel.answer(unique) == (errno.EINTR, b"")
    finally:
        store.go_on.set()
    served.assert_serves()
    wait_until(lambda: sorted(store.undone) == sorted(store.inside), "what came late is undone")
    assert len(store.inside) == 2


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
