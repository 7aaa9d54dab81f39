"""From a request's bytes to its answer: its handler called, the answer sent, the time tallied.

Used by the worker that read the request, by the one that waits for the raw store, and by the clock. Each thread brings
a tally of its own.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from time import perf_counter_ns
from typing import Final

import structlog

from readyfs.errors import FilesystemError, PostponedError, RawStoreUnresponsiveError, WouldBlockError
from readyfs.fuse.direct.channel import Channel
from readyfs.fuse.direct.in_flight import InFlight, Request
from readyfs.fuse.direct.operations import Answer, Handler, Operations
from readyfs.fuse.direct.protocol import (
    CHANGES,
    IN_HEADER,
    INTERRUPT_IN,
    NO_ANSWER,
    Opcode,
    is_complete,
    reply_error,
    reply_header,
)
from readyfs.fuse.direct.shadow import Shadow
from readyfs.fuse.errno_table import MALFORMED, READ_ONLY, UNKNOWN_INTERRUPT, UNSUPPORTED, errno_of
from readyfs.metrics.durations import BEGUN, REQUEST_BOUNDS_NS
from readyfs.metrics.request_tally import RequestTally

log = structlog.get_logger("readyfs.fuse")

RELEASE: Final = "release"
"""What must be done though nobody waits for the answer any more."""
UNKNOWN_INTERRUPT_S: Final = 0.001

_WITHOUT_HANDLER: Final[dict[int, tuple[str, None]]] = {
    **dict.fromkeys(CHANGES, ("refused", None)),
    **dict.fromkeys(NO_ANSWER, ("forget", None)),
    Opcode.INTERRUPT: ("interrupt", None),
}
"""How requests that no handler answers are counted."""
_UNSUPPORTED: Final = ("unsupported", None)


class Dispatch:
    """Serves requests by the handlers of `operations`; may be used by any thread."""

    def __init__(
        self, channel: Channel, operations: Operations, in_flight: InFlight, shadow: Shadow | None = None
    ) -> None:
        self._channel = channel
        self._shadow = shadow
        self._operations = operations
        self._handlers = operations.handlers
        self._in_flight = in_flight
        self.late_tally = RequestTally()

    def serve(self, data: bytes, tally: RequestTally) -> Request | None:
        """Answer a request from memory; return it if it must wait for the raw store: `finish` answers it then."""
        began_ns = perf_counter_ns()
        length, opcode, unique, inode, _, _, _, _, _ = IN_HEADER.unpack_from(data)
        if not is_complete(opcode, length, len(data)):
            log.error("the kernel sent a request of the wrong size", opcode=opcode, size=len(data))
            if opcode not in NO_ANSWER:
                self._channel.send(reply_error(unique, MALFORMED))
            return None
        operation, handler = self._handlers.get(opcode) or _WITHOUT_HANDLER.get(opcode, _UNSUPPORTED)
        durations = tally.durations[operation]
        durations[BEGUN] += 1
        if handler is not None:
            request = Request(unique, opcode, operation, inode, data[IN_HEADER.size :])
            if self._operations.must_wait(request):
                return request if self._may_wait(request, tally) else None
            try:
                answer = _call(handler, request, may_block=False)
            except WouldBlockError:
                return request if self._may_wait(request, tally) else None
            self._answer(request, answer, tally)
        elif opcode == Opcode.BATCH_FORGET:
            self._operations.batch_forget(data[IN_HEADER.size :])
        elif opcode == Opcode.FORGET:
            self._operations.forget(inode, data[IN_HEADER.size :])
        elif opcode == Opcode.INTERRUPT:
            self._interrupt(unique, data)
        elif opcode in CHANGES:
            self._channel.send(reply_error(unique, READ_ONLY))
        else:
            # Also FLUSH, FSYNC, ACCESS, LSEEK, POLL, STATX and OPENDIR: the kernel does without and asks no more.
            self._channel.send(reply_error(unique, UNSUPPORTED))
        elapsed_ns = perf_counter_ns() - began_ns
        # What `note` does, without the price of a call.
        durations[bisect_left(REQUEST_BOUNDS_NS, elapsed_ns)] += 1
        durations[-1] += elapsed_ns
        return None

    def adopt(self, data: bytes, since: float) -> Request:
        """Take a request over that has waited for the raw store in the compiled loop; `finish` answers it."""
        _, opcode, unique, inode, _, _, _, _, _ = IN_HEADER.unpack_from(data)
        operation, _ = self._handlers[opcode]
        self.late_tally.durations[operation][BEGUN] += 1
        request = Request(unique, opcode, operation, inode, data[IN_HEADER.size :])
        if not self._in_flight.enter(request, since):
            self._send(request, errno_of(RawStoreUnresponsiveError()), self.late_tally)
        return request

    def finish(self, request: Request, tally: RequestTally) -> bool:
        """Answer a request that `serve` or `adopt` returned, waiting for the raw store; False if it was postponed."""
        if not self._in_flight.waits(request) and request.operation != RELEASE:
            return True  # answered late while it was parked
        _, handler = self._handlers[request.opcode]
        try:
            answer = _call(handler, request, may_block=True)
        except PostponedError:
            return False
        if self._in_flight.take(request):
            self._answer(request, answer, tally)
            tally.durations[request.operation].note(self._in_flight.waited_ns(request))
        elif isinstance(answer, Answer):
            _undo(request, answer)
            if self._shadow is not None:
                self._shadow.undo(request, answer)
        return True

    def answer_late(self, requests: list[Request]) -> None:
        """Answer requests that were taken out of the table of those in flight; on the trio loop alone."""
        for request in requests:
            self._send(request, errno_of(request.late_error()), self.late_tally)
            self.late_tally.durations[request.operation].note(self._in_flight.waited_ns(request))

    def _may_wait(self, request: Request, tally: RequestTally) -> bool:
        """Put a request among those in flight; answer it and return False if everything was given up."""
        if self._in_flight.enter(request):
            return True
        self._send(request, errno_of(RawStoreUnresponsiveError()), tally)
        return False

    def _interrupt(self, unique: int, data: bytes) -> None:
        (interrupted,) = INTERRUPT_IN.unpack_from(data, IN_HEADER.size)
        if not self._in_flight.interrupt(interrupted):
            # It is being answered just now, or about to wait: the kernel shall ask again.
            time.sleep(UNKNOWN_INTERRUPT_S)
            self._channel.send(reply_error(unique, UNKNOWN_INTERRUPT))

    def _answer(self, request: Request, answer: Answer | int, tally: RequestTally) -> None:
        """Send what a handler answered."""
        if self._shadow is not None:
            self._shadow.compare(request, answer)
        self._send(request, answer, tally)

    def _send(self, request: Request, answer: Answer | int, tally: RequestTally) -> None:
        if isinstance(answer, int):
            tally.failed(request.operation, answer)
            self._channel.send(reply_error(request.unique, answer))
            return
        sent = self._channel.send(reply_header(request.unique, len(answer.body)), answer.body)
        if not sent:
            _undo(request, answer)
            if self._shadow is not None:
                self._shadow.undo(request, answer)


def _call(handler: Handler, request: Request, *, may_block: bool) -> Answer | int:
    """Return a handler's answer, or the errno of what it raised; let `WouldBlockError` and `PostponedError` pass."""
    try:
        return handler(request, may_block)
    except (WouldBlockError, PostponedError):
        raise
    except (FilesystemError, OSError) as error:
        return errno_of(error)
    except Exception as error:
        log.exception("request failed unexpectedly", operation=request.operation)
        return errno_of(error)


def _undo(request: Request, answer: Answer) -> None:
    """Take back what an answer promised that nobody received."""
    if answer.undo is None:
        return
    try:
        answer.undo()
    except Exception:
        log.exception("request failed unexpectedly", operation=request.operation)
