"""The threads of the direct engine: who reads requests, who waits for the raw store, and who stands by.

One of them reads: it serves each request on the spot, which costs no switch of threads, and polls for the next. Threads
of an interpreter that work at the same time slow each other down more than they help, so the others sleep. While the
reader waits for the raw store somebody watches it, and if that takes longer than a moment another thread takes its
seat: a slow raw store holds up those who wait for it, and an INTERRUPT is always read. While the raw store is known to
be slow the seat is given up beforehand. When as many requests wait for the raw store as may at once, others that need
it are parked; what is in memory is answered all the same. Requests that hang do not count, up to a multiple of those.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from readyfs.errors import FuseError
from readyfs.fuse.direct.channel import Channel
from readyfs.fuse.direct.dispatch import Dispatch
from readyfs.fuse.direct.in_flight import Request
from readyfs.fuse.direct.native_loop import ADOPTED, ANY_CALL, NativeLoop
from readyfs.metrics.request_tally import RequestTally, sum_tallies
from readyfs.raw.guard import HANG_S, MAX_HUNG

log = structlog.get_logger("readyfs.fuse")

MOMENT_S: Final = 0.002
MOMENT_NS: Final = int(MOMENT_S * 1e9)
"""How long the reader may wait for the raw store before it is relieved; it is found out within twice that."""
SLOW_RELIEFS: Final = 4
SLOW_WITHIN_S: Final = 0.1
"""So many reliefs within so short a time: the raw store is slow, and not just was once."""
SLOW_FOR_S: Final = 0.5
QUIET_MOMENTS: Final = 25
"""After so many moments without a wait the watch goes to sleep."""


class Workers:
    """Serves a channel until its mount is gone; `on_end` is then called once, on one of the threads.

    Of the requests that wait for the raw store at most `raw_threads` are under way; further ones are parked.
    """

    def __init__(
        self,
        channel: Channel,
        dispatch: Dispatch,
        raw_threads: int,
        on_end: Callable[[], None],
        loop: NativeLoop | None = None,
    ) -> None:
        self._loop = loop
        self._receive_request = channel.receive if loop is None else loop.receive
        self._dispatch = dispatch
        self._free = raw_threads
        self._on_end = on_end
        self._raw_threads = raw_threads
        self._hung = 0
        self._waiting: dict[Request, float] = {}
        self._parked: deque[Request] = deque()
        self._postponed: deque[Request] = deque()
        self._helped = RequestTally()
        self._tallies = [dispatch.late_tally, self._helped]
        # Guards what follows: who reads, what the reader waits for, and who sleeps until the seat is free.
        self._lock = threading.Lock()
        self._reader: object = None
        self._reader_id = 0
        self._held: Request | None = None
        self._spares = 0
        self._turn = threading.Semaphore(0)
        self._threads = 0
        self._gone = False
        self._short_of_threads = False
        # What the loop waited for when it was relieved, by who had the seat; and from when on it may ask again.
        self._adopted: dict[object, Request] = {}
        self._calls_closed_until_s = -math.inf
        self._relieved_s: deque[float] = deque(maxlen=SLOW_RELIEFS)
        self._slow_until_s = -math.inf
        self._watch_wanted = threading.Event()

    def start(self) -> None:
        """Start the first reader and its watch."""
        with self._lock:
            if not self._start_one():
                raise FuseError("no thread can be started", "raise the limit of processes (ulimit -u, pids.max)")
        threading.Thread(target=self._watch, name="readyfs-watch", daemon=True).start()
        if self._loop is not None:
            watch = threading.Thread(target=self._watch_loop, args=(self._loop,), name="readyfs-watch", daemon=True)
            watch.start()

    @property
    def has_ended(self) -> bool:
        """Whether no thread serves any more."""
        return not self._threads

    def tally(self) -> RequestTally:
        """Return what all threads have counted so far."""
        total = sum_tallies(self._tallies)
        if self._loop is not None:
            total.add(self._loop.tally())
        return total

    def make_room(self) -> None:
        """Have threads for as many more requests as there are that hang; to be called now and then."""
        limit = time.monotonic() - HANG_S
        with self._lock:
            hung = min(sum(since <= limit for since in self._waiting.values()), MAX_HUNG * self._raw_threads)
            self._free += hung - self._hung
            self._hung = hung
            for _ in range(min(len(self._postponed), self._raw_threads)):
                self._parked.append(self._postponed.popleft())
            while self._parked and self._free > 0 and self._start_helper(self._parked[0]):
                self._parked.popleft()
            self._reopen_calls()

    def give_up(self) -> None:
        """Let the loop ask the raw store no more, and have what it waits for just now in flight like all the rest."""
        with self._lock:
            if self._loop is not None:
                self._close_calls(math.inf)
                if self._adopt(ANY_CALL):
                    self._give_up_seat()

    # ---- the reader's seat ----------------------------------------------------------------------------------------

    def _start_one(self) -> bool:
        """Start a thread that reads; the caller holds the lock. Returns whether the system has one to give."""
        tally = RequestTally()
        worker = threading.Thread(target=self._run, args=(tally,), name="readyfs-worker", daemon=True)
        try:
            worker.start()
        except RuntimeError as error:
            if not self._short_of_threads:
                log.error("no further thread can be started, a slow raw store holds up everybody", error=str(error))
            self._short_of_threads = True
            return False
        self._short_of_threads = False
        self._tallies.append(tally)
        self._threads += 1
        return True

    def _run(self, tally: RequestTally) -> None:
        me = object()
        serve = self._dispatch.serve
        while self._sit(me):
            while self._reader is me:
                received = self._receive()
                if received is None:
                    self._end()
                    break
                if received == ADOPTED and self._loop is not None:
                    self._finish_adopted(me, tally)
                    continue
                try:
                    waiting = serve(received, tally)
                    if waiting is not None:
                        self._wait_for(me, waiting, tally)
                except Exception:
                    log.exception("request failed unexpectedly", operation="protocol")
            with self._lock:
                self._spares += 1
            self._turn.acquire()
        with self._lock:
            self._threads -= 1

    def _sit(self, me: object) -> bool:
        """Take the seat; return False once there is nothing to read any more."""
        with self._lock:
            if not self._gone:
                self._reader, self._reader_id = me, threading.get_native_id()
            return not self._gone

    def _receive(self) -> bytes | None:
        try:
            return self._receive_request()
        except OSError as error:
            log.error("the FUSE device cannot be read", error=error.strerror)
            return None

    def _end(self) -> None:
        with self._lock:
            self._gone = True
            self._reader = None
            # Everybody comes to see it: those who sleep now, and those who come back from the raw store later.
            self._turn.release(self._threads)
        self._watch_wanted.set()
        if self._loop is not None:
            self._loop.end_watch()
        self._on_end()

    def _give_up_seat(self) -> None:
        """Have another thread read if one can be had; the caller holds the lock."""
        if self._spares:
            self._spares -= 1
            self._turn.release()
        elif not self._start_one():
            return
        self._reader = self._held = None

    def _watch(self) -> None:
        """Relieve a reader that waits for the raw store, and not just for a processor, for longer than a moment."""
        while not self._gone:
            self._watch_wanted.wait()
            self._watch_wanted.clear()
            seen: Request | None = None
            quiet = 0
            while quiet < QUIET_MOMENTS and not self._gone:
                time.sleep(MOMENT_S)
                with self._lock:
                    if self._held is None:
                        quiet += 1
                    elif self._held is seen and not _is_running(self._reader_id):
                        self._relieve()
                    seen = self._held

    def _relieve(self) -> None:
        now_s = time.monotonic()
        self._relieved_s.append(now_s)
        if len(self._relieved_s) == SLOW_RELIEFS and now_s - self._relieved_s[0] < SLOW_WITHIN_S:
            self._slow_until_s = now_s + SLOW_FOR_S
            self._close_calls(self._slow_until_s)
        self._give_up_seat()

    # ---- calls that the compiled loop makes; the caller holds the lock, unless it says otherwise ---------------------

    def _watch_loop(self, loop: NativeLoop) -> None:
        """Relieve the loop that waits for the raw store for longer than a moment; takes the lock."""
        while (found := loop.watch(MOMENT_NS)) is not None:
            call, thread_id = found
            if _is_running(thread_id):
                continue
            with self._lock:
                if self._adopt(call):
                    self._relieve()

    def _adopt(self, call: int) -> bool:
        """Make a call's request one of those that wait here; return False if the loop has it no more.

        It has its place already, so that there may be one less than none. Until it is over and for a while longer the
        loop asks no more: whatever hangs, only one thread of its own hangs there.
        """
        assert self._loop is not None
        found = self._loop.adopt(call)
        if found is None:
            return False
        self._close_calls(time.monotonic() + SLOW_FOR_S)
        data, since_s = found
        request = self._dispatch.adopt(data, since_s)
        self._adopted[self._reader] = request
        self._waiting[request] = since_s
        self._free -= 1
        return True

    def _finish_adopted(self, me: object, tally: RequestTally) -> None:
        """Go on with what was adopted from this thread's loop, now that its call came back; takes the lock."""
        with self._lock:
            request = self._adopted.pop(me)
            if self._reader is me:
                self._held = request
        if not self._watch_wanted.is_set():
            self._watch_wanted.set()
        self._serve_parked(me, request, tally)

    def _close_calls(self, until_s: float) -> None:
        """Have the loop ask the raw store no more until a moment of `time.monotonic`, and not before all is well."""
        if self._loop is not None:
            self._loop.allow_calls(False)
            self._calls_closed_until_s = max(self._calls_closed_until_s, until_s)

    def _reopen_calls(self) -> None:
        """Have the loop ask the raw store again once nothing has waited for long for a while."""
        now_s = time.monotonic()
        slow = any(since_s <= now_s - SLOW_WITHIN_S for since_s in self._waiting.values())
        if slow or self._adopted or self._parked or self._postponed:
            self._close_calls(now_s + SLOW_FOR_S)
        elif self._loop is not None and self._calls_closed_until_s <= now_s:
            self._loop.allow_calls(True)

    # ---- requests that wait for the raw store ---------------------------------------------------------------------

    def _wait_for(self, me: object, request: Request, tally: RequestTally) -> None:
        """Answer a request that waits for the raw store, or park it if as many wait as may."""
        with self._lock:
            if self._free <= 0:
                self._parked.append(request)
                return
            self._free -= 1
            self._held = request
            if self._slow_until_s > request.since:
                self._give_up_seat()
            self._waiting[request] = time.monotonic()
        if not self._watch_wanted.is_set():
            self._watch_wanted.set()
        self._serve_parked(me, request, tally)

    def _start_helper(self, request: Request) -> bool:
        """Start a thread for a parked request; the caller holds the lock. Returns whether there is one to be had."""
        try:
            threading.Thread(target=self._help, args=(request,), name="readyfs-helper", daemon=True).start()
        except RuntimeError:
            return False
        self._threads += 1
        self._free -= 1
        self._waiting[request] = time.monotonic()
        return True

    def _help(self, request: Request) -> None:
        tally = RequestTally()
        self._serve_parked(object(), request, tally)
        with self._lock:
            self._helped.add(tally)
            self._threads -= 1

    def _serve_parked(self, me: object, request: Request, tally: RequestTally) -> None:
        """Answer a request that has its place among those that wait, and then those that were parked."""
        while True:
            try:
                if not self._dispatch.finish(request, tally):
                    self._postponed.append(request)
            except Exception:
                log.exception("request failed unexpectedly", operation=request.operation)
            with self._lock:
                del self._waiting[request]
                parked = self._parked.popleft() if self._parked and self._free >= 0 else None
                if parked is not None:
                    request = parked
                    self._waiting[request] = time.monotonic()
                else:
                    self._free += 1
                if self._reader is me:
                    self._held = request if parked is not None else None
                if parked is None:
                    return


def _is_running(thread_id: int) -> bool:
    """Whether a thread runs or would if it had a processor, proc_pid_stat(5): it does not wait for the raw store."""
    try:
        stat = Path(f"/proc/self/task/{thread_id}/stat").read_bytes()
    except OSError:
        return False  # not to be known: relieved once too often rather than never
    return stat[stat.rindex(b")") + 2 :].startswith(b"R")
