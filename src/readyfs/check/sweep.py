"""Going through a plan on threads, with a time limit on each answer of the raw store.

One thread is the fastest while the raw store answers from memory, because the interpreter runs one at a time; a store
that keeps its callers waiting is asked by more at once. So the number of threads follows how busy they are. A thread
whose call is not answered in time is given up: it keeps its place among the threads until the store answers it, its
run is reported, and another thread takes over the rest of its slice. Where all places are taken by such threads the
check ends, because nothing more could be asked.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from readyfs.check.busy_meter import BusyMeter
from readyfs.check.findings import Example, Finding, Kind, Tally
from readyfs.check.plan import Slice
from readyfs.partition import Partition
from readyfs.text import escape_text

TICK_S: Final = 0.1

_LAST_WORDS_S: Final = 0.5
"""How long a check that ends early waits for the runs at hand."""
_IDLE_SHARE: Final = 0.5
"""Below this share of one processor the threads mostly wait for the raw store: there may be more of them."""
_CROWDED_SHARE: Final = 1.15
"""Above it they mostly take turns: there may be fewer."""


class RunExaminer(Protocol):
    """Looks at one run; called from several threads."""

    def examine(self, partition: Partition, on_progress: Callable[[], None]) -> list[Finding]:
        """Return what is wrong with a run; call back whenever the raw store has answered."""
        ...

    def describe(self, partition: Partition) -> str:
        """Return where a run is looked for."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """How many threads there may be, and how long one answer of the raw store may take."""

    threads: int
    timeout_s: float


class Sweep:
    """One pass over a plan. `checked` counts the partitions that were dealt with, those without an answer included."""

    def __init__(self, slices: Iterator[Slice], examiner: RunExaminer, tally: Tally, limits: Limits) -> None:
        self._examiner = examiner
        self._tally = tally
        self._limits = limits
        self._work = _Work(slices)
        self._workers: list[_Worker] = []
        self._given_up: list[_Worker] = []
        self._retired_done = 0

    @property
    def checked(self) -> int:
        """How many partitions were dealt with so far."""
        return self._retired_done + sum(worker.done for worker in self._workers)

    def run(self, stop: threading.Event, on_tick: Callable[[int], None]) -> bool:
        """Go on until all is done, or `stop` is set, or the raw store holds every thread; return whether all was done.

        `on_tick` is told several times a second how many partitions were checked. Raises what an examiner raised.
        """
        self._start_one()
        meter = BusyMeter()
        try:
            while self._workers:
                was_ended = self._workers[0].ended.wait(TICK_S)
                on_tick(self.checked)
                if stop.is_set():
                    return False
                self._collect()
                if not self._give_up_overdue():
                    return False
                if not was_ended:
                    self._adapt(meter.share(self._workers))
            return True
        finally:
            self._work.close()
            deadline_s = time.monotonic() + _LAST_WORDS_S
            for worker in self._workers:
                worker.ended.wait(max(deadline_s - time.monotonic(), 0))
            self._tally.close()

    def _start_one(self) -> None:
        worker = _Worker(self._work, self._examiner, self._tally)
        self._workers.append(worker)
        worker.start()

    def _collect(self) -> None:
        """Let go of the threads that ended."""
        self._given_up = [worker for worker in self._given_up if not worker.ended.is_set()]
        for worker in [one for one in self._workers if one.ended.is_set()]:
            self._workers.remove(worker)
            self._retired_done += worker.done
            if worker.error is not None:
                raise worker.error

    def _give_up_overdue(self) -> bool:
        """Give up the threads that wait for too long; return False if no thread could take their place."""
        for worker in list(self._workers):
            if worker.give_up_if_waiting(self._limits.timeout_s):
                self._workers.remove(worker)
                self._given_up.append(worker)
                self._retired_done += worker.done
        if not self._workers and self._work.is_left():
            if len(self._given_up) >= self._limits.threads:
                return False
            self._start_one()
        return True

    def _adapt(self, share: float) -> None:
        places = self._limits.threads - len(self._workers) - len(self._given_up)
        if share < _IDLE_SHARE and self._work.is_left():
            for _ in range(min(places, len(self._workers))):
                self._start_one()
        elif share > _CROWDED_SHARE and len(self._workers) > 1:
            self._workers[-1].retire()


class _Work:
    """The slices that nobody has taken yet; shared by all threads."""

    def __init__(self, slices: Iterator[Slice]) -> None:
        self._lock = threading.Lock()
        self._slices = slices
        self._returned: list[Slice] = []
        self._is_exhausted = False
        self.is_closed = False

    def take(self) -> Slice | None:
        with self._lock:
            if self.is_closed:
                return None
            if self._returned:
                return self._returned.pop()
            found = next(self._slices, None)
            self._is_exhausted = found is None
            return found

    def give_back(self, rest: Slice) -> None:
        with self._lock:
            if rest.start < rest.stop:
                self._returned.append(rest)

    def is_left(self) -> bool:
        with self._lock:
            return bool(self._returned) or not self._is_exhausted

    def close(self) -> None:
        with self._lock:
            self.is_closed = True


class _Worker(threading.Thread):
    """One thread. Its lock guards who reports the run at hand: the thread itself, or whoever gives it up."""

    def __init__(self, work: _Work, examiner: RunExaminer, tally: Tally) -> None:
        # A thread that the raw store holds must not keep the process from ending.
        super().__init__(name="readyfs-check", daemon=True)
        self._work = work
        self._examiner = examiner
        self._tally = tally
        self._lock = threading.Lock()
        self._at: tuple[Slice, int] | None = None
        self._since_s = 0.0
        self._must_end = False
        self._is_given_up = False
        self.done = 0
        self.error: Exception | None = None
        self.ended = threading.Event()

    def run(self) -> None:
        """Take slices until none is left."""
        try:
            while not self._must_end and (found := self._work.take()) is not None:
                if not self._go_through(found):
                    return
        except Exception as error:  # noqa: BLE001 - handed to the thread that waits
            self.error = error
        finally:
            self.ended.set()

    def retire(self) -> None:
        """Have the thread end after its slice."""
        self._must_end = True

    def give_up_if_waiting(self, timeout_s: float) -> bool:
        """Give the thread up if its last answer is that long ago: report its run, and leave the rest to others."""
        with self._lock:
            if self._at is None or time.monotonic() - self._since_s < timeout_s:
                return False
            self._is_given_up = True
            here, place = self._at
            self.done += 1
            overdue = Finding(Kind.RAW_TIMEOUT, f"no answer within {timeout_s:g} s")
            self._report(here.series.at(place), here, place, [overdue])
        self._work.give_back(here.after(place))
        return True

    def _go_through(self, here: Slice) -> bool:
        """Examine a slice; return False if the thread was given up meanwhile."""
        for place in range(here.start, here.stop):
            partition = here.partition(place)
            if partition is None:
                continue
            if self._work.is_closed:
                return False
            with self._lock:
                self._since_s = time.monotonic()
                self._at = (here, place)
            findings = self._examiner.examine(partition, self._touch)
            with self._lock:
                if self._is_given_up:
                    return False
                self._at = None
                self.done += 1
                if findings:
                    self._report(partition, here, place, findings)
        return True

    def _touch(self) -> None:
        self._since_s = time.monotonic()

    def _report(self, partition: Partition, here: Slice, place: int, findings: list[Finding]) -> None:
        order = here.order + place - here.start

        def describe(detail: str) -> Example:
            path = self._examiner.describe(partition)
            return Example(order, str(partition.key), escape_text(partition.run_id), path, detail)

        self._tally.add(findings, order, describe)
