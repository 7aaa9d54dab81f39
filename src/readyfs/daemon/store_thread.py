"""A thread that does nothing but wait for the pin store, so that nobody else has to for longer than a deadline.

Storage that many machines share can hang for hours. Then one call hangs on the thread, and whoever comes afterwards is
turned away at once.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar, cast

import structlog

log = structlog.get_logger("readyfs.daemon")

T = TypeVar("T")

MOST_WAITING: Final = 8
"""How many calls may wait at once; who waits holds up a request of the mount."""


class StoreHangsError(Exception):
    """The store has not answered in time, or does not answer somebody else."""


class StoreBusyError(StoreHangsError):
    """As many ask as may, of a store that answers for all that is known."""


@dataclass(slots=True, eq=False)
class _Job(Generic[T]):
    key: object
    call: Callable[[], T]
    undo: Callable[[], None] | None
    deadline_s: float
    waiting: int = 1
    done: threading.Event = field(default_factory=threading.Event)
    found: T | None = None
    error: BaseException | None = None


class StoreThread:
    """Runs calls one after another. Any thread may ask it; it ends with the process."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._changed = threading.Condition()
        # Guarded by it: what is to be done, and what is being done.
        self._queue: deque[_Job[Any]] = deque()
        self._current: _Job[Any] | None = None
        self._thread: threading.Thread | None = None

    def run(
        self,
        key: object,
        call: Callable[[], T],
        timeout_s: float,
        undo: Callable[[], None] | None = None,
    ) -> T:
        """Return what a call returns, or raise what it raises; raise `StoreHangsError` if it has not done so by then.

        Who asks for what is asked already, by its `key`, waits for the same call. A call that nobody waits for any more
        is not begun. If it was, it goes on, and is undone once it is over.
        """
        deadline_s = time.monotonic() + timeout_s
        with self._changed:
            job = self._find(key) or self._add(key, call, undo, deadline_s)
        job.done.wait(max(deadline_s - time.monotonic(), 0.0))
        with self._changed:
            if not job.done.is_set():
                job.waiting -= 1
                if not job.waiting and job in self._queue:
                    self._queue.remove(job)
                raise StoreHangsError
        if job.error is not None:
            raise job.error
        return cast(T, job.found)

    def _find(self, key: object) -> _Job[Any] | None:
        """Return what is asked already; the caller holds the lock."""
        there = (self._current, *self._queue)
        job = next((one for one in there if one is not None and one.key == key and one.undo is None), None)
        if job is not None:
            job.waiting += 1
        return job

    def _add(self, key: object, call: Callable[[], T], undo: Callable[[], None] | None, deadline_s: float) -> _Job[Any]:
        """Have something done; the caller holds the lock."""
        hangs = self._current is not None and time.monotonic() > self._current.deadline_s
        if hangs:
            raise StoreHangsError
        if len(self._queue) >= MOST_WAITING:
            raise StoreBusyError
        if self._thread is None:
            thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                raise StoreHangsError from error  # the system has no thread to give
            self._thread = thread
        job = _Job(key, call, undo, deadline_s)
        self._queue.append(job)
        self._changed.notify()
        return job

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue)
                job = self._current = self._queue.popleft()
            try:
                job.found = job.call()
            except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
                job.error = error
            with self._changed:
                is_unwanted = job.undo is not None and not job.waiting and job.error is None
                job.done.set()
            if is_unwanted:
                self._undo(job)
            with self._changed:
                self._current = None

    def _undo(self, job: _Job[Any]) -> None:
        assert job.undo is not None
        try:
            job.undo()
        except Exception as error:  # noqa: BLE001 - nobody waits, and what is left ends with its lease
            log.warning("what was given up cannot be undone in the pin store", error=str(error))
