"""V22: pages of changes, over a history that drops catalogs meanwhile and a disk that fails."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TypeVar

import pytest
import trio
import trio.testing

from readyfs.catalog.tree import Catalog
from readyfs.consumer import change_lines
from readyfs.consumer.changes import Difference
from readyfs.control.change_requests import AckRequest, ChangesRequest
from readyfs.control.peer import Entrance, Peer
from readyfs.daemon import public_changes
from readyfs.daemon.catalog_watch import CatalogWatch
from readyfs.daemon.kept_catalogs import KeptCatalogs
from readyfs.daemon.pinned_memory import PinnedMemory
from readyfs.daemon.public_answers import PublicAnswers
from readyfs.daemon.public_changes import PublicChanges
from readyfs.daemon.transfers import ALL_TRANSFERS, IDLE_S, TICK_S, USER_TRANSFERS, Batch, Transfers
from readyfs.daemon.turns import Turns
from readyfs.errors import HistoryError, LimitError, NoAnswerError, ResyncError, UsageError
from readyfs.history.history import History
from readyfs.history.moments import Bounds, Moment
from readyfs.life import Life
from readyfs.partition import render_time
from readyfs.pins.file import PinFile
from readyfs.pins.lease_clock import LeaseClock
from readyfs.pins.limits import Limits
from readyfs.pins.registry import Registry
from readyfs.vfs.freshness import Freshness
from tests.catalog.rows import JUNE_1, NOW_NS, Row, build
from tests.history.kept import opened

ME = Peer(1001, frozenset())
BEGINNING = "beginning"
T = TypeVar("T")


class World:
    """Answers over a history that keeps nothing but what is in force and what is pinned."""

    def __init__(self, state_dir: Path, history: History) -> None:
        clock = LeaseClock()
        self.file = PinFile(state_dir, Path("/mnt/ready"), clock)
        self.registry = Registry(self.file, Limits(60, 600, 60, 100, 1 << 30), clock)
        self.history = history
        KeptCatalogs(history, self.registry)
        self.in_force = build([])
        self.taken_ns = NOW_NS
        answers = PublicAnswers(
            lambda: self.in_force,
            trio.lowlevel.checkpoint,
            Freshness(),
            history,
            self.registry,
            PinnedMemory(history),
            Entrance(0, 0, 0o555, True, 0),
            Life(),
        )
        self.changes = PublicChanges(answers, history, CatalogWatch(lambda: self.in_force.fingerprint))

    def show(self, *rows: Row, is_told: bool = True) -> Catalog:
        """Put a catalog into force, of which the kernel is told, or is not yet."""
        self.in_force = build(rows, self.in_force)
        self.taken_ns += 1_000_000_000
        self.history.record(self.in_force, self.taken_ns)
        if is_told:
            self.changes.watch.announce()
        return self.in_force

    async def ask(self, since: str | None = None, consumer: str | None = None) -> tuple[list[dict[str, object]], str]:
        """Return all changes of a batch, page after page, and its cursor."""
        page = await self.changes.changes(ChangesRequest(since, consumer=consumer), ME)
        lines = str(page["changes"])
        while page["after"] is not None:
            page = await self.next(page)
            lines += str(page["changes"])
        return [json.loads(line) for line in lines.splitlines()], str(page["until"])

    async def next(self, page: dict[str, object]) -> dict[str, object]:
        request = ChangesRequest(str(page["since"]), str(page["until"]), str(page["after"]))
        return await self.changes.changes(request, ME)

    async def show_and_take(self, run: bytes, since: str | None) -> str:
        """Put a catalog into force, and have a consumer be given the batch that ends with it; return its cursor."""
        self.show(*rows(1, run))
        return (await self.ask(since, "job"))[1]

    async def acknowledge(self, cursor: str) -> None:
        await self.changes.acknowledge(AckRequest("job", cursor), ME)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with opened(tmp_path / "history", Bounds(0, 86400.0, 1 << 30)) as history:
        yield World(tmp_path, history)


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each change be a page."""
    monkeypatch.setattr(change_lines, "PAGE_BYTES", 1)


def rows(count: int, run: bytes = b"r1") -> list[Row]:
    return [Row(date=JUNE_1 + index, run=run) for index in range(count)]


async def test_pages_are_the_whole_although_the_history_drops_both_catalogs(world: World, small_pages: None) -> None:
    first = world.show(*rows(5))
    page = await world.changes.changes(ChangesRequest(BEGINNING), ME)
    found = [json.loads(str(page["changes"]))]
    number = 0
    while page["after"] is not None:
        number += 1
        world.show(*rows(5, b"s%d" % number))
        page = await world.next(page)
        found.append(json.loads(str(page["changes"])))
    assert world.history.first_taken_at_ns(first.fingerprint) is None
    assert [one["run_id"] for one in found] == ["r1"] * 5
    assert len({one["logical_date"] for one in found}) == 5
    assert not len(world.changes.transfers), "nothing is held of what was fetched"


