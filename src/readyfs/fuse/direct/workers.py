"""The threads that serve a connection.

Handlers are called on the thread that read the request, so that a request costs no switch of threads. One worker
polls for a moment before it sleeps, another sleeps in the kernel behind it. Requests that wait for the raw store are
limited in number; while they wait there is always one more worker than they are, because somebody must be free to
read an INTERRUPT.
"""

from __future__ import annotations

import errno
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

import structlog

from readyfs.errors import FilesystemError, WouldBlockError
from readyfs.fuse.direct.channel import Channel
from readyfs.fuse.direct.in_flight import InFlight, Request
from readyfs.fuse.direct.operations import Answer, Handler, Operations
from readyfs.fuse.direct.protocol import (
    IN_HEADER,
    INTERRUPT_IN,
    NO_ANSWER,
    Opcode,
    is_complete,
    reply_error,
    reply_header,
)
from readyfs.fuse.errno_table import errno_of

log = structlog.get_logger("readyfs.fuse")

FIRST_WORKERS: Final = 2
UNKNOWN_INTERRUPT_S: Final = 0.001


class Workers:
    """Serves a channel until its mount is gone; `on_end` is then called once, on the last thread."""

    def __init__(
        self,
        channel: Channel,
        operations: Operations,
        in_flight: InFlight,
        raw_threads: int,
        on_end: Callable[[], None],
    ) -> None:
        self._channel = channel
        self._operations = operations
        self._handlers = operations.handlers
        self._in_flight = in_flight
        self._free = raw_threads
        self._on_end = on_end
        self._lock = threading.Lock()
        self._parked: deque[tuple[Request, Handler]] = deque()
        self._waiting = 0
        self._threads = 0
        self._requests: list[Counter[str]] = []
        self._errors: list[Counter[str]] = []

    def start(self) -> None:
        """Start the first workers."""
        for _ in range(FIRST_WORKERS):
            self._threads += 1
            self._start_one()

    @property
    def has_ended(self) -> bool:
        """Whether no thread serves any more."""
        return not self._threads

    @property
    def requests(self) -> Counter[str]:
        """How often the kernel asked, by operation."""
        return _sum(self._requests)

    @property
    def errors(self) -> Counter[str]:
        """How often the answer was an error, by errno name."""
        return _sum(self._errors)

    def answer_late(self, requests: list[Request]) -> None:
        """Answer requests that were taken out of the table of those in flight."""
        for request in requests:
            self._channel.send(request.fd, reply_error(request.unique, request.late_errno))

    def _start_one(self) -> None:
        # Counted by one thread each: adding to a shared counter is not atomic.
        requests: Counter[str] = Counter()
        errors: Counter[str] = Counter()
        self._requests.append(requests)
        self._errors.append(errors)
        threading.Thread(target=self._run, args=(requests, errors), name="readyfs-worker", daemon=True).start()

    def _run(self, requests: Counter[str], errors: Counter[str]) -> None:
        while True:
            try:
                received = self._channel.receive()
            except OSError as error:
                log.error("the FUSE device cannot be read", error=error.strerror)
                break
            if received is None:
                break
            try:
                self._serve(*received, requests, errors)
            except Exception:
                log.exception("request failed unexpectedly", operation="protocol")
        with self._lock:
            self._threads -= 1
            is_last = not self._threads
        if is_last:
            self._on_end()

    def _serve(self, fd: int, data: bytes, requests: Counter[str], errors: Counter[str]) -> None:
        length, opcode, unique, inode, _, _, _, _, _ = IN_HEADER.unpack_from(data)
        if not is_complete(opcode, length, len(data)):
            log.error("the kernel sent a request of the wrong size", opcode=opcode, size=len(data))
            if opcode not in NO_ANSWER:
                self._channel.send(fd, reply_error(unique, errno.EIO))
            return
        named = self._handlers.get(opcode)
        if named is not None:
            operation, handler = named
            requests[operation] += 1
            request = Request(fd, unique, operation, inode, data[IN_HEADER.size :])
            try:
                answer = _call(handler, request, may_block=False)
            except WouldBlockError:
                self._serve_waiting(request, handler, errors)
            else:
                self._send(request, answer, errors)
        elif opcode in NO_ANSWER:
            requests["forget"] += 1
            request = Request(fd, unique, "forget", inode, data[IN_HEADER.size :])
            if opcode == Opcode.FORGET:
                self._operations.forget(request)
            else:
                self._operations.batch_forget(request)
        elif opcode == Opcode.INTERRUPT:
            requests["interrupt"] += 1
            self._interrupt(fd, unique, data)
        else:
            # Also FLUSH, FSYNC, ACCESS, LSEEK, POLL, STATX and OPENDIR: the kernel does without and asks no more.
            requests["unsupported"] += 1
            self._channel.send(fd, reply_error(unique, errno.ENOSYS))

    def _interrupt(self, fd: int, unique: int, data: bytes) -> None:
        (interrupted,) = INTERRUPT_IN.unpack_from(data, IN_HEADER.size)
        if not self._in_flight.interrupt(interrupted):
            # It is being answered just now, or about to wait: EAGAIN has the kernel ask again if it still matters.
            time.sleep(UNKNOWN_INTERRUPT_S)
            self._channel.send(fd, reply_error(unique, errno.EAGAIN))

    # ---- requests that wait for the raw store ---------------------------------------------------------------------

    def _serve_waiting(self, request: Request, handler: Handler, errors: Counter[str]) -> None:
        if not self._in_flight.enter(request):
            self._channel.send(request.fd, reply_error(request.unique, errno.EIO))
            return
        with self._lock:
            if not self._free:
                self._parked.append((request, handler))
                return
            self._free -= 1
            self._waiting += 1
            one_more = self._waiting >= self._threads
            if one_more:
                self._threads += 1
        if one_more:
            self._start_one()
        while True:
            self._answer_waiting(request, handler, errors)
            with self._lock:
                if not self._parked:
                    self._free += 1
                    self._waiting -= 1
                    return
                request, handler = self._parked.popleft()

    def _answer_waiting(self, request: Request, handler: Handler, errors: Counter[str]) -> None:
        if not self._in_flight.waits(request):
            return  # answered late while it was parked
        answer = _call(handler, request, may_block=True)
        if self._in_flight.take(request):
            self._send(request, answer, errors)
        elif isinstance(answer, Answer) and answer.undo is not None:
            answer.undo()

    # ---- answers ----------------------------------------------------------------------------------------------------

    def _send(self, request: Request, answer: Answer | int, errors: Counter[str]) -> None:
        if isinstance(answer, int):
            errors[errno.errorcode.get(answer, str(answer))] += 1
            self._channel.send(request.fd, reply_error(request.unique, answer))
            return
        sent = self._channel.send(request.fd, reply_header(request.unique, len(answer.body)), answer.body)
        if not sent and answer.undo is not None:
            answer.undo()


def _call(handler: Handler, request: Request, *, may_block: bool) -> Answer | int:
    """Return a handler's answer, or the errno of what it raised; let `WouldBlockError` pass."""
    try:
        return handler(request, may_block)
    except WouldBlockError:
        raise
    except FilesystemError as error:
        return errno_of(error)
    except OSError as error:
        return error.errno or errno.EIO
    except Exception:
        log.exception("request failed unexpectedly", operation=request.operation)
        return errno.EIO


def _sum(counters: list[Counter[str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for counter in tuple(counters):
        total.update(counter.copy())
    return total
