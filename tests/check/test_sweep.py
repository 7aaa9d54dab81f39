from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from readyfs.check.findings import Finding, Kind, Tally
from readyfs.check.plan import SLICE_PARTITIONS, Slice
from readyfs.check.sweep import Limits, Sweep
from readyfs.partition import Partition, SeriesKey
from readyfs.series_rows import SeriesRows

FIRST = 738_000
WHOLE = 60.0
"""Longer than any test takes."""


def slices(count: int, skipped: frozenset[int] = frozenset()) -> Iterator[Slice]:
    from readyfs.catalog.series import build_series

    rows = SeriesRows.of([(FIRST + number, b"r%d" % number, 0, -1, None) for number in range(count)])
    series = build_series(SeriesKey(b"s", b"c", b"q"), rows)
    assert isinstance(series.dates, array)
    for start in range(0, count, SLICE_PARTITIONS):
        yield Slice(start, series, start, min(start + SLICE_PARTITIONS, count), skipped)


class Examiner:
    """Finds what it is told to, and hangs where it is told to until it is released."""

    def __init__(self, wrong: frozenset[int] = frozenset(), hanging: frozenset[int] = frozenset()) -> None:
        self.wrong = wrong
        self.hanging = hanging
        self.released = threading.Event()
        self.hung = threading.Semaphore(0)
        self.seen: list[int] = []

    def examine(self, partition: Partition, on_progress: Callable[[], None]) -> list[Finding]:
        number = partition.key.date - FIRST
        self.seen.append(number)
        if number in self.hanging:
            self.hung.release()
            assert self.released.wait(WHOLE)
        on_progress()
        return [Finding(Kind.RUN_MISSING, f"{number} is gone")] if number in self.wrong | self.hanging else []

    def describe(self, partition: Partition) -> str:
        return f"/raw/{partition.key.date - FIRST}"


@contextmanager
def releasing(examiner: Examiner) -> Iterator[None]:
    try:
        yield
    finally:
        examiner.released.set()


def sweep(count: int, examiner: Examiner, tally: Tally, threads: int = 4, timeout_s: float = WHOLE) -> Sweep:
    return Sweep(slices(count), examiner, tally, Limits(threads, timeout_s))


def ignore(_checked: int) -> None:
    pass


def test_every_partition_is_examined_once() -> None:
    examiner, tally = Examiner(wrong=frozenset({3, 150})), Tally(10)
    one = sweep(200, examiner, tally)
    assert one.run(threading.Event(), ignore)
    assert sorted(examiner.seen) == list(range(200))
    assert one.checked == 200
    examples = tally.by_kind[Kind.RUN_MISSING].examples
    assert [(example.order, example.run, example.path) for example in examples] == [
        (3, "r3", "/raw/3"),
        (150, "r150", "/raw/150"),
    ]


def test_ambiguous_paths_are_left_out() -> None:
    examiner = Examiner()
    one = Sweep(slices(10, frozenset({FIRST + 4})), examiner, Tally(10), Limits(1, WHOLE))
    assert one.run(threading.Event(), ignore)
    assert sorted(examiner.seen) == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert one.checked == 9


def test_a_run_that_hangs_is_reported_and_the_others_are_examined() -> None:
    examiner, tally = Examiner(hanging=frozenset({5, 70})), Tally(10)
    one = sweep(100, examiner, tally, threads=4, timeout_s=0.3)
    with releasing(examiner):
        assert one.run(threading.Event(), ignore)
    assert sorted(examiner.seen) == list(range(100))
    assert one.checked == 100
    assert [example.order for example in tally.by_kind[Kind.RAW_TIMEOUT].examples] == [5, 70]
    assert set(tally.by_kind) == {Kind.RAW_TIMEOUT}, "what comes late counts for nothing"


def test_an_answer_that_comes_too_late_counts_for_nothing() -> None:
    class Late(Examiner):
        """The last run is under way until the thread that was given up at the first has ended."""

        late: threading.Thread

        def examine(self, partition: Partition, on_progress: Callable[[], None]) -> list[Finding]:
            if partition.key.date == FIRST:
                self.late = threading.current_thread()
            if partition.key.date == FIRST + 9:
                self.released.set()
                while self.late.is_alive():
                    on_progress()
                    self.late.join(0.05)
            return super().examine(partition, on_progress)

    examiner, tally = Late(hanging=frozenset({0})), Tally(10)
    one = sweep(10, examiner, tally, threads=2, timeout_s=0.3)
    with releasing(examiner):
        assert one.run(threading.Event(), ignore)
    assert one.checked == 10
    assert {kind: found.count for kind, found in tally.by_kind.items()} == {Kind.RAW_TIMEOUT: 1}


def test_a_store_that_holds_every_thread_ends_the_check() -> None:
    examiner, tally = Examiner(hanging=frozenset(range(500))), Tally(10)
    one = sweep(500, examiner, tally, threads=3, timeout_s=0.3)
    with releasing(examiner):
        assert not one.run(threading.Event(), ignore)
    assert tally.by_kind[Kind.RAW_TIMEOUT].count == one.checked == 3


def test_more_threads_are_started_while_they_wait_for_the_store() -> None:
    examiner = Examiner(hanging=frozenset({0, 64, 128}))
    one = sweep(192, examiner, Tally(10), threads=3)

    def release_when_all_hang() -> None:
        for _ in range(3):
            assert examiner.hung.acquire(timeout=WHOLE)
        examiner.released.set()

    helper = threading.Thread(target=release_when_all_hang)
    helper.start()
    with releasing(examiner):
        assert one.run(threading.Event(), ignore)
    helper.join()
    assert one.checked == 192


def test_a_stop_ends_the_check_with_what_was_found() -> None:
    examiner, tally, stop = Examiner(wrong=frozenset({0}), hanging=frozenset({2})), Tally(10), threading.Event()

    def stop_when_it_hangs(_checked: int) -> None:
        if examiner.hung.acquire(blocking=False):
            stop.set()

    one = sweep(100, examiner, tally, threads=1)
    with releasing(examiner):
        assert not one.run(stop, stop_when_it_hangs)
        assert one.checked == 2
    assert tally.by_kind[Kind.RUN_MISSING].count == 1


def test_a_failure_of_an_examiner_is_raised() -> None:
    class Failing(Examiner):
        def examine(self, partition: Partition, on_progress: Callable[[], None]) -> list[Finding]:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        sweep(100, Failing(), Tally(10)).run(threading.Event(), ignore)


def test_nothing_to_do_is_done() -> None:
    assert sweep(0, Examiner(), Tally(10)).run(threading.Event(), ignore)