async def test_batch_that_is_not_held_any_more_is_a_resync_and_never_another(world: World, small_pages: None) -> None:
    """As after a restart of the daemon: the client begins the batch again."""
    world.show(*rows(3))
    page = await world.changes.changes(ChangesRequest(BEGINNING), ME)
    world.changes.transfers.drop(Batch(ME.uid, BEGINNING, str(page["until"])))
    world.show(*rows(3, b"r2"))
    with pytest.raises(ResyncError):
        await world.next(page)


async def test_page_of_nonsense_is_refused(world: World) -> None:
    world.show(*rows(1))
    for since, until, after in (("x", "a" * 32, "//1"), (BEGINNING, "../x", "61/62/63/1"), (BEGINNING, "a" * 32, "zz")):
        with pytest.raises(UsageError):
            await world.changes.changes(ChangesRequest(since, until, after), ME)


async def test_batch_of_a_consumer_that_cannot_be_written_is_not_given(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a new consumer, nor the next batch, nor an acknowledgement: all is as it was before."""

    def fail(*rest: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    first = world.show(*rows(1))
    with monkeypatch.context() as full, pytest.raises(HistoryError, match="No space left"):
        full.setattr(PinFile, "write", fail)
        await world.ask(BEGINNING, "job")
    assert world.registry.pins() == []
    await world.ask(BEGINNING, "job")
    with monkeypatch.context() as full, pytest.raises(HistoryError, match="No space left"):
        full.setattr(PinFile, "write", fail)
        await world.acknowledge(first.fingerprint)
    assert world.registry.pins()[0].acknowledged == BEGINNING
    await world.acknowledge(first.fingerprint)
    world.show(*rows(1, b"r2"))
    with monkeypatch.context() as full, pytest.raises(HistoryError, match="No space left"):
        full.setattr(PinFile, "write", fail)
        await world.ask(None, "job")
    [pin] = world.registry.pins()
    assert (pin.acknowledged, pin.fingerprint) == (first.fingerprint, first.fingerprint)
    assert set(world.registry.held()) == {first.fingerprint}
    third = world.show(*rows(1, b"r3"))
    [switched], cursor = await world.ask(None, "job")
    assert (switched["old_run_id"], switched["run_id"], cursor) == ("r1", "r3", third.fingerprint)


async def test_catalog_of_a_consumer_is_let_go_once_it_has_gone_on(world: World) -> None:
    first = world.show(*rows(1))
    await world.ask(BEGINNING, "job")
    await world.acknowledge(first.fingerprint)
    second = world.show(*rows(1, b"r2"))
    await world.ask(None, "job")
    assert world.history.first_taken_at_ns(first.fingerprint) is not None
    await world.acknowledge(second.fingerprint)
    assert world.history.first_taken_at_ns(first.fingerprint) is None


async def test_consumer_never_begins_at_what_is_not_kept(world: World) -> None:
    first = world.show(*rows(1))
    world.show(*rows(1, b"r2"))
    with pytest.raises(ResyncError):
        await world.ask(first.fingerprint, "job")
    assert world.registry.pins() == []


async def test_changes_of_unchanged_catalogs_are_none_whoever_asks(world: World) -> None:
    first = world.show(*rows(1))
    assert await world.ask(first.fingerprint) == ([], first.fingerprint)


async def test_nothing_is_told_of_what_the_kernel_does_not_know_yet(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever opens a path that it was told of finds what it was told of."""
    world.show(*rows(1))
    second = world.show(*rows(1, b"r2"), is_told=False)
    real, known = PublicChanges._difference, list[str]()

    async def difference(self: PublicChanges, batch: Batch) -> Difference:
        known.append(self.watch.seen)
        return await real(self, batch)

    monkeypatch.setattr(PublicChanges, "_difference", difference)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.ask, BEGINNING)
        await trio.testing.wait_all_tasks_blocked()
        world.changes.watch.announce()
    assert known == [second.fingerprint]


async def test_what_the_kernel_is_not_told_in_time_is_not_told_to_anybody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(public_changes, "TELL_S", 0.02)
    world.show(*rows(1))
    batch = await world.ask(BEGINNING, "job")
    world.show(*rows(1, b"r2"), is_told=False)
    for consumer in (None, "other"):
        with pytest.raises(NoAnswerError, match="the kernel does not know yet"):
            await world.ask(BEGINNING, consumer)
    assert [pin.name for pin in world.registry.pins()] == ["job"]
    assert await world.ask(None, "job") == batch, "the kernel knows what this one ends with"


