from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import orjson
import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from readyfs import __version__
from readyfs.clock import boottime_s
from readyfs.daemon.status import StatusReporter
from readyfs.history.moments import Moment
from readyfs.life import Life, Phase
from readyfs.metrics.durations import REFRESH_BOUNDS_NS, REQUEST_BOUNDS_NS, Durations, describe_bounds
from readyfs.metrics.push_counts import PushCounts
from readyfs.partition import WithheldReason
from readyfs.refresh.retraction_guard import RetractionLimit
from readyfs.refresh.schedule import Schedule
from readyfs.vfs.attributes import Entry
from readyfs.vfs.inode_number import ROOT_INODE
from tests.catalog.rows import JUNE_1, NOW_NS, Row
from tests.refresh.world import OUTAGE, FakeStore, World


@dataclass(slots=True)
class FakeEngine:
    """An engine's counters."""

    name: str = "fake"
    reads: str = "by hand"
    reads_reason: str = "there is no other"
    engine_loop: str = "by foot"
    engine_loop_reason: str = "for the exercise"
    loop_mismatches: Counter[str] = field(default_factory=lambda: Counter(open=2))
    requests: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    errors_by_operation: Counter[tuple[str, str]] = field(default_factory=Counter)
    durations: dict[str, Durations] = field(default_factory=dict)
    fallbacks: Counter[str] = field(default_factory=Counter)
    pushed: PushCounts = field(default_factory=lambda: PushCounts(2, 300, Counter(ENOMEM=1)))
    waits_s: list[float] = field(default_factory=list)

    def raw_waits_s(self) -> list[float]:
        return self.waits_s


@dataclass(frozen=True, slots=True)
class FakeNotifications:
    """What was told to a kernel."""

    sent: int = 7
    failed: int = 1


class FakeHistory:
    """A history that has a past and a full disk."""

    problem = "No space left on device"
    size = 1234

    def moments(self) -> list[Moment]:
        """Return two moments."""
        return [Moment("a" * 32, NOW_NS), Moment("b" * 32, NOW_NS + 1)]


@dataclass(slots=True)
class Scene:
    """A reporter over a refresher that runs among fakes."""

    world: World
    engine: FakeEngine
    life: Life
    reporter: StatusReporter


@pytest.fixture
async def scene(inline: None, tmp_path: Path, nursery: trio.Nursery) -> Scene:
    with capture_logs():
        world = World(tmp_path, FakeStore(Row(), Row(date=JUNE_1 + 1, customer=b"_c")), Schedule(10.0, 60.0))
    return make_scene(world, nursery)


def make_scene(world: World, nursery: trio.Nursery) -> Scene:
    engine, life = FakeEngine(), Life()
    reporter = StatusReporter(
        mountpoint=Path("/mnt/ready"),
        state_label="fake:/state",
        raw_label="/raw",
        schedule=world.schedule,
        filesystem=world.fs,
        freshness=world.freshness,
        refresher=world.refresher,
        engine=engine,
        notifications=FakeNotifications(),
        engine_reason="as asked for",
        life=life,
        started_s=boottime_s() - 5.0,
        listening=None,
        history=FakeHistory(),
    )
    nursery.start_soon(world.refresher.run)
    return Scene(world, engine, life, reporter)


