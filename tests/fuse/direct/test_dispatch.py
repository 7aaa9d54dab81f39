"""What each request is answered with, well-formed or not, and that it is answered once."""

from __future__ import annotations

import errno
import struct
import threading
from typing import cast

import pytest
from structlog.testing import capture_logs

from readyfs.errors import BrokenRunError, WouldBlockError
from readyfs.fuse.direct.in_flight import Request
from readyfs.fuse.direct.operations import Answer
from readyfs.fuse.direct.protocol import CHANGES, Opcode
from tests.fuse.direct.served import Served
from tests.mount.daemon import wait_until


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
    assert served.operations.forgotten == [struct.pack("=QQ", 1, 0)]
    assert not {2, 4} & served.channel.answers.keys()


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
    assert served.workers.tally().errors_by_errno() == {errno.errorcode[number]: 3}
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


def test_interrupt_of_a_request_that_is_not_known_is_to_be_sent_again(served: Served) -> None:
    """EAGAIN: the request may be on its way into the table just now."""
    served.channel.put(Opcode.INTERRUPT, 3, struct.pack("=Q", 2))
    assert served.channel.answer(3) == (errno.EAGAIN, b"")


def test_requests_that_come_after_everything_was_given_up_fail(served: Served) -> None:
    served.in_flight.give_up()
    served.handle(lambda request: Answer(b"entry"), waits=True)
    served.channel.put(Opcode.LOOKUP, 2)
    assert served.channel.answer(2) == (errno.EIO, b"")


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
    served.dispatch.answer_late(served.in_flight.take_late())
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


def test_request_that_is_known_to_wait_is_not_tried_before(served: Served) -> None:
    tried: list[bool] = []

    def handle(request: Request, may_block: bool) -> Answer:
        tried.append(may_block)
        return Answer(b"entry")

    served.operations.handlers[Opcode.LOOKUP] = ("lookup", handle)
    served.operations.waiting.add(1)
    served.channel.put(Opcode.LOOKUP, 2)
    assert served.channel.answer(2) == (0, b"entry")
    assert tried == [True]
    served.operations.waiting.clear()
    served.channel.put(Opcode.LOOKUP, 4)
    assert served.channel.answer(4) == (0, b"entry")
    assert tried == [True, False]


def test_request_that_is_known_to_wait_is_refused_once_all_was_given_up(served: Served) -> None:
    served.handle(lambda request: Answer(b"entry"))
    served.operations.waiting.add(1)
    assert not served.in_flight.give_up()
    served.channel.put(Opcode.LOOKUP, 2)
    assert served.channel.answer(2) == (errno.EIO, b"")
