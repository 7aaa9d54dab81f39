"""Readers of every kind in processes of their own, while a writer flips runs and refreshes follow."""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

import pytest

from readyfs.demo.producer import LogicalPartition
from tests.model import reader, seeded_daemon
from tests.model.history import Answer, Refresh, Violation, Write, check
from tests.mount.daemon import Place, partition, start, take_down
from tests.mount.forked import StemWrapper

READERS = 3
DATES = [f"2024-06-{day:02d}" for day in range(1, 5)]


class Writer:
    """Flips partitions between runs, pending and gone, and notes when each commit began and ended."""

    def __init__(self, place: Place, seed: int) -> None:
        self._place = place
        self._random = random.Random(seed)
        self._numbers = itertools.count()
        self._runs: dict[str, str] = {}
        self.writes: list[Write] = []
        for date in DATES:
            self._note(self._publish, partition(date=date))
        # What was there at the start is one version, the first.
        self.writes = self.writes[-1:]

    def step(self) -> None:
        one = partition(date=self._random.choice(DATES))
        kind = self._random.random()
        self._note(self._publish if kind < 0.7 else self._requeue if kind < 0.85 else self._delete, one)

    def _note(self, change: Callable[[LogicalPartition], None], one: LogicalPartition) -> None:
        began = time.monotonic_ns()
        change(one)
        self.writes.append(Write(began, time.monotonic_ns(), dict(self._runs)))

    def _publish(self, one: LogicalPartition) -> None:
        run_id = f"r{next(self._numbers)}"
        lines = self._random.choice([1, 50, 6000])
        payload = b"".join(b'{"run":"%b","n":%d}\n' % (run_id.encode(), number) for number in range(lines))
        self._place.producer.write_and_publish(one, run_id, payload)
        self._runs[one.logical_date] = run_id

    def _requeue(self, one: LogicalPartition) -> None:
        self._place.producer.requeue(one)
        self._runs.pop(one.logical_date, None)

    def _delete(self, one: LogicalPartition) -> None:
        self._place.producer.delete_row(one)
        self._runs.pop(one.logical_date, None)


def run_for(
    place: Place, seconds: float, seed: int, engine: str, wrapper: Sequence[str] = (), at_least: int = 0
) -> int:
    """Let all run against one mount; return how many answers were checked.

    It goes on for longer than `seconds` until there are so many answers, but for a minute at most.
    """
    writer = Writer(place, seed)
    daemon = start(place, engine=engine, wrapper=wrapper)
    readers: list[subprocess.Popen[bytes]] = []
    refreshes: list[Refresh] = []
    stop = threading.Event()

    def refresh() -> None:
        while not stop.is_set():
            began = time.monotonic_ns()
            daemon.refresh()
            refreshes.append(Refresh(began, time.monotonic_ns()))
            stop.wait(0.02)

    refresher = threading.Thread(target=refresh)
    try:
        logs = [place.base / f"reader-{number}.log" for number in range(READERS)]
        for number, log in enumerate(logs):
            arguments = [sys.executable, reader.__file__, str(number), str(daemon.path / "c1/q1"), str(log), *DATES]
            readers.append(subprocess.Popen(arguments, stdin=subprocess.PIPE))
        refresher.start()
        until = time.monotonic() + seconds
        patience = until + 60

        def lacks_answers() -> bool:
            return sum(log.read_bytes().count(b"\n") for log in logs if log.exists()) <= at_least

        while time.monotonic() < until or (at_least and lacks_answers() and time.monotonic() < patience):
            writer.step()
            stop.wait(0.02)  # the pace of the writer, not a wait for anything
        for process in readers:
            process.communicate(timeout=20)
            assert process.returncode == 0
    finally:
        stop.set()
        for process in readers:
            process.kill()
            process.communicate()
        if refresher.is_alive():
            refresher.join(20)
        take_down(daemon)
    answers = [Answer(*json.loads(line)) for log in logs for line in log.read_text().splitlines()]
    return check(writer.writes, refreshes, answers)


def test_every_answer_fits_a_version_alive_in_its_interval(place: Place, engine: str) -> None:
    """V2-V7: no mixed, torn or outdated answer while runs flip every 20 ms, and none that goes back."""
    assert run_for(place, 2.0, seed=1, engine=engine, at_least=500) > 500


@pytest.mark.long
@pytest.mark.parametrize("seed", range(7))
def test_every_answer_fits_for_long(place: Place, engine: str, seed: int) -> None:
    assert run_for(place, 60.0, seed, engine) > 10_000


@pytest.mark.long
@pytest.mark.parametrize("bug", ["told_before_published", "inodes_by_path", "nothing_invalidated", "view_goes_back"])
def test_concurrent_readers_find_the_bug(place: Place, engine: str, bug: str) -> None:
    with pytest.raises(Violation):
        wrapper = StemWrapper((sys.executable, seeded_daemon.__file__, bug))
        run_for(place, 15.0, seed=1, engine=engine, wrapper=wrapper)
