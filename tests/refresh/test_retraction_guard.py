"""V11: a state that would retract too much at once is held back whole, until it is accepted or comes back."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from readyfs.errors import ExitCode, StateError
from readyfs.partition import WithheldReason
from readyfs.refresh.baseline import Baseline, BaselineFile
from readyfs.refresh.refresher import Outcome
from readyfs.refresh.retraction_guard import RetractionGuard, RetractionLimit
from readyfs.refresh.schedule import Schedule
from tests.catalog.rows import JUNE_1, Row
from tests.refresh.world import MOUNTPOINT, OUTAGE, FakeStore, World, make_guard

HALF = RetractionLimit(Fraction(1, 2), floor=2)
HALF_OR_AN_HOUR = RetractionLimit(Fraction(1, 2), floor=2, after_s=3600.0)
HALF_OR_FIVE_MINUTES = RetractionLimit(Fraction(1, 2), floor=2, after_s=300.0)
MINUTE = Schedule(60.0)


def rows(count: int, run: bytes = b"r1", first: int = 0) -> list[Row]:
    return [Row(date=JUNE_1 + day, run=run) for day in range(first, first + count)]


def start(tmp_path: Path, nursery: trio.Nursery, limit: RetractionLimit = HALF, count: int = 10) -> World:
    """Return a refresher that runs, with a guard over so many partitions."""
    world = World(tmp_path, FakeStore(*rows(count)), MINUTE, limit=limit)
    nursery.start_soon(world.refresher.run)
    return world


def guard_of(world: World) -> RetractionGuard:
    assert world.guard is not None
    return world.guard


def fingerprint(world: World) -> str:
    held = guard_of(world).held
    assert held is not None
    return held.fingerprint


# ---- the limit ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "floor", "shown", "loaded", "is_exceeded"),
    [
        (Fraction(1, 2), 1, 10, 5, False),  # exactly at the limit
        (Fraction(1, 2), 1, 10, 4, True),
        (Fraction(1, 2), 7, 10, 4, False),  # below the floor
        (Fraction(1, 2), 6, 10, 4, True),  # exactly at the floor
        (Fraction(1, 2), 1, 0, 0, False),
        (Fraction(1, 2), 1, 10, 25, False),
        (Fraction(333, 1000), 1, 1000, 667, False),  # without the errors of a float
        (Fraction(333, 1000), 1, 1000, 666, True),
        (Fraction(1, 10**8), 1, 10**9, 10**9 - 10, False),
        (Fraction(1, 10**8), 1, 10**9, 10**9 - 11, True),
    ],
)
def test_limit_is_exceeded_by_more_than_its_share_from_the_floor_on(
    share: Fraction, floor: int, shown: int, loaded: int, is_exceeded: bool
) -> None:
    assert RetractionLimit(share, floor).is_exceeded(shown, loaded) is is_exceeded


@pytest.mark.parametrize(
    ("after", "shown"),
    [
        pytest.param(rows(5), 5, id="exactly half"),
        pytest.param(rows(4), None, id="more than half"),
        pytest.param([], None, id="all"),
        pytest.param(rows(10, run=b"r2"), 10, id="switches"),
        pytest.param([*rows(2), *rows(8, first=20)], 10, id="net of what appears"),
        pytest.param([*rows(2), *rows(2, first=20)], None, id="less appears"),
        pytest.param([*rows(4), *rows(6, run=b"a/b", first=4)], None, id="newly withheld"),
        pytest.param([*rows(10), *(one._replace(source=b"s2") for one in rows(6))], None, id="newly ambiguous"),
        pytest.param([*rows(10), *(one._replace(source=b"s2") for one in rows(5))], 5, id="half ambiguous"),
    ],
)
async def test_refresh_that_retracts_more_than_its_share_is_held_back_whole(
    autojump_clock: MockClock,
    inline: None,
    tmp_path: Path,
    nursery: trio.Nursery,
    after: Sequence[Row],
    shown: int | None,
) -> None:
    world = start(tmp_path, nursery)
    before = world.fs.in_force
    world.store.commit(*after)
    with capture_logs():
        outcome = await world.refresher.refresh()
    if shown is None:
        assert outcome.held_back is not None
        assert world.fs.in_force is before
        assert world.kernel.told == []
    else:
        assert outcome.changed
        assert (world.revision, world.partitions) == (2, shown)


async def test_without_the_setting_everything_is_shown(
    autojump_clock: MockClock, inline: None, tmp_path: Path, nursery: trio.Nursery
) -> None:
    world = World(tmp_path, FakeStore(*rows(10)), MINUTE)
    nursery.start_soon(world.refresher.run)
    world.store.commit()
    with capture_logs():
        assert (await world.refresher.refresh()).changed
    assert world.partitions == 0
    assert os.listdir(tmp_path) == []


# ---- while it is held back ------------------------------------------------------------------------------------------


async def test_held_back_state_is_an_outage_with_its_reason_and_one_line_each_way(
    autojump_clock: MockClock, inline: None, tmp_path: Path, nursery: trio.Nursery
) -> None:
    world = start(tmp_path, nursery)
    world.store.withheld = [(WithheldReason.BAD_ROW, "x")]
    world.store.commit(*rows(3))
    with capture_logs() as logs:
        await trio.sleep(250.0)
        held = world.refresher.interruption
        assert held is not None
        assert held.cause == (
            "the state (1 of its ready rows are withheld) would retract 7 of 10 partitions, "
            "more than --max-retract 50% allows"
        )
        assert world.refresher.interruption_s() == pytest.approx(190.0)
        assert world.freshness.age_s() == pytest.approx(250.0), "from the last look that was accepted"
        assert world.store.attempts == [60.0, 120.0, 180.0, 240.0], "no look is left out"
        assert world.store.loads == 1, "a quiet state is not loaded again"
        world.store.withheld = []
        world.store.commit(*rows(9))
        await trio.sleep(60.0)
    assert world.partitions == 9
    assert world.refresher.interruption is None
    assert world.freshness.age_s() == pytest.approx(10.0)
    assert [(line["log_level"], line["event"]) for line in logs] == [
        ("warning", "a catalog is held back, serving the one before"),
        ("info", "no catalog is held back any more"),
        ("info", "refreshed"),
    ]
    assert logs[0]["accept"] == f"readyfs refresh /mnt/ready --accept {logs[0]['fingerprint']}"
    assert (logs[1]["reason"], logs[1]["held_seconds"]) == ("within the limit again", 240.0)
    assert world.refresher.tally.outcomes == {"held_back": 4, "changed": 1}


async def test_status_says_held_back_until_the_next_catalog_is_told_to_the_kernel(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: MockClock, inline: None
) -> None:
    """V11: whoever sees no cause any more reads the catalog that came after."""
    world = start(tmp_path, nursery)
    world.store.commit(*rows(1))
    await world.refresher.refresh()
    before = world.refresher.latest
    world.store.commit(*rows(10, run=b"r2"))
    world.kernel.gate, outcomes = trio.Event(), world.outcomes
    world.refresher.trigger()
    await wait_all_tasks_blocked()
    assert world.outcomes == outcomes
    assert (world.refresher.interruption is None, world.refresher.latest is before) == (False, True)
    world.kernel.gate.set()
    await wait_all_tasks_blocked()
    assert world.refresher.interruption is None
    assert world.refresher.latest.catalog is world.fs.in_force.catalog


async def test_held_back_state_grows_too_old(
    autojump_clock: MockClock, inline: None, tmp_path: Path, nursery: trio.Nursery
) -> None:
    world = World(tmp_path, FakeStore(*rows(10)), Schedule(10.0, max_staleness_s=60.0), limit=HALF)
    nursery.start_soon(world.refresher.run)
    world.store.commit()
    with capture_logs():
        await trio.sleep(59.0)
        await world.refresher.refresh()
        seen = [world.freshness.stale]
        await trio.sleep(2.0)
        seen.append(world.freshness.stale)
        await world.refresher.refresh(fingerprint(world))
        seen.append(world.freshness.stale)
    assert seen == [False, True, False]


async def test_outage_while_held_back_is_told_and_does_not_end_it(
    autojump_clock: MockClock, inline: None, tmp_path: Path, nursery: trio.Nursery
) -> None:
    world = start(tmp_path, nursery)
    world.store.commit()
    with capture_logs() as logs:
        await trio.sleep(61.0)
        since = world.refresher.interruption
        world.store.failure = OUTAGE
        await world.refresher.refresh()
        now = world.refresher.interruption
        assert since is not None and now is not None
        assert (now.cause, now.since_s) == ("the disk is gone; bring it back", since.since_s)
        world.store.failure = None
        await trio.sleep(200.0)
    assert world.partitions == 10
    assert world.refresher.interruption is not None
    assert "would retract 10 of 10" in world.refresher.interruption.cause
    assert [line["event"] for line in logs] == [
        "a catalog is held back, serving the one before",
        "state cannot be read, serving the last good catalog",
        "state can be read again",
    ]


# ---- accepting ------------------------------------------------------------------------------------------------------


async def test_accepted_fingerprint_is_shown(
    autojump_clock: MockClock, inline: None, tmp_path: Path, nursery: trio.Nursery
) -> None:
    world = start(tmp_path, nursery)
    world.store.commit(*rows(3))
    with capture_logs() as logs:
        await world.refresher.refresh()
        outcome = await world.refresher.refresh(fingerprint(world))
    assert (outcome.delta.retracted, outcome.held_back) == (7, None)
    assert world.partitions == 3
    assert "accepted" in [line.get("reason") for line in logs]
    world.store.commit(*rows(2))
    assert (await world.refresher.refresh()).changed, "what was accepted is what the next step is measured by"


async def test_other_fingerprint_accepts_nothing(
    autojump_clock: MockClock, inline: None, tmp_path: Path, nursery: trio.Nursery
) -> None:
    world = start(tmp_path, nursery)
    world.store.commit(*rows(3))
    with capture_logs():
        await world.refresher.refresh()
        shown = fingerprint(world)
        world.store.commit(*rows(2))
        outcome = await world.refresher.refresh(shown)
    assert outcome.held_back is not None
    assert outcome.fingerprint == fingerprint(world) != shown
    assert world.partitions == 10


async def test_what_was_accepted_is_accepted_for_all_that_share_the_refresh(
    autojump_clock: MockClock, inline: None, tmp_path: Path, nursery: trio.Nursery
) -> None:
    world = start(tmp_path, nursery)
    world.store.commit(*rows(3))
    outcomes: dict[str | None, Outcome] = {}

    async def ask(accept: str | None) -> None:
        outcomes[accept] = await world.refresher.refresh(accept)

    with capture_logs():
        await world.refresher.refresh()
        shown = fingerprint(world)
        async with trio.open_nursery() as together:
            for accept in (None, "0" * 32, shown):
                together.start_soon(ask, accept)
    assert world.partitions == 3
    assert {outcome.fingerprint for outcome in outcomes.values()} == {shown}


# ---- waiting --------------------------------------------------------------------------------------------------------


async def test_state_seen_unchanged_for_long_enough_is_accepted_with_the_time_of_that(
    autojump_clock: MockClock, inline: None, tmp_path: Path, nursery: trio.Nursery
) -> None:
    world = start(tmp_path, nursery, HALF_OR_FIVE_MINUTES)
    world.store.commit(*rows(3))
    with capture_logs() as logs:
        await trio.sleep(60.0 + 299.0)
        assert world.partitions == 10
        assert world.store.loads == 1
        await trio.sleep(60.0)
    assert world.partitions == 3
    assert world.store.loads == 2, "loaded once more, so that directories get the time at which they changed"
    assert [line.get("reason") for line in logs][1] == "seen unchanged for --retract-after"


async def test_state_that_moves_begins_the_wait_anew(
    autojump_clock: MockClock, inline: None, tmp_path: Path, nursery: trio.Nursery
) -> None:
    world = start(tmp_path, nursery, HALF_OR_FIVE_MINUTES)
    with capture_logs():
        world.store.commit(*rows(3))
        await trio.sleep(250.0)
        world.store.commit(*rows(2))
        await trio.sleep(250.0)
        assert world.partitions == 10
        await trio.sleep(110.0)
    assert world.partitions == 2


async def test_store_that_cannot_tell_is_waited_for_just_so(
    autojump_clock: MockClock, inline: None, tmp_path: Path, nursery: trio.Nursery
) -> None:
    world = start(tmp_path, nursery, HALF_OR_FIVE_MINUTES)
    world.store.rows = rows(3)
    world.store.version = None
    with capture_logs():
        await trio.sleep(60.0 + 299.0)
        assert world.partitions == 10
        await trio.sleep(60.0)
    assert world.partitions == 3


# ---- the baseline ---------------------------------------------------------------------------------------------------


def written(tmp_path: Path) -> int | None:
    baseline = BaselineFile(tmp_path, MOUNTPOINT).read()
    return None if baseline is None else baseline.partitions


async def test_baseline_follows_what_is_shown_and_not_what_is_held_back(
    autojump_clock: MockClock, inline: None, tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[Baseline] = []
    write = BaselineFile.write

    def note(file: BaselineFile, baseline: Baseline) -> None:
        writes.append(baseline)
        write(file, baseline)

    monkeypatch.setattr(BaselineFile, "write", note)
    world = start(tmp_path, nursery)
    await guard_of(world).admit_first(world.refresher.latest, None)
    assert written(tmp_path) == 10
    with capture_logs():
        for after, partitions in ((rows(12), 12), (rows(12, run=b"r2"), 12), ([], 12), (rows(12), 12), (rows(11), 11)):
            world.store.commit(*after)
            await world.refresher.refresh()
            assert written(tmp_path) == partitions
        await trio.sleep(600.0)
    assert len(writes) == 3, "once for each number, and never in a quiet refresh"


async def admit(
    tmp_path: Path,
    count: int,
    accept: str | None = None,
    limit: RetractionLimit = HALF,
    boot_id: str = "boot",
    settings: dict[str, str] | None = None,
) -> str:
    """Start with so many partitions; return their fingerprint."""
    first = World(tmp_path, FakeStore(*rows(count)), MINUTE).refresher.latest
    await make_guard(tmp_path, limit, settings, boot_id).admit_first(first, accept)
    return first.catalog.fingerprint


@pytest.mark.parametrize("count", [5, 10, 11, 1000])
async def test_start_within_the_limit_is_the_new_baseline(inline: None, tmp_path: Path, count: int) -> None:
    await admit(tmp_path, 10)
    await admit(tmp_path, count)
    assert written(tmp_path) == count


async def test_start_beyond_the_limit_is_refused_with_the_way_to_accept_it(inline: None, tmp_path: Path) -> None:
    await admit(tmp_path, 10)
    with pytest.raises(StateError) as caught:
        await admit(tmp_path, 4)
    assert caught.value.exit_code is ExitCode.STATE
    assert "would retract 6 of 10 partitions that were shown last" in caught.value.message
    assert written(tmp_path) == 10
    with pytest.raises(StateError):
        await admit(tmp_path, 4, accept="0" * 32)
    shown = caught.value.remedy.partition("--accept ")[2]
    with capture_logs() as logs:
        assert await admit(tmp_path, 4, accept=shown) == shown
    assert [line["event"] for line in logs] == ["retractions beyond the limit are accepted"]
    assert written(tmp_path) == 4
    await admit(tmp_path, 4)


async def test_wait_goes_on_over_restarts_of_one_boot(autojump_clock: MockClock, inline: None, tmp_path: Path) -> None:
    await admit(tmp_path, 10)
    with pytest.raises(StateError, match="mount again in 1h"):
        await admit(tmp_path, 3, limit=HALF_OR_AN_HOUR)
    await trio.sleep(1800.0)
    with pytest.raises(StateError, match="mount again in 30m"):
        await admit(tmp_path, 3, limit=HALF_OR_AN_HOUR)
    await trio.sleep(1800.0)
    with pytest.raises(StateError, match="mount again in 1h"):
        await admit(tmp_path, 2, limit=HALF_OR_AN_HOUR)  # another state
    await trio.sleep(3600.0)
    with pytest.raises(StateError, match="mount again in 1h"):
        await admit(tmp_path, 2, limit=HALF_OR_AN_HOUR, boot_id="another")
    await trio.sleep(3600.0)
    with capture_logs():
        await admit(tmp_path, 2, limit=HALF_OR_AN_HOUR, boot_id="another")
    assert written(tmp_path) == 2


async def test_wait_that_began_while_mounted_goes_on_after_a_restart(
    autojump_clock: MockClock, inline: None, tmp_path: Path
) -> None:
    with capture_logs():
        async with trio.open_nursery() as nursery:
            world = start(tmp_path, nursery, HALF_OR_AN_HOUR)
            world.store.commit(*rows(3))
            await world.refresher.refresh()
            nursery.cancel_scope.cancel()
        await trio.sleep(3000.0)
        with pytest.raises(StateError, match="mount again in 10m"):
            await admit(tmp_path, 3, limit=HALF_OR_AN_HOUR)
        await trio.sleep(600.0)
        await admit(tmp_path, 3, limit=HALF_OR_AN_HOUR)


async def test_baseline_of_other_settings_does_not_count_and_one_line_says_so(inline: None, tmp_path: Path) -> None:
    await admit(tmp_path, 10, settings={"state": "a", "source": "()"})
    with capture_logs() as logs:
        await admit(tmp_path, 1, settings={"state": "b", "source": "()"})
    assert [(line["event"], line["settings"]) for line in logs] == [
        ("the baseline of retractions is of other settings and does not count", ["state"])
    ]
    assert written(tmp_path) == 1


async def test_baseline_that_cannot_be_read_passes_nothing_and_is_ended_by_accepting(
    inline: None, tmp_path: Path
) -> None:
    await admit(tmp_path, 10)
    BaselineFile(tmp_path, MOUNTPOINT).path.write_bytes(b'{"ver')
    with capture_logs() as logs, pytest.raises(StateError, match="is not known, so the 10 of the state") as caught:
        await admit(tmp_path, 10)
    assert [line["event"] for line in logs] == ["the baseline of retractions cannot be read"]
    with capture_logs():
        await admit(tmp_path, 10, accept=caught.value.remedy.partition("--accept ")[2])
    assert written(tmp_path) == 10


async def test_baseline_that_cannot_be_read_is_ended_by_waiting_too(
    autojump_clock: MockClock, inline: None, tmp_path: Path
) -> None:
    await admit(tmp_path, 10)
    BaselineFile(tmp_path, MOUNTPOINT).path.write_bytes(b"")
    with capture_logs():
        for _ in range(2):
            with pytest.raises(StateError):
                await admit(tmp_path, 10, limit=HALF_OR_AN_HOUR)
            await trio.sleep(1800.0)
        await admit(tmp_path, 10, limit=HALF_OR_AN_HOUR)


async def test_disk_that_cannot_be_written_keeps_nobody_from_mounting_and_the_guard_works_on(
    autojump_clock: MockClock, inline: None, tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(BaselineFile, "write", fail)
    with capture_logs() as logs:
        world = start(tmp_path, nursery)
        await guard_of(world).admit_first(world.refresher.latest, None)
        world.store.commit()
        for _ in range(2):
            assert (await world.refresher.refresh()).held_back is not None
    assert guard_of(world).keeper.problem == os.strerror(errno.EROFS)
    assert [line["event"] for line in logs] == [
        "the baseline of retractions cannot be written",
        "a catalog is held back, serving the one before",
    ]
