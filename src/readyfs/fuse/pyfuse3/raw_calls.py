"""The pyfuse3 engine's requests that wait for the raw store: on worker threads, bounded in number and time.

A request that waits must get an answer some day: a client whose request was taken and never answered cannot even be
killed. So each call has a deadline, and all are given up when the daemon stops: the client gets an error. The thread of
a call that was given up stays until the raw store answers it. Calls that hang do not count among the workers, up to a
multiple of them, so that those who need another volume of the raw store find one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import trio

from readyfs.errors import PostponedError, RawStoreUnresponsiveError
from readyfs.raw.guard import HANG_S, MAX_HUNG

T = TypeVar("T")

POSTPONED_S: Final = 0.1
MAX_POSTPONED_S: Final = 1.6
"""How long a postponed call waits before it is tried again: the first time, and after many times in vain."""


@dataclass(slots=True, eq=False)
class RawCall:
    """One request that waits for the raw store, since a moment of `time.monotonic`."""

    operation: str
    inode: int
    since: float
    scope: trio.CancelScope


class _Delivery(Generic[T]):
    """Hands a worker's result to the loop, or throws it away if nobody waits any more; never both, never neither."""

    def __init__(self, call: Callable[[], T], discard: Callable[[T], None]) -> None:
        self._call = call
        self._discard = discard
        self._lock = threading.Lock()
        self._results: list[T] = []
        self._abandoned = False

    def work(self) -> T:
        """Run the call, on a worker thread."""
        result = self._call()
        with self._lock:
            self._results.append(result)
            late = self._abandoned
        if late:
            self._discard(result)
        return result

    def abandon(self) -> None:
        """Wait no more, on the loop."""
        with self._lock:
            self._abandoned = True
            results = list(self._results)
        for result in results:
            self._discard(result)


class RawCalls:
    """The raw store's worker threads and the requests that wait for them; used on the trio loop alone."""

    def __init__(self, threads: int, timeout_s: float) -> None:
        self._threads = threads
        self._limiter = trio.CapacityLimiter(threads)
        # Added to and taken from on the workers, each step atomic.
        self._running: dict[object, float] = {}
        self._timeout_s = timeout_s
        self._waiting: set[RawCall] = set()
        self._given_up = False

    async def run(
        self, operation: str, inode: int, call: Callable[[], T], discard: Callable[[T], None] = lambda result: None
    ) -> T:
        """Run a blocking call on a worker thread; raise `RawStoreUnresponsiveError` once it is given up.

        `discard` undoes a result that comes too late; it may be called on any thread.
        """
        delivery = _Delivery(call, discard)
        pause_s = POSTPONED_S
        if not self._given_up:
            with trio.move_on_after(self._timeout_s) as scope:
                record = RawCall(operation, inode, time.monotonic(), scope)
                self._waiting.add(record)
                try:
                    while True:
                        try:
                            return await trio.to_thread.run_sync(
                                self._work, delivery, limiter=self._limiter, abandon_on_cancel=True
                            )
                        except PostponedError:
                            await trio.sleep(pause_s)
                            pause_s = min(2 * pause_s, MAX_POSTPONED_S)
                finally:
                    self._waiting.remove(record)
            delivery.abandon()
        raise RawStoreUnresponsiveError("the raw store does not answer")

    def _work(self, delivery: _Delivery[T]) -> T:
        self._running[delivery] = time.monotonic()
        try:
            return delivery.work()
        finally:
            del self._running[delivery]

    def make_room(self) -> None:
        """Have as many more workers as there are calls that hang; to be called now and then, on the loop."""
        limit = time.monotonic() - HANG_S
        hung = sum(since <= limit for since in tuple(self._running.values()))
        self._limiter.total_tokens = self._threads + min(hung, MAX_HUNG * self._threads)

    def give_up(self) -> None:
        """Answer every waiting request, and each that still comes, with an error."""
        self._given_up = True
        for call in self._waiting:
            call.scope.cancel()

    def waits_s(self) -> Sequence[float]:
        """Return for how many seconds each waiting request has waited; from any thread."""
        now = time.monotonic()
        return [now - call.since for call in tuple(self._waiting)]

    def waiting_longer_than(self, seconds: float) -> Sequence[RawCall]:
        """Return the calls under way for at least that long, the oldest first."""
        limit = time.monotonic() - seconds
        return sorted((call for call in self._waiting if call.since <= limit), key=lambda call: call.since)