async def test_batch_that_was_seen_waits_and_one_of_another_past_does_not(world: World) -> None:
    """Whoever was away while others took two batches has not seen the third, though it ends where the first did."""
    await world.acknowledge(await world.show_and_take(b"r1", BEGINNING))
    second = await world.show_and_take(b"r2", None)
    seen = (await world.changes.changes(ChangesRequest(consumer="job"), ME))["batch"]
    request = ChangesRequest(consumer="job", seen=str(seen))
    assert (await world.changes.changes(request, ME))["waits"] is True
    await world.acknowledge(second)
    for run in (b"r3", b"r2", b"r1"):
        await world.acknowledge(await world.show_and_take(run, None))
    again = await world.show_and_take(b"r2", None)
    assert again == second
    page = await world.changes.changes(request, ME)
    assert (page["waits"], page["until"]) == (False, second)
    assert json.loads(str(page["changes"]))["old_run_id"] == "r1"


@pytest.mark.parametrize("digits", [16, 31, 32])
async def test_cursor_may_be_as_short_as_people_are_shown_it(world: World, digits: int) -> None:
    first = world.show(*rows(1)).fingerprint
    assert await world.ask(first[:digits]) == ([], first)
    other = ("0" if first[0] != "0" else "1") + first[1:digits]
    with pytest.raises(ResyncError, match="that catalog is not kept"):
        await world.ask(other)


async def test_cursor_that_is_too_short_is_none(world: World) -> None:
    first = world.show(*rows(1)).fingerprint
    with pytest.raises(UsageError, match="is no cursor"):
        await world.ask(first[:15])


async def test_beginning_of_several_cursors_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    twins = ["a" * 16 + digit * 16 for digit in "bc"]
    monkeypatch.setattr(History, "moments", lambda self: [Moment(twin, NOW_NS) for twin in twins])
    with pytest.raises(UsageError, match="the beginning of several cursors"):
        await world.ask("a" * 16)


async def test_time_and_age_stand_for_the_catalog_of_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path / "history", Bounds(9, 86400.0, 1 << 30)) as history:
        world = World(tmp_path, history)
        first, second = world.show(*rows(1)), world.show(*rows(1, b"r2"))
        now_ns = world.taken_ns + 1_000_000_000
        monkeypatch.setattr(public_changes, "time", SimpleNamespace(time_ns=lambda: now_ns))
        half_ns = 500_000_000
        for since in ("1500ms", render_time(world.taken_ns - half_ns).decode()):
            [switched], cursor = await world.ask(since)
            assert (switched["old_run_id"], cursor) == ("r1", second.fingerprint)
        assert await world.ask("500ms") == ([], second.fingerprint)
        oldest = render_time(world.taken_ns - 1_000_000_000).decode()
        for since in ("2500ms", "365d", "2001-01-01"):
            with pytest.raises(ResyncError, match=re.escape(f"the oldest is of {oldest}")):
                await world.ask(since)
        with pytest.raises(UsageError, match="an age such as 10m"):
            await world.ask("10 minutes")
        assert history.first_taken_at_ns(first.fingerprint) is not None


async def test_catalog_that_is_replaced_before_a_thread_comes_to_it_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, real = world.show(*rows(1)), Turns.run

    async def run(self: Turns, uid: int, call: Callable[[], T], deadline_s: float) -> T:
        world.show(*rows(1, b"r2"))
        return await real(self, uid, call, deadline_s)

    monkeypatch.setattr(Turns, "run", run)
    [appeared], cursor = await world.ask(BEGINNING)
    assert (appeared["run_id"], cursor) == ("r1", first.fingerprint)


async def test_what_nobody_fetches_is_let_go(autojump_clock: trio.testing.MockClock) -> None:
    transfers, nothing = Transfers(), Difference(None, build([]))
    used, left = Batch(1, "a", "b"), Batch(1, "a", "c")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transfers.run)
        transfers.hold(used, nothing)
        transfers.hold(left, nothing)
        for _ in range(3):
            await trio.sleep(IDLE_S / 2)
            assert transfers.find(used) is nothing
        await trio.sleep(TICK_S)
        assert (len(transfers), transfers.find(left)) == (1, None)
        nursery.cancel_scope.cancel()


async def test_one_user_cannot_take_the_batches_of_others() -> None:
    transfers, nothing = Transfers(), Difference(None, build([]))
    theirs = Batch(2, "a", "b")
    transfers.hold(theirs, nothing)
    for number in range(3 * USER_TRANSFERS):
        transfers.hold(Batch(1, "a", str(number)), nothing)
    assert len(transfers) == USER_TRANSFERS + 1
    assert transfers.find(theirs) is nothing
    with pytest.raises(LimitError):
        for user in range(3, 3 + ALL_TRANSFERS):
            transfers.hold(Batch(user, "a", "b"), nothing)
    assert transfers.find(theirs) is nothing