async def test_document_of_a_healthy_mount(autojump_clock: MockClock, scene: Scene) -> None:
    await trio.sleep(13.0)
    document = scene.reporter.document()
    uptime_s = document.pop("uptime_seconds")
    assert isinstance(uptime_s, float)
    assert uptime_s >= 5.0
    memory_bytes, cpu_s = document.pop("memory_bytes"), document.pop("cpu_seconds")
    assert isinstance(memory_bytes, int) and memory_bytes > 1 << 20
    assert isinstance(cpu_s, float) and cpu_s > 0
    assert document == {
        "mountpoint": "/mnt/ready",
        "pid": os.getpid(),
        "version": __version__,
        "engine": "fake",
        "engine_reason": "as asked for",
        "engine_loop": "by foot",
        "engine_loop_reason": "for the exercise",
        "engine_loop_mismatches": {"open": 2},
        "reads": "by hand",
        "reads_reason": "there is no other",
        "fallbacks": {},
        "pushed_files": 2,
        "pushed_bytes": 300,
        "pushes_refused": {"ENOMEM": 1},
        "phase": "serving",
        "draining_seconds_left": None,
        "holders": [],
        "state": "fake:/state",
        "raw": "/raw",
        "revision": 1,
        "fingerprint": scene.world.fs.in_force.catalog.fingerprint,
        "partitions": 2,
        "withheld": {reason.value: 0 for reason in WithheldReason},
        "nothing_shown": None,
        "ignored_by_spark": 1,
        "read_as_null": 0,
        "raw_waiting": 0,
        "raw_waiting_longest_seconds": None,
        "broken": 0,
        "broken_by_kind": {"missing": 0, "size": 0, "modified": 0, "denied": 0, "unreadable": 0},
        "refreshed_at": "2024-06-02T03:46:40.000000+00:00",
        "age_seconds": 3.0,
        "stale": False,
        "max_staleness_seconds": 60.0,
        "state_error": None,
        "state_error_since": None,
        "outage_seconds": None,
        "held_back_fingerprint": None,
        "held_back_partitions": None,
        "baseline_error": None,
        "listen_error": None,
        "history_catalogs": 2,
        "history_oldest": "2024-06-02T03:46:40.000000+00:00",
        "history_bytes": 1234,
        "history_error": "No space left on device",
        "pin_store": None,
        "pin_store_error": None,
        "pin_store_pins": 0,
        "pin_store_views": 0,
        "interval_seconds": 10.0,
        "refreshing_seconds": None,
        "refresh_ms": 0.0,
        "lock_ms": 1.5,
        "open_handles": 0,
        "inodes": 1,
        "requests": {},
        "errors": {},
        "errors_by_operation": {},
        "request_durations": {"bounds_seconds": describe_bounds(REQUEST_BOUNDS_NS), "operations": {}},
        "refreshes": {"changed": 0, "unchanged": 1, "failed": 0, "held_back": 0},
        "refresh_durations": {
            "bounds_seconds": describe_bounds(REFRESH_BOUNDS_NS),
            "counts": [1, *[0] * len(REFRESH_BOUNDS_NS)],
            "seconds": 0.0,
        },
        "left_logs": 0,
        "lock_durations": {
            "bounds_seconds": describe_bounds(REFRESH_BOUNDS_NS),
            "counts": [1, *[0] * len(REFRESH_BOUNDS_NS)],
            "seconds": 0.0015,
        },
        "notifications_sent": 7,
        "notifications_failed": 1,
    }


async def test_outage_is_shown_with_its_age_and_cause(autojump_clock: MockClock, scene: Scene) -> None:
    """V11."""
    scene.world.store.failure = OUTAGE
    with capture_logs():
        await trio.sleep(59.0)
        document = scene.reporter.document()
        assert document["state_error"] == "the disk is gone; bring it back"
        assert str(document["state_error_since"]).endswith("+00:00")
        assert (document["age_seconds"], document["stale"]) == (59.0, False)
        assert (
            scene.reporter.line() == "serving 2 ready partitions; state cannot be read: the disk is gone; bring it back"
        )
        await trio.sleep(2.0)
        assert scene.reporter.document()["stale"] is True
        scene.world.store.failure = None
        await scene.world.refresher.refresh()
    document = scene.reporter.document()
    assert (document["state_error"], document["state_error_since"], document["stale"]) == (None, None, False)
    assert scene.reporter.line() == "serving 2 ready partitions"


async def test_held_back_catalog_is_shown_as_an_outage_with_its_fingerprint(
    autojump_clock: MockClock, inline: None, tmp_path: Path, nursery: trio.Nursery
) -> None:
    """V11."""
    limit = RetractionLimit(Fraction(1, 2), floor=1)
    with capture_logs():
        scene = make_scene(World(tmp_path, FakeStore(Row(), Row(date=JUNE_1 + 1)), limit=limit), nursery)
        scene.world.store.commit()
        await scene.world.refresher.refresh()
    document, held = scene.reporter.document(), scene.world.refresher.held_back
    assert held is not None
    cause = "the state would retract 2 of 2 partitions, more than --max-retract 50% allows"
    assert (document["state_error"], document["partitions"]) == (cause, 2)
    assert (document["held_back_fingerprint"], document["held_back_partitions"]) == (held.fingerprint, 0)
    assert scene.reporter.line() == f"serving 2 ready partitions; held back: {cause}"
    assert document["refreshes"] == {"changed": 0, "unchanged": 0, "failed": 0, "held_back": 1}


