"""Looks at runs beside each other: in order, bounded, and never silent about what went wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from readyfs.check.findings import Finding, Kind
from readyfs.check.run_looks import RunLooks
from readyfs.check.sweep import Limits
from readyfs.errors import RawRootError
from readyfs.partition import NOT_SET, Partition, PartitionKey, SeriesKey


def partition(date: int) -> Partition:
    return Partition(PartitionKey(SeriesKey(b"s", b"c", b"q"), date), b"r", NOT_SET, NOT_SET, None)


class Examiner:
    def __init__(self, look: Callable[[int], list[Finding]]) -> None:
        self._look = look

    def examine(self, partition: Partition, on_progress: Callable[[], None]) -> list[Finding]:
        return self._look(partition.key.date)

    def describe(self, partition: Partition) -> str:
        raise NotImplementedError


def test_answers_come_in_order_and_only_what_breaks_a_run_is_told() -> None:
    second = threading.Event()

    def look(date: int) -> list[Finding]:
        if date == 1:
            assert second.wait(20)
        if date == 2:
            second.set()
            return [Finding(Kind.RUN_MISSING, "no directory"), Finding(Kind.FILE_MISSING, "no file")]
        return [Finding(Kind.COUNT_MISMATCH, "too few")]

    found = RunLooks(Examiner(look), Limits(2, 20.0)).find_broken([partition(date) for date in (1, 2, 3)])
    assert list(found) == ["", "no directory; no file", ""]


def test_raw_store_that_hangs_ends_it() -> None:
    forever = threading.Event()

    def look(_date: int) -> list[Finding]:
        forever.wait()
        return []

    found = RunLooks(Examiner(look), Limits(1, 0.05)).find_broken([partition(1)])
    with pytest.raises(RawRootError, match="s/c/q/0001-01-01"):
        next(found)
    forever.set()


def test_what_an_examiner_raises_is_raised() -> None:
    def look(_date: int) -> list[Finding]:
        raise RawRootError("no file descriptor is left", "")

    with pytest.raises(RawRootError, match="descriptor"):
        next(RunLooks(Examiner(look), Limits(1, 20.0)).find_broken([partition(1)]))
