"""Rows come back as they were added, whatever comes and goes beside them, and give their memory back."""

from __future__ import annotations

import os
import random
import sys
import threading
from array import array
from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from readyfs.vfs.packed_rows import SHARDS, MakeRows, PackedRows, PackedShard, Rows, compiled_rows
from tests.vfs.both_rows import IMPLEMENTATIONS, needs_compiled

SMALLEST: Final = -(1 << 63)
LARGEST: Final = (1 << 63) - 1


@pytest.fixture(params=IMPLEMENTATIONS)
def make_rows(request: pytest.FixtureRequest) -> MakeRows:
    make: MakeRows = request.param
    return make


def number_of(shard: int, place: int) -> int:
    """Return a number in one of few shards; seven follow each other for each slot, over the end of the slots too."""
    return shard + (place // 7 * 8 * 64 + place % 7) * SHARDS


NUMBERS = st.builds(number_of, st.sampled_from([0, 1, SHARDS - 1]), st.integers(0, 70))
INTEGERS = st.tuples(st.integers(SMALLEST, LARGEST), st.integers(-3, 3))
REFERENCES = st.tuples(st.binary(max_size=3), st.sampled_from([None, (b"a", b"b")]))


class RowsMachine(RuleBasedStateMachine):
    """Rows against a dict of what was put in."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: Rows = self.make_rows(2, 2)
        self.model: dict[int, tuple[tuple[int, ...], tuple[object, ...]]] = {}
        self.counts: dict[int, int] = {}

    def make_rows(self, integers: int, references: int) -> Rows:
        return PackedRows(integers, references)

    @rule(keys=st.lists(NUMBERS, max_size=60), integers=INTEGERS, references=REFERENCES)
    def add(self, keys: list[int], integers: tuple[int, int], references: tuple[object, object]) -> None:
        for key in keys:
            assert self.rows.add(key, integers, references) is (key not in self.model)
            self.model.setdefault(key, (integers, references))
            self.counts.setdefault(key, 1)

    @rule(key=NUMBERS, integers=INTEGERS, references=REFERENCES)
    def update(self, key: int, integers: tuple[int, int], references: tuple[object, object]) -> None:
        assert self.rows.update(key, integers, references) is (key in self.model)
        if key in self.model:
            self.model[key] = (integers, references)

    @rule(keys=st.lists(NUMBERS, max_size=20))
    def count(self, keys: list[int]) -> None:
        for key in keys:
            assert self.rows.count(key, 1) == (() if key in self.model else None)
            if key in self.model:
                self.counts[key] += 1

    @rule(keys=st.lists(NUMBERS, max_size=90), count=st.integers(1, 3))
    def lower(self, keys: list[int], count: int) -> None:
        for key in keys:
            gone = self.rows.count(key, -count)
            if key not in self.model:
                assert gone is None
            elif self.counts[key] > count:
                self.counts[key] -= count
                assert gone == ()
            else:
                assert gone == self.model.pop(key)[1]
                del self.counts[key]

    @rule(key=NUMBERS, number=st.sampled_from([SMALLEST - 1, LARGEST + 1]))
    def too_large(self, key: int, number: int) -> None:
        for step in (self.rows.add, self.rows.update):
            if step == self.rows.add or key in self.model:
                with pytest.raises(OverflowError):
                    step(key, (1, number), (b"", None))

    @invariant()
    def every_row_is_there_as_it_was(self) -> None:
        assert len(self.rows) == len(self.model)
        for shard in (0, 1, SHARDS - 1):
            for place in range(71):
                key = number_of(shard, place)
                assert self.rows.get(key) == self.model.get(key)
                assert self.rows.lookups(key) == self.counts.get(key, 0)
                assert (key in self.rows) is (key in self.model)
            for column in (0, 1):
                found = self.rows.scan(shard, column)
                expected = {key: row[1][column] for key, row in self.model.items() if key % SHARDS == shard}
                assert dict(found) == expected and len(found) == len(expected)


class CompiledRowsMachine(RowsMachine):
    """The same with rows of the compiled module."""

    def make_rows(self, integers: int, references: int) -> Rows:
        assert compiled_rows is not None
        return compiled_rows(integers, references)


TestRows = RowsMachine.TestCase
TestRows.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestCompiledRows = needs_compiled(CompiledRowsMachine.TestCase)
TestCompiledRows.settings = TestRows.settings


def test_shard_shrinks_with_its_rows() -> None:
    shard, keys = PackedShard(5, 4), random.Random(1).sample(range(2**60), 10_000)
    for key in keys:
        shard.add(shard.find(key), array("q", (key, 1, 2, 3, 4)), (b"a", b"b", None, None))
    full = weight(shard)
    for key in keys[10:]:
        shard.remove(shard.find(key))
    assert weight(shard) < full / 100
    assert all(shard.find(key) >= 0 for key in keys[:10])


def weight(shard: PackedShard) -> int:
    return sys.getsizeof(shard.integers) + sys.getsizeof(shard.references) + sys.getsizeof(shard.slots)


def test_no_row_keeps_alive_what_was_removed(make_rows: MakeRows) -> None:
    rows, kept = make_rows(1, 1), object()
    before = sys.getrefcount(kept)
    rows.add(0, (1,), (kept,))
    rows.add(SHARDS, (1,), (None,))
    assert rows.count(0, -1) == (kept,)
    rows.update(SHARDS, (1,), (kept,))
    rows.update(SHARDS, (1,), (None,))
    rows.add(0, (1,), (kept,))
    del rows
    assert sys.getrefcount(kept) == before


def test_memory_comes_back(make_rows: MakeRows) -> None:
    """A table that was filled and emptied again and again takes no more than the first time, and ends with nothing."""
    rows, keys = make_rows(8, 4), random.Random(1).sample(range(2**60), 20_000)
    names = (b"a", b"b", b"c", None)
    full, empty = [], [resident_bytes()]
    for _ in range(3):
        for key in keys:
            rows.add(key, (1, 2, 3, 4, 5, 6, 7, 8), names)
        full.append(resident_bytes())
        for key in keys:
            rows.count(key, -1)
        empty.append(resident_bytes())
    assert len(rows) == 0
    row_bytes = 20_000 * 8 * 14
    assert full[-1] - full[0] < row_bytes / 4
    assert empty[-1] - empty[1] < row_bytes / 4


def resident_bytes() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_threads_count_what_they_count(make_rows: MakeRows) -> None:
    """Each step is whole, whoever takes one beside it."""
    rows, errors = make_rows(2, 1), list[BaseException]()
    lock = threading.Lock()  # as the inode table has one

    def in_thread(work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def churn(first: int) -> None:
        for number in range(first, first + 1000):
            with lock:
                assert rows.add(number, (number, -number), (b"%d" % number,))
            with lock:
                assert rows.get(number) == ((number, -number), (b"%d" % number,))
            with lock:
                assert rows.count(number, -1) == (b"%d" % number,)

    def work_on(first: int) -> Callable[[], None]:
        return lambda: churn(first)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [in_thread(work_on(first)) for first in range(0, 40_000, 10_000)]
        for thread in threads:
            thread.join(60)
    finally:
        sys.setswitchinterval(interval)
    assert not errors and len(rows) == 0


@needs_compiled
@pytest.mark.parametrize("wrong", [(17, 1), (1, 15), (-1, 1), (1, -1)])
def test_table_of_too_many_columns_is_refused(wrong: tuple[int, int]) -> None:
    assert compiled_rows is not None
    with pytest.raises(ValueError, match="a row has not so many columns"):
        compiled_rows(*wrong)


@needs_compiled
def test_wrong_row_is_refused() -> None:
    assert compiled_rows is not None
    rows = compiled_rows(2, 1)
    for integers, references in (((1,), (None,)), ((1, 2), ()), ((1, 2, 3), (None,)), ((1, 2), (None, None))):
        with pytest.raises(ValueError, match="a row has 2 integers and 1 references"):
            rows.add(1, integers, references)
    for wrong, names in ((("one", 2), (None,)), ([1, 2], (None,)), ((1, 2), [None])):
        with pytest.raises(TypeError):
            rows.add(1, wrong, names)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="an inode number is not negative"):
        rows.add(-1, (1, 2), (None,))
    with pytest.raises(IndexError):
        rows.scan(SHARDS, 0)
    with pytest.raises(IndexError):
        rows.scan(0, 1)
    assert len(rows) == 0
