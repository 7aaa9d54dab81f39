from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs
from trio.testing import MockClock

from readyfs.catalog.build import CatalogBuilder
from readyfs.errors import AmbiguousPathsError, ExitCode, StateError
from readyfs.partition import WithheldReason
from readyfs.refresh import refresher as refresh_module
from readyfs.refresh.loader import CatalogLoader
from readyfs.refresh.refresher import ANNOUNCE_S, WATCH_TICK_S, Outcome
from readyfs.refresh.schedule import MAX_BACKOFF_S, Schedule
from readyfs.vfs.attributes import Entry
from readyfs.vfs.inode_number import ROOT_INODE
from readyfs.vfs.invalidation import Invalidation
from tests.catalog.rows import JUNE_1, NOW_NS, Row, shape
from tests.refresh.world import OUTAGE, FakeStore, World


@pytest.fixture
async def world(inline: None, tmp_path: Path) -> World:
    """A refresher that does not run yet, over one ready row."""
    return World(tmp_path, FakeStore(Row()))


@pytest.fixture
async def running(world: World, nursery: trio.Nursery) -> World:
    """A refresher that runs until the test ends."""
    nursery.start_soon(world.refresher.run)
    return world


def events(logs: Sequence[Mapping[str, object]], *names: str) -> list[object]:
    return [line["event"] for line in logs if not names or line["event"] in names]


# ---- the fake store -----------------------------------------------------------------------------------------------


async def test_fake_store_hands_over_what_was_committed() -> None:
    store = FakeStore(Row())
    assert store.probe() == 0
    store.commit(Row(), Row(date=JUNE_1 + 1))
    assert store.probe() == 1
    loaded = store.load()
    assert (loaded.token, loaded.rows) == (1, 2)
    assert list(loaded.series[Row().series].dates) == [JUNE_1, JUNE_1 + 1]
    assert (store.probes, store.loads) == (2, 1)


async def test_fake_store_token_is_from_before_the_load() -> None:
    """As the port asks, so that a change that is committed meanwhile is never missed."""
    store = FakeStore(Row())
    store.during_load = lambda: store.commit(Row(run=b"r2"))
    loaded = store.load()
    assert loaded.token == 0
    assert loaded.series[Row().series].run_ids == (b"r1",)


async def test_fake_store_fails_as_told() -> None:
    store = FakeStore()
    store.failure = OUTAGE
    with pytest.raises(StateError):
        store.probe()
    with pytest.raises(StateError):
        store.load()


# ---- loading ------------------------------------------------------------------------------------------------------


def make_loader(store: FakeStore) -> CatalogLoader:
    return CatalogLoader(store, shape(), lambda: NOW_NS)


async def test_state_that_seems_unchanged_is_not_loaded() -> None:
    store = FakeStore(Row())
    loader = make_loader(store)
    first = loader.load_first()
    assert loader.load_if_changed(first.catalog, force=False) is None
    assert (store.probes, store.loads) == (1, 1)


async def test_forced_load_does_not_ask_whether_it_changed() -> None:
    store = FakeStore(Row())
    loader = make_loader(store)
    first = loader.load_first()
    assert loader.load_if_changed(first.catalog, force=True) is not None
    assert (store.probes, store.loads) == (0, 2)


@pytest.mark.parametrize("is_exact", [True, False])
async def test_forced_load_is_whole_where_a_load_that_remembers_may_miss_something(is_exact: bool) -> None:
    """V3: what `readyfs refresh` and SIGHUP ask for."""
    store = FakeStore(Row())
    store.is_exact = is_exact
    loader = make_loader(store)
    first = loader.load_first()
    loader.load_if_changed(first.catalog, force=True)
    assert store.forgotten == (0 if is_exact else 1)
    store.commit(Row(run=b"r2"))
    loader.load_if_changed(first.catalog, force=False)
    assert store.forgotten == (0 if is_exact else 1), "what the timer asks for is not"


