"""V10: the guard of a raw store: readers of a volume that hangs wait aside, and nobody else does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Hashable
from concurrent.futures import Future, ThreadPoolExecutor, wait

import pytest

from readyfs.errors import PostponedError
from readyfs.partition import Partition, PartitionKey, SeriesKey
from readyfs.raw.guard import HANG_S, GuardedRawStore
from readyfs.raw.store import RawEntry, RawFile, RawStat

LIMIT = 2
PATIENCE_S = 20.0


def part(customer: bytes, date: int = 1) -> Partition:
    return Partition(PartitionKey(SeriesKey(b"s", customer, b"q"), date), b"r", 0, 0, None)


class Hanging:
    """A raw store whose calls wait until they are let go; `under_way` counts those that wait."""

    label = "hanging"

    def __init__(self) -> None:
        self.under_way = threading.Semaphore(0)
        self.events: list[threading.Event] = []

    def list_directory(
        self, partition: Partition, relpath: tuple[bytes, ...] = (), readable: Collection[bytes] = ()
    ) -> tuple[RawEntry, ...]:
        if partition.key.date == 0:
            return ()
        event = threading.Event()
        self.events.append(event)
        self.under_way.release()
        assert event.wait(PATIENCE_S)
        if partition.key.date < 0:
            raise OSError
        return ()

    def open_file(self, partition: Partition, relpath: tuple[bytes, ...]) -> RawFile:
        raise AssertionError

    def hold_file(self, partition: Partition, fd: int, stat: RawStat) -> RawFile:
        raise AssertionError

    def place_of(self, partition: Partition) -> bytes:
        return b"somewhere"

    def describe(self, partition: Partition) -> str:
        return "somewhere"

    def check(self) -> None:
        """Fine."""


class World:
    """A guarded store, a clock, and threads to call it on; a customer's first byte is its volume."""

    def __init__(self) -> None:
        self.now = 100.0
        self.raw = Hanging()
        self.asked: list[bytes] = []
        self.guard = GuardedRawStore(self.raw, self.volume_of, LIMIT, lambda: self.now)
        self.pool = ThreadPoolExecutor(16)
        self.calls: list[Future[object]] = []

    def volume_of(self, partition: Partition) -> Hashable:
        name = partition.key.series.customer_id
        self.asked.append(name)
        return name[:1] if name[:1] != b"?" else None

    def hang(self, *partitions: Partition) -> None:
        """Begin calls, and let so much time go by that they hang."""
        for one in partitions:
            self.calls.append(self.pool.submit(self.guard.list_directory, one))
            assert self.raw.under_way.acquire(timeout=PATIENCE_S)
        self.now += HANG_S

    def ask(self, customer: bytes) -> None:
        """Make a call that is answered at once, if it is let through."""
        self.guard.list_directory(part(customer, 0))

    def let_go(self, which: Callable[[int], bool] = lambda index: True) -> None:
        for index, event in enumerate(self.raw.events):
            if which(index):
                event.set()
        wait([call for index, call in enumerate(self.calls) if which(index)], PATIENCE_S)


@pytest.fixture
def world() -> World:
    return World()


def end(world: World) -> None:
    world.let_go()
    world.pool.shutdown()


def test_volume_that_hangs_is_asked_by_one_at_a_time(world: World) -> None:
    try:
        world.hang(part(b"a1"), part(b"a2"))
        world.hang(part(b"a3"))  # finds out
        for _ in range(3):
            with pytest.raises(PostponedError):
                world.ask(b"a4")
        world.ask(b"b1")
    finally:
        end(world)
    world.ask(b"a4")


def test_volume_that_answers_one_who_came_later_is_open_to_all(world: World) -> None:
    """Calls that hang in what was detached, or on one server of many, do not speak for ever."""
    try:
        world.hang(part(b"a1"), part(b"a2"))
        world.ask(b"a3")
        world.hang(part(b"a4"))
        world.ask(b"a5")
        world.hang(part(b"a6"))
        world.hang(part(b"a7"))
        with pytest.raises(PostponedError):
            world.ask(b"a8")
    finally:
        end(world)


def test_answer_that_is_an_error_is_an_answer(world: World) -> None:
    try:
        world.hang(part(b"a1"), part(b"a2"))
        world.hang(part(b"a3", -1))
        world.let_go(lambda index: index == 2)
        world.hang(part(b"a4"))
        world.ask(b"a5")
    finally:
        end(world)


def test_calls_that_hang_here_and_there_are_below_the_limit_everywhere(world: World) -> None:
    try:
        world.hang(part(b"a1"), part(b"b1"), part(b"c1"))
        for name in (b"a2", b"b2", b"c2", b"d2"):
            world.ask(name)
    finally:
        end(world)


def test_volume_that_cannot_be_known_is_never_postponed(world: World) -> None:
    try:
        world.hang(part(b"?1"), part(b"?2"), part(b"?3"))
        world.ask(b"?4")
    finally:
        end(world)


def test_nothing_is_asked_about_volumes_while_nothing_hangs(world: World) -> None:
    try:
        world.hang(part(b"a1"))
        world.ask(b"a2")
        assert world.asked == []
    finally:
        end(world)