async def test_withheld_rows_are_counted_by_reason(autojump_clock: MockClock, scene: Scene) -> None:
    """V15."""
    scene.world.store.withheld = [(WithheldReason.BAD_ROW, "x"), (WithheldReason.BAD_ROW, "y")]
    scene.world.store.commit(Row(), Row(run=b"a/b", date=JUNE_1 + 1))
    with capture_logs():
        await scene.world.refresher.refresh()
    counts = scene.reporter.document()["withheld"]
    assert counts == {reason.value: 0 for reason in WithheldReason} | {"bad_row": 2, "unusable_raw_path": 1}


async def test_broken_partitions_handles_and_inodes_are_counted(autojump_clock: MockClock, scene: Scene) -> None:
    """V10."""
    fs, inode = scene.world.fs, ROOT_INODE
    with capture_logs():
        for path in ((b"c", b"q", b"2024-06-01", b"payload.jsonl"), (b".readyfs", b"status.json")):
            inode = ROOT_INODE
            for name in path:
                entry = fs.lookup(inode, name, may_block=True)
                assert isinstance(entry, Entry)
                inode = entry.node.inode
    fs.open_file(inode)
    document = scene.reporter.document()
    assert (document["broken"], document["open_handles"], document["inodes"]) == (1, 1, 7)


async def test_engine_counters_are_shown(autojump_clock: MockClock, scene: Scene) -> None:
    scene.engine.requests["lookup"] += 3
    scene.engine.errors["EIO"] += 1
    document = scene.reporter.document()
    assert (document["requests"], document["errors"]) == ({"lookup": 3}, {"EIO": 1})


async def test_requests_that_wait_for_the_raw_store_are_shown(autojump_clock: MockClock, scene: Scene) -> None:
    scene.engine.waits_s = [1.0, 7.25, 3.0]
    document = scene.reporter.document()
    assert (document["raw_waiting"], document["raw_waiting_longest_seconds"]) == (3, 7.25)


async def test_draining_mount_says_for_how_long_and_for_whom(autojump_clock: MockClock, scene: Scene) -> None:
    """V5."""
    scene.life.phase = Phase.DRAINING
    scene.life.drain_until_s = time.monotonic() + 100.0
    scene.life.holders = ("pid 42 cat (open file)",)
    document = scene.reporter.document()
    assert (document["phase"], document["holders"]) == ("draining", ["pid 42 cat (open file)"])
    left_s = document["draining_seconds_left"]
    assert isinstance(left_s, float)
    assert 50.0 < left_s <= 100.0
    scene.life.drain_until_s = time.monotonic() - 5.0
    assert scene.reporter.document()["draining_seconds_left"] == 0.0


async def test_running_refresh_shows(autojump_clock: MockClock, scene: Scene) -> None:
    seen: list[object] = []
    scene.world.store.during_load = lambda: seen.append(scene.reporter.document()["refreshing_seconds"])
    await scene.world.refresher.refresh()
    assert isinstance(seen[0], float)


async def test_status_is_answered_while_the_state_and_the_kernel_hang(autojump_clock: MockClock, scene: Scene) -> None:
    """V11: never does I/O, so it answers whatever hangs."""
    scene.world.kernel.gate = trio.Event()
    scene.world.store.commit(Row(run=b"r2"))
    with capture_logs():
        await trio.sleep(1_000.0)
        document = scene.reporter.document()
    assert document["revision"] == 2
    assert document["refreshing_seconds"] is not None


async def test_rendered_document_is_json_with_a_final_newline(autojump_clock: MockClock, scene: Scene) -> None:
    text = scene.reporter.render()
    assert text.endswith(b"}\n")
    document = scene.reporter.document()
    found = orjson.loads(text)
    assert found.keys() == document.keys()
    assert found["fingerprint"] == document["fingerprint"]
    assert found["mountpoint"] == "/mnt/ready"