async def test_store_that_cannot_tell_is_loaded_every_time() -> None:
    store = FakeStore(Row())
    store.version = None
    loader = make_loader(store)
    first = loader.load_first()
    assert loader.load_if_changed(first.catalog, force=False) is not None
    store.version = 7
    assert loader.load_if_changed(first.catalog, force=False) is not None
    store.version = None
    assert loader.load_if_changed(first.catalog, force=False) is not None
    assert store.loads == 4


async def test_change_that_is_committed_during_a_load_is_loaded_next() -> None:
    """V3: never missed."""
    store = FakeStore(Row())
    loader = make_loader(store)
    store.during_load = lambda: store.commit(Row(), Row(date=JUNE_1 + 1))
    first = loader.load_first()
    assert first.catalog.partitions == 1
    store.during_load = lambda: None
    following = loader.load_if_changed(first.catalog, force=False)
    assert following is not None
    assert following.catalog.partitions == 2


async def test_load_that_could_not_be_built_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    store = FakeStore(Row())
    loader = make_loader(store)
    first = loader.load_first()
    store.commit(Row(run=b"r2"))
    with monkeypatch.context() as patch:
        patch.setattr(CatalogBuilder, "build", lambda *arguments: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            loader.load_if_changed(first.catalog, force=False)
    assert loader.load_if_changed(first.catalog, force=False) is not None


async def test_expected_change_is_loaded_whatever_the_probe_says() -> None:
    store = FakeStore(Row())
    loader = make_loader(store)
    first = loader.load_first()
    loader.expect_change()
    assert loader.load_if_changed(first.catalog, force=False) is not None


async def test_ambiguous_path_at_start_is_refused_naming_both_rows_and_the_remedy() -> None:
    """V13."""
    with pytest.raises(AmbiguousPathsError) as caught:
        make_loader(FakeStore(Row(source=b"s1"), Row(source=b"s2"))).load_first()
    assert caught.value.exit_code is ExitCode.AMBIGUOUS
    for part in ("c/q/2024-06-01", "s1/c/q/2024-06-01", "s2/c/q/2024-06-01"):
        assert part in caught.value.message
    assert "--source" in caught.value.remedy
    assert "{source}" in caught.value.remedy


async def test_path_that_becomes_ambiguous_later_is_no_reason_to_fail() -> None:
    """V13."""
    store = FakeStore(Row(source=b"s1"))
    loader = make_loader(store)
    first = loader.load_first()
    store.commit(Row(source=b"s1"), Row(source=b"s2"))
    loaded = loader.load_if_changed(first.catalog, force=False)
    assert loaded is not None
    assert loaded.report.withheld.counts == {WithheldReason.AMBIGUOUS_PATH: 1}


async def test_rows_withheld_by_the_store_and_by_the_catalog_are_counted_together() -> None:
    store = FakeStore(Row(), Row(run=b"a/b", date=JUNE_1 + 1))
    store.withheld = [(WithheldReason.BAD_ROW, "x"), (WithheldReason.UNUSABLE_RAW_PATH, "y")]
    counts = make_loader(store).load_first().report.withheld.counts
    assert counts == {WithheldReason.BAD_ROW: 1, WithheldReason.UNUSABLE_RAW_PATH: 2}


# ---- when ---------------------------------------------------------------------------------------------------------


async def test_state_is_probed_once_an_interval_and_loaded_only_when_it_changed(
    autojump_clock: MockClock, running: World
) -> None:
    await trio.sleep(9.9)
    assert running.store.probes == 0
    await trio.sleep(35.0)
    assert running.store.attempts == [10.0, 20.0, 30.0, 40.0]
    assert running.store.loads == 0
    assert running.revision == 1


async def test_change_is_in_force_after_an_interval(autojump_clock: MockClock, running: World) -> None:
    """V3."""
    running.store.commit(Row(), Row(date=JUNE_1 + 1))
    await trio.sleep(10.1)
    assert (running.revision, running.partitions) == (2, 2)
    await trio.sleep(20.0)
    assert running.store.loads == 1


async def test_interval_counts_from_the_beginning_of_a_refresh(autojump_clock: MockClock, running: World) -> None:
    """V3: or a change committed just after the read would wait an interval and the length of a refresh."""

    def take_long() -> None:
        autojump_clock.jump(4.0)
        running.store.commit(*running.store.rows)

    running.store.during_load = take_long
    running.store.version = 1
    await trio.sleep(35.0)
    assert running.store.attempts == [10.0, 20.0, 30.0]
    assert running.store.loads == 3


async def test_refresh_longer_than_the_interval_is_followed_by_the_next_at_once(
    autojump_clock: MockClock, running: World
) -> None:
    def take_long() -> None:
        autojump_clock.jump(25.0)
        running.store.during_load = lambda: None

    running.store.during_load = take_long
    running.store.version = 1
    await trio.sleep(46.0)
    assert running.store.attempts == [10.0, 35.0, 45.0]


async def test_trigger_loads_at_once_although_nothing_seems_changed(autojump_clock: MockClock, running: World) -> None:
    await trio.sleep(3.0)
    running.store.rows.append(Row(date=JUNE_1 + 1))  # behind the token's back
    running.refresher.trigger()
    await trio.sleep(0.1)
    assert running.store.loads == 1
    assert running.partitions == 2


async def test_trigger_before_the_task_runs_is_not_lost(
    autojump_clock: MockClock, world: World, nursery: trio.Nursery
) -> None:
    world.refresher.trigger()
    nursery.start_soon(world.refresher.run)
    await trio.sleep(0.1)
    assert world.store.loads == 1


async def test_many_triggers_are_one_refresh(autojump_clock: MockClock, running: World) -> None:
    for _ in range(5):
        running.refresher.trigger()
    await trio.sleep(0.1)
    assert running.store.loads == 1


async def test_trigger_during_a_refresh_is_another_refresh(autojump_clock: MockClock, running: World) -> None:
    """What it is about may have been committed after the read."""

    def committed_too_late() -> None:
        running.store.during_load = lambda: None
        running.store.commit(Row(run=b"r9"))
        running.refresher.trigger()

    running.store.during_load = committed_too_late
    running.refresher.trigger()
    await trio.sleep(0.1)
    assert running.store.loads == 2
    assert running.revision == 2


async def test_after_a_trigger_the_interval_begins_anew(autojump_clock: MockClock, running: World) -> None:
    await trio.sleep(6.0)
    running.refresher.trigger()
    await trio.sleep(9.9)
    assert running.store.probes == 0
    await trio.sleep(0.2)
    assert running.store.attempts == [16.0]


async def test_waiting_caller_gets_what_the_refresh_found(autojump_clock: MockClock, running: World) -> None:
    running.store.commit(Row(run=b"r2"), Row(date=JUNE_1 + 1))
    outcome = await running.refresher.refresh()
    assert outcome.changed
    assert (outcome.delta.appeared, outcome.delta.switched) == (1, 1)
    assert outcome.error is None
    assert not (await running.refresher.refresh()).changed


async def test_waiting_caller_gets_a_refresh_that_began_after_the_call(
    autojump_clock: MockClock, running: World, nursery: trio.Nursery
) -> None:
    """V3: one that was under way may have read before the caller's commit."""
    outcomes: list[Outcome] = []

    async def call() -> None:
        outcomes.append(await running.refresher.refresh())

    def commit_and_call() -> None:
        running.store.during_load = lambda: None
        running.store.commit(Row(), Row(date=JUNE_1 + 1))
        nursery.start_soon(call)

    running.store.during_load = commit_and_call
    first = await running.refresher.refresh()
    assert not first.changed
    await trio.sleep(0.1)
    assert [outcome.delta.appeared for outcome in outcomes] == [1]
    assert running.store.loads == 2


async def test_callers_that_wait_together_share_one_refresh(
    autojump_clock: MockClock, running: World, nursery: trio.Nursery
) -> None:
    outcomes: list[Outcome] = []

    async def call() -> None:
        outcomes.append(await running.refresher.refresh())

    for _ in range(5):
        nursery.start_soon(call)
    await trio.sleep(0.1)
    assert len(outcomes) == 5
    assert running.store.loads == 1


async def test_caller_that_goes_away_does_not_hold_up_the_refresh(autojump_clock: MockClock, running: World) -> None:
    with trio.move_on_after(0):
        await running.refresher.refresh()
    await trio.sleep(0.1)
    assert running.store.loads == 1
    assert not (await running.refresher.refresh()).changed


# ---- the order of a refresh ---------------------------------------------------------------------------------------


async def test_kernel_forgets_names_before_they_change_and_the_rest_behind_it(
    autojump_clock: MockClock, running: World
) -> None:
    """V3, V4: what is on its way to its cache would be taken for new, and what it asks again for is not to be kept."""
    seen: list[tuple[int, float]] = []

    def note() -> None:
        found = running.fs.lookup(ROOT_INODE, b"c", may_block=False)
        assert isinstance(found, Entry)
        seen.append((running.partitions, found.entry_timeout_s))

    running.kernel.before = note
    running.store.commit(Row(), Row(customer=b"c2"))
    await running.refresher.refresh()
    assert seen == [(1, 0.0), (2, 60.0)]
    assert running.kernel.told == [
        [Invalidation(ROOT_INODE, (b"c2",), listing=False)],
        [Invalidation(ROOT_INODE, (b"c2",))],
    ]


@pytest.mark.parametrize(("held_up", "revision"), [(1, 1), (2, 2)])
async def test_refresh_ends_when_the_kernel_has_taken_everything(
    autojump_clock: MockClock, running: World, nursery: trio.Nursery, held_up: int, revision: int
) -> None:
    """V3: the catalog answers once the names are forgotten, and the rest is forgotten once it does."""
    gate, told = trio.Event(), itertools.count(1)

    def hold_up() -> None:
        running.kernel.gate = gate if next(told) == held_up else None

    running.kernel.before = hold_up
    running.store.commit(Row(run=b"r2"))
    ended = trio.Event()

    async def call() -> None:
        await running.refresher.refresh()
        ended.set()

    nursery.start_soon(call)
    await trio.sleep(ANNOUNCE_S - 1.0)
    assert running.revision == revision
    assert not ended.is_set()
    assert running.store.probes == 0  # one refresh at a time
    gate.set()
    await ended.wait()


async def test_reader_who_holds_up_the_kernel_holds_up_the_catalog_only_for_a_while(
    autojump_clock: MockClock, running: World, nursery: trio.Nursery
) -> None:
    """V3: who asks for a name anew sees the next catalog, though the kernel cannot be told of it."""
    gate = running.kernel.gate = trio.Event()
    running.store.commit(Row(run=b"r2"))
    ended = trio.Event()

    async def call() -> None:
        await running.refresher.refresh()
        ended.set()

    nursery.start_soon(call)
    await trio.sleep(ANNOUNCE_S - 1.0)
    assert running.revision == 1
    await trio.sleep(100.0)
    assert running.revision == 2
    assert not ended.is_set()
    gate.set()
    await ended.wait()


async def test_names_are_forgotten_in_the_end_whatever_held_up_the_kernel(
    autojump_clock: MockClock, running: World, nursery: trio.Nursery
) -> None:
    """V3: also if another notification held it up, such as that of a view's end, so that none was sent in time."""
    gate = running.kernel.gate = trio.Event()
    running.store.commit(*(Row(customer=b"c%d" % number) for number in range(3)))
    nursery.start_soon(running.refresher.refresh)
    await trio.sleep(ANNOUNCE_S + 1.0)
    assert (running.revision, running.kernel.told) == (2, [])
    gate.set()
    await trio.sleep(1.0)
    [told] = running.kernel.told
    names = (b"c", b"c0", b"c1", b"c2")
    assert told == [Invalidation(ROOT_INODE, names, listing=False), Invalidation(ROOT_INODE, names[:1])]


async def test_nothing_is_published_when_the_content_is_the_same(autojump_clock: MockClock, running: World) -> None:
    """A commit that changes no ready row is no revision."""
    before = running.fs.in_force
    running.store.commit(Row())
    with capture_logs() as logs:
        await trio.sleep(10.1)
    assert running.store.loads == 1
    assert running.fs.in_force is before
    assert running.kernel.told == []
    assert logs == []


async def test_refresh_that_changed_something_is_one_log_line_with_its_counts(
    autojump_clock: MockClock, running: World
) -> None:
    running.store.commit(Row(updated_at_ns=5), Row(date=JUNE_1 + 1))
    with capture_logs() as logs:
        await running.refresher.refresh()
    (line,) = logs
    assert line["event"] == "refreshed"
    assert {
        name: line[name] for name in ("revision", "partitions", "appeared", "touched", "switched", "retracted")
    } == {
        "revision": 2,
        "partitions": 2,
        "appeared": 1,
        "touched": 1,
        "switched": 0,
        "retracted": 0,
    }


async def test_outcome_is_announced_after_every_refresh(autojump_clock: MockClock, running: World) -> None:
    await trio.sleep(10.1)
    assert running.outcomes == 1
    running.store.failure = OUTAGE
    await running.refresher.refresh()
    await trio.testing.wait_all_tasks_blocked()
    assert running.outcomes == 2


async def test_running_time_is_told_only_while_a_refresh_runs(autojump_clock: MockClock, running: World) -> None:
    seen: list[float | None] = []
    running.store.during_load = lambda: seen.append(running.refresher.running_s())
    assert running.refresher.running_s() is None
    await running.refresher.refresh()
    assert seen[0] is not None
    assert seen[0] >= 0.0
    assert running.refresher.running_s() is None


async def test_age_counts_from_the_start_of_the_last_probe_or_load(autojump_clock: MockClock, running: World) -> None:
    """V11: a quiet state is not stale."""
    await trio.sleep(25.0)
    assert running.freshness.age_s() == pytest.approx(5.0)
    running.store.during_load = lambda: autojump_clock.jump(3.0)
    await running.refresher.refresh()
    assert running.freshness.age_s() == pytest.approx(3.0)


# ---- outages ------------------------------------------------------------------------------------------------------


async def test_last_good_catalog_is_served_during_an_outage(autojump_clock: MockClock, running: World) -> None:
    """V11."""
    before = running.fs.in_force
    running.store.commit(Row(run=b"r2"))
    running.store.failure = OUTAGE
    outcome = await running.refresher.refresh()
    assert outcome.error == "the disk is gone; bring it back"
    assert not outcome.changed
    assert running.fs.in_force is before
    assert running.refresher.outage is not None
    assert running.refresher.outage.cause == "the disk is gone; bring it back"


async def test_outage_is_one_line_on_entering_and_one_on_leaving(autojump_clock: MockClock, running: World) -> None:
    """V11: however many attempts failed."""
    with capture_logs() as logs:
        running.store.failure = OUTAGE
        await trio.sleep(100.0)
        running.store.failure = None
        await trio.sleep(100.0)
    assert [(line["log_level"], line["event"]) for line in logs] == [
        ("warning", "state cannot be read, serving the last good catalog"),
        ("info", "state can be read again"),
    ]
    assert logs[0]["cause"] == "the disk is gone; bring it back"
    assert logs[1]["outage_seconds"] == pytest.approx(130.0)
    assert running.refresher.outage is None


async def test_cause_of_an_outage_is_that_of_the_latest_attempt(autojump_clock: MockClock, running: World) -> None:
    running.store.failure = OUTAGE
    await running.refresher.refresh()
    since_s = running.refresher.outage.since_s if running.refresher.outage else None
    await trio.sleep(1.0)
    running.store.failure = StateError("the table is gone", "make it")
    await running.refresher.refresh()
    assert running.refresher.outage is not None
    assert running.refresher.outage.cause == "the table is gone; make it"
    assert running.refresher.outage.failures == 2
    assert running.refresher.outage.since_s == since_s


async def test_attempts_back_off_to_a_minute_and_recover_at_once(autojump_clock: MockClock, running: World) -> None:
    """V11."""
    running.store.failure = OUTAGE
    await trio.sleep(265.0)
    assert running.store.attempts == [10.0, 20.0, 40.0, 80.0, 140.0, 200.0, 260.0]
    running.store.failure = None
    await trio.sleep(76.0)
    assert running.store.attempts[7:] == [320.0, 330.0, 340.0]


@pytest.mark.parametrize(("jitter", "factor"), [(0.0, 1.0), (0.5, 0.9), (1.0, 0.8)])
async def test_backoff_is_shortened_by_up_to_a_fifth(
    autojump_clock: MockClock,
    inline: None,
    tmp_path: Path,
    nursery: trio.Nursery,
    jitter: float,
    factor: float,
) -> None:
    """Many daemons must not all come back to one state store in one moment."""
    world = World(tmp_path, FakeStore(Row()), jitter=lambda: jitter)
    world.store.failure = OUTAGE
    nursery.start_soon(world.refresher.run)
    await trio.sleep(500.0)
    waits = [after - before for before, after in zip([0.0, *world.store.attempts], world.store.attempts, strict=False)]
    assert waits[:6] == pytest.approx([10.0, *(factor * seconds for seconds in (10.0, 20.0, 40.0, 60.0, 60.0))])


async def test_interval_above_the_longest_backoff_is_kept(
    autojump_clock: MockClock, inline: None, tmp_path: Path, nursery: trio.Nursery
) -> None:
    interval_s = MAX_BACKOFF_S * 10
    world = World(tmp_path, FakeStore(Row()), Schedule(interval_s))
    world.store.failure = OUTAGE
    nursery.start_soon(world.refresher.run)
    await trio.sleep(interval_s * 3.5)
    assert world.store.attempts == [interval_s, 2 * interval_s, 3 * interval_s]


async def test_very_long_outage_keeps_trying(autojump_clock: MockClock, running: World) -> None:
    """The doubling must not run into the limits of a float."""
    running.store.failure = OUTAGE
    await running.refresher.refresh()
    assert running.refresher.outage is not None
    running.refresher.outage.failures = 5_000
    await running.refresher.refresh()
    await trio.sleep(190.0)
    assert running.store.loads == 2 + 3


async def test_trigger_during_an_outage_tries_at_once(autojump_clock: MockClock, running: World) -> None:
    running.store.failure = OUTAGE
    await trio.sleep(100.0)
    running.store.failure = None
    outcome = await running.refresher.refresh()
    assert outcome.error is None
    assert running.refresher.outage is None


async def test_forced_load_that_failed_is_still_owed(autojump_clock: MockClock, running: World) -> None:
    """A trigger is not lost in an outage: the next attempt loads although nothing seems changed."""
    running.store.rows.append(Row(date=JUNE_1 + 1))  # behind the token's back
    running.store.failure = OUTAGE
    running.refresher.trigger()
    await trio.sleep(1.0)
    running.store.failure = None
    await trio.sleep(10.0)
    assert running.partitions == 2


async def test_what_the_store_knows_outlives_an_outage(autojump_clock: MockClock, running: World) -> None:
    """Only a store that may believe what is in no catalog has to read everything again."""
    running.store.failure = OUTAGE
    assert (await running.refresher.refresh()).error is not None
    running.store.failure = None
    assert (await running.refresher.refresh()).error is None
    assert running.store.forgotten == 0
    running.store.failure = ZeroDivisionError("bug")
    await running.refresher.refresh()
    running.store.failure = None
    await running.refresher.refresh()
    assert running.store.forgotten == 1


async def test_unexpected_exception_is_an_outage_and_the_next_attempt_loads_anew(
    autojump_clock: MockClock, running: World
) -> None:
    """A bug must not end the mount, and what it left half done must not be taken for done."""
    running.store.failure = ZeroDivisionError("bug")
    with capture_logs() as logs:
        outcome = await running.refresher.refresh()
    assert outcome.error == "ZeroDivisionError: bug"
    assert events(logs) == ["refresh failed unexpectedly", "state cannot be read, serving the last good catalog"]
    assert logs[0]["exc_info"] is True
    running.store.failure = None
    loads = running.store.loads
    await trio.sleep(10.1)
    assert running.store.loads == loads + 1
    assert running.refresher.outage is None


async def test_exception_while_comparing_leaves_the_old_catalog_and_is_made_good(
    autojump_clock: MockClock, running: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """V4: in one step or not at all."""
    running.store.commit(Row(run=b"r2"))
    with monkeypatch.context() as patch:
        patch.setattr(refresh_module, "compare", lambda *arguments: 1 // 0)
        with capture_logs():
            assert (await running.refresher.refresh()).error is not None
    assert running.revision == 1
    await trio.sleep(10.1)
    assert running.revision == 2
    assert running.kernel.told


async def test_refresh_that_hangs_is_an_outage_although_it_has_not_failed(
    autojump_clock: MockClock, running: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """V11: nobody knows whether it ever will; one line, and over when it ends after all."""
    time = SimpleNamespace(monotonic=trio.current_time, time_ns=lambda: NOW_NS)
    monkeypatch.setattr(refresh_module, "time", time)
    inline = trio.to_thread.run_sync

    async def hang_at_first(call: Callable[..., object], *arguments: object, **how: object) -> object:
        monkeypatch.setattr(trio.to_thread, "run_sync", inline)
        await trio.sleep(100.0)
        return await inline(call, *arguments)

    monkeypatch.setattr(trio.to_thread, "run_sync", hang_at_first)
    with capture_logs() as logs:
        await trio.sleep(10.0 + running.schedule.patience_s - 0.1)
        assert logs == []
        await trio.sleep(0.1 + 2 * WATCH_TICK_S)
        outage = running.refresher.outage
        assert outage is not None
        assert "has not answered for 30 s" in outage.cause
        assert running.outcomes == 1
        await trio.sleep(200.0)
    assert running.refresher.outage is None
    assert events(logs) == ["state cannot be read, serving the last good catalog", "state can be read again"]


# ---- too old ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def limited(inline: None, tmp_path: Path, nursery: trio.Nursery) -> World:
    """A refresher that runs with `--max-staleness` 30 s until the test ends."""
    world = World(tmp_path, FakeStore(Row(), Row(customer=b"c2")), Schedule(10.0, 30.0))
    nursery.start_soon(world.refresher.run)
    return world


def is_stale(world: World) -> bool:
    return world.freshness.stale


ROOT_NAMES = [[Invalidation(ROOT_INODE, (b"c", b"c2"))]]


async def test_quiet_state_never_becomes_too_old(autojump_clock: MockClock, limited: World) -> None:
    """V11."""
    await trio.sleep(1_000.0)
    assert not limited.freshness.stale
    assert limited.kernel.told == []


async def test_catalog_past_its_age_is_stale_and_the_root_is_dropped_from_the_kernel(
    autojump_clock: MockClock, limited: World
) -> None:
    """V11: on entering, in one line."""
    await trio.sleep(15.0)  # the last success began at 10
    limited.store.failure = OUTAGE
    await trio.sleep(24.9)
    assert not is_stale(limited)
    with capture_logs() as logs:
        await trio.sleep(0.1 + 2 * WATCH_TICK_S)
        assert is_stale(limited)
        await trio.sleep(100.0)
    assert events(logs) == ["catalog is too old, walks from the mount root fail"]
    assert limited.kernel.told == ROOT_NAMES


async def test_stale_catalog_that_is_fresh_again_drops_the_root_once_more(
    autojump_clock: MockClock, limited: World
) -> None:
    """V11: on leaving, in one line; nothing else has to change for it."""
    limited.store.failure = OUTAGE
    await trio.sleep(100.0)
    limited.store.failure = None
    limited.kernel.told.clear()
    with capture_logs() as logs:
        outcome = await limited.refresher.refresh()
        assert not limited.freshness.stale
        await trio.sleep(100.0)
    assert not outcome.changed
    assert events(logs, "catalog is fresh again") == ["catalog is fresh again"]
    assert limited.kernel.told == ROOT_NAMES


async def test_what_changed_in_the_outage_is_told_before_the_root_answers_again(
    autojump_clock: MockClock, limited: World
) -> None:
    """V11: no walk from the root meets the old catalog."""
    limited.store.failure = OUTAGE
    await trio.sleep(100.0)
    limited.store.failure = None
    limited.store.commit(Row(customer=b"c3"))
    seen: list[bool] = []
    limited.kernel.before = lambda: seen.append(limited.freshness.stale)
    limited.kernel.told.clear()
    await limited.refresher.refresh()
    assert seen == [True, True, False]
    assert limited.kernel.told[0][0] == Invalidation(ROOT_INODE, (b"c", b"c2", b"c3"), listing=False)
    assert limited.kernel.told[2] == [Invalidation(ROOT_INODE, (b"c3",))]


async def test_flag_is_set_before_the_kernel_is_told(autojump_clock: MockClock, limited: World) -> None:
    """V11: or a walk in between would be cached anew."""
    seen: list[bool] = []
    limited.kernel.before = lambda: seen.append(limited.freshness.stale)
    limited.store.failure = OUTAGE
    await trio.sleep(100.0)
    assert seen == [True]


async def test_hanging_state_store_becomes_too_old_as_well(
    autojump_clock: MockClock, limited: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """V11: an attempt that never ends is no success."""

    async def hang(*arguments: object, **how: object) -> object:
        await trio.sleep_forever()

    monkeypatch.setattr(trio.to_thread, "run_sync", hang)
    await trio.sleep(31.0)
    assert limited.freshness.stale


async def test_without_a_limit_nothing_is_ever_too_old(autojump_clock: MockClock, running: World) -> None:
    running.store.failure = OUTAGE
    await trio.sleep(1_000.0)
    assert not running.freshness.stale
    assert running.kernel.told == []


# ---- what cannot be served ----------------------------------------------------------------------------------------


async def test_withheld_row_is_logged_once_for_as_long_as_it_stays(
    autojump_clock: MockClock, inline: None, tmp_path: Path, nursery: trio.Nursery
) -> None:
    """V15."""
    store = FakeStore(Row())
    store.withheld = [(WithheldReason.BAD_ROW, "s/c/q/yesterday")]
    with capture_logs() as logs:
        world = World(tmp_path, store)
        nursery.start_soon(world.refresher.run)
        for _ in range(3):
            await world.refresher.refresh()
    assert [(line["event"], line["reason"], line["row"], line["detail"]) for line in logs] == [
        ("row is withheld", "bad_row", "s/c/q/yesterday", "why")
    ]
    with capture_logs() as logs:
        store.withheld.append((WithheldReason.NO_RUN_ID, "s/c/q/2024-06-01"))
        await world.refresher.refresh()
        await world.refresher.refresh()
    assert [line["row"] for line in logs] == ["s/c/q/2024-06-01"]


async def test_row_that_was_mended_and_breaks_again_is_logged_again(autojump_clock: MockClock, running: World) -> None:
    bad = [(WithheldReason.BAD_ROW, "x")]
    with capture_logs() as logs:
        for withheld in (bad, [], bad):
            running.store.withheld = withheld
            await running.refresher.refresh()
    assert events(logs) == ["row is withheld", "row is withheld"]


async def test_report_of_an_unchanged_catalog_is_the_latest(autojump_clock: MockClock, running: World) -> None:
    """A withheld row changes no fingerprint, and still has to be counted."""
    running.store.withheld = [(WithheldReason.BAD_ROW, "x")]
    await running.refresher.refresh()
    assert running.revision == 1
    assert running.refresher.latest.report.withheld.counts == {WithheldReason.BAD_ROW: 1}


async def test_names_that_spark_ignores_are_warned_of_once(autojump_clock: MockClock, running: World) -> None:
    """V12."""
    with capture_logs() as logs:
        running.store.commit(Row(customer=b"_c"), Row(customer=b".d"))
        await running.refresher.refresh()
        running.store.commit(Row(customer=b"_e"))
        await running.refresher.refresh()
    lines = [line for line in logs if "Spark" in str(line["event"])]
    assert [(line["log_level"], line["partitions"]) for line in lines] == [("warning", 2)]
