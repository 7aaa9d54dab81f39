"""V21: reasons are of one moment, and questions that hang hold up nobody else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Final, cast

import pytest
import trio
import trio.testing

from readyfs.consumer.explanation import Explanation, Reason
from readyfs.consumer.why import Rules
from readyfs.control.peer import Peer
from readyfs.control.question_requests import ShownRequest, WhyRequest
from readyfs.daemon.reader_pool import ReaderPool
from readyfs.daemon.reasons import LOOKS, Reasons
from readyfs.daemon.turns import Turns
from readyfs.errors import NoAnswerError
from readyfs.layout import MountLayout
from readyfs.partition import PartitionKey, PartitionStatus, SeriesKey
from readyfs.refresh.refresher import Refresher
from readyfs.state.filters import Filters
from readyfs.state.reader import StateReader, StateRow
from readyfs.vfs.file_filter import FileFilter
from readyfs.vfs.filesystem import Filesystem
from readyfs.vfs.freshness import Freshness
from readyfs.vfs.views import NoViews
from tests.catalog.rows import JUNE_1, Row, build, shape

ME, OTHER = Peer(1001, frozenset()), Peer(1002, frozenset())
SERIES: Final = SeriesKey(b"s1", b"c1", b"q1")
ASKED: Final = WhyRequest("c1/q1/2024-06-01", "/mnt")
DATE: Final = JUNE_1


class World:
    """A mount whose catalog, and a state whose rows, a test changes in the middle of a question."""

    def __init__(self) -> None:
        self.catalogs = {run: build([Row(b"s1", b"c1", b"q1", DATE, run)]) for run in (b"r1", b"r2")}
        self.catalogs[b""] = build([Row(b"s1", b"c1", b"q1", DATE + 1)])
        self.filesystem = SimpleNamespace(
            in_force=SimpleNamespace(catalog=self.catalogs[b""]), look_at_run=lambda *_: (None, True)
        )
        self.find: Callable[[], list[StateRow]] = list
        self.asked = 0
        reader = SimpleNamespace(find=self._find)
        self.reasons = Reasons(
            Rules(Filters(), MountLayout.parse(), with_messages=False),
            FileFilter(()),
            cast(Filesystem, self.filesystem),
            Freshness(),
            cast(Refresher, SimpleNamespace(outage=None, held_back=None)),
            NoViews(),
            ReaderPool(lambda: cast(StateReader, reader)),
        )

    def show(self, run: bytes) -> None:
        self.filesystem.in_force = SimpleNamespace(catalog=self.catalogs[run])

    def _find(self, key: PartitionKey) -> list[StateRow]:
        assert key == PartitionKey(SERIES._replace(source=b""), DATE)
        self.asked += 1
        return self.find()

    async def ask(self, peer: Peer = ME) -> Explanation:
        return await self.reasons.explain(ASKED, peer)


@pytest.fixture
def world() -> World:
    return World()


def ready(run: bytes) -> StateRow:
    return StateRow(SERIES, DATE, PartitionStatus.READY, "success", run, 0, 1, None, None, -1)


async def test_what_became_ready_meanwhile_is_told_to_be_ready(world: World) -> None:
    """The state said so after the mount was looked at: the answer is of the moment when both did."""

    def find() -> list[StateRow]:
        world.show(b"r1")
        return [ready(b"r1")]

    world.find = find
    told = await world.ask()
    assert (told.reason, told.note) == (Reason.READY, "")
    assert world.asked == 2


async def test_what_is_another_run_meanwhile_is_asked_about_again(world: World) -> None:
    world.show(b"r1")

    def find() -> list[StateRow]:
        world.show(b"r2")
        return [ready(b"r2")]

    world.find = find
    told = await world.ask()
    assert (told.reason, told.fields["run_id"], told.note) == (Reason.READY, "r2", "")


async def test_a_mount_that_changes_all_the_time_is_not_answered_for(world: World) -> None:
    """Nothing that could be told was so at one moment."""
    runs = [b"r1", b"r2"] * LOOKS

    def find() -> list[StateRow]:
        world.show(runs.pop())
        return []

    world.find = find
    with pytest.raises(NoAnswerError, match="something else at c1/q1/2024-06-01 at each of 3 looks"):
        await world.ask()
    assert world.asked == LOOKS


async def test_what_is_shown_is_told_of_one_catalog_and_asks_no_store(world: World) -> None:
    request = ShownRequest((ASKED.asked, "c1/q1/2024-06-02", "c1/q1/2024-02-30", "c1/q1", "c1/q1/latest"), "/mnt")
    world.show(b"r1")
    fingerprint, shown = await world.reasons.list_shown(request, ME)
    assert (fingerprint, world.asked) == (world.catalogs[b"r1"].fingerprint, 0)
    assert [one and one[0] for one in shown] == ["r1", None, None, None, "r1"]
    world.show(b"")
    _, shown = await world.reasons.list_shown(request, ME)
    assert [one is not None for one in shown] == [False, True, False, False, True]


async def test_a_path_has_the_source_of_what_was_found(world: World) -> None:
    """The layout shows it, and the key does not tell it: who waits looks at that path."""
    of = shape("{source}/{customer_id}/{query_name}/{logical_date}")
    world.reasons.rules = replace(world.reasons.rules, layout=of.layout)
    world.filesystem.in_force = SimpleNamespace(catalog=build([Row(b"s1", b"c1", b"q1", DATE, b"r1")], of=of))
    world.find = lambda: [ready(b"r1")]
    assert (await world.ask()).fields["path"] == "s1/c1/q1/2024-06-01"
    world.filesystem.in_force = SimpleNamespace(catalog=build([Row(b"s1", b"c1", b"q1", DATE + 1)], of=of))
    assert (await world.ask()).fields["path"] == "s1/c1/q1/2024-06-01"
    world.find = list
    assert (await world.ask()).fields["path"] is None


async def test_one_user_whose_questions_hang_leaves_turns_to_others(world: World) -> None:
    """Two of four threads are one user's at most, hung ones included."""
    turns, over, begun = Turns(4, 2), threading.Event(), threading.Semaphore(0)

    def hang() -> None:
        begun.release()
        over.wait()

    late: list[int] = []

    async def ask() -> None:
        try:
            await turns.run(ME.uid, hang, 0.2)
        except trio.TooSlowError:
            late.append(1)

    try:
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                for _ in range(6):
                    nursery.start_soon(ask)
            assert len(late) == 6
            assert begun.acquire(blocking=False)
            assert begun.acquire(blocking=False)
            assert not begun.acquire(blocking=False), "the others never began"
            with pytest.raises(trio.TooSlowError):
                await turns.run(ME.uid, int, 0.05)
            assert await turns.run(OTHER.uid, int, 5.0) == 0
    finally:
        over.set()


def test_a_reader_is_lent_to_one_thread_at_a_time(tmp_path: Path) -> None:
    made: list[object] = []

    def make() -> StateReader:
        made.append(object())
        return cast(StateReader, made[-1])

    pool = ReaderPool(make)
    with pool.borrowed() as one, pool.borrowed() as other:
        assert one is not other
    with pytest.raises(RuntimeError), pool.borrowed() as again:
        raise RuntimeError
    with pool.borrowed() as last:
        assert again is last
    assert len(made) == 2
