"""A sample world: customers, queries and dates as a producer leaves them, deterministic under a seed.

`make_world` writes it through `Producer`. An uneven world (the default) holds what months of operation leave behind:
partitions that are pending, failed, missing or requeued, runs that were rejected, superseded or never finished. The
newest `SETTLED_DAYS` dates of the first series are plainly ready and the date before them was reprocessed, so that a
tour of `TOUR_DAYS` finds something to show whatever the seed.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

import orjson

from readyfs.demo.producer import LogicalPartition, Producer
from readyfs.errors import UsageError
from readyfs.text import escape_text

SETTLED_DAYS: Final = 4
TOUR_DAYS: Final = SETTLED_DAYS + 1

_MARKER_NAME: Final = ".readyfs-demo.json"

_QUERIES: Final = (
    ("google_ads", "campaign_daily"),
    ("google_ads", "keyword_daily"),
    ("google_ads", "search_terms"),
    ("meta_ads", "adset_insights"),
    ("bing_ads", "audience_daily"),
)
_DEVICES: Final = (b"MOBILE", b"DESKTOP", b"TABLET")


class Fate(StrEnum):
    """What happened to a partition; the value names it in the world's summary."""

    READY = "ready at once"
    RECOVERED = "ready at the second attempt"
    REPROCESSED = "reprocessed"
    REPROCESSING = "being reprocessed"
    MISSING = "missing"
    UNFINISHED = "unfinished"
    PENDING = "pending"
    FAILED = "failed"
    FAILED_LATER = "failed after a success"
    REQUEUED = "requeued"


_READY_FATES: Final = frozenset({Fate.READY, Fate.RECOVERED, Fate.REPROCESSED, Fate.REPROCESSING})

# In percent; what is left to 100 is READY.
_SHARES: Final = {
    Fate.RECOVERED: 4,
    Fate.REPROCESSED: 6,
    Fate.REPROCESSING: 3,
    Fate.MISSING: 2,
    Fate.UNFINISHED: 2,
    Fate.PENDING: 2,
    Fate.FAILED: 3,
    Fate.FAILED_LATER: 2,
    Fate.REQUEUED: 2,
}
_OTHER_RUNS: Final = {
    Fate.RECOVERED: "half-written",
    Fate.REPROCESSED: "superseded",
    Fate.REPROCESSING: "half-written",
    Fate.UNFINISHED: "half-written",
    Fate.FAILED: "rejected",
    Fate.FAILED_LATER: "rejected",
    Fate.REQUEUED: "requeued",
}

_FATES: Final = (*_SHARES, Fate.READY)
_WEIGHTS: Final = (*_SHARES.values(), 100 - sum(_SHARES.values()))


@dataclass(frozen=True, slots=True)
class WorldSpec:
    """What to make: `customers` x `queries` x `days` partitions, the newest of `last_day`.

    `records` is the usual number of records of a payload (about 150 bytes each). `large_bytes` is the size of the
    few large payloads, 0 for none. `uneven=False` makes every partition ready with one run, for benchmarks.
    """

    customers: int = 5
    queries: int = 4
    days: int = 90
    seed: int = 7
    records: int = 60
    large_bytes: int = 4_000_000
    uneven: bool = True
    last_day: date = date(2024, 6, 30)


@dataclass(frozen=True, slots=True)
class World:
    """A written world: where it is, and what must be visible through a mount of it.

    `ready` maps every ready partition to its run id; `fates` counts what happened to the partitions.
    """

    directory: Path
    state_file: Path
    raw_root: Path
    spec: WorldSpec
    ready: dict[LogicalPartition, str] = field(default_factory=dict)
    fates: Counter[Fate] = field(default_factory=Counter)

    @property
    def settled(self) -> tuple[LogicalPartition, ...]:
        """The newest ready partitions of the first series, newest first; each has one run."""
        source, query_name = _queries(self.spec)[0]
        customer_id = _customers(self.spec)[0]
        days = [self.spec.last_day - timedelta(days=back) for back in range(min(SETTLED_DAYS, self.spec.days))]
        return tuple(LogicalPartition(source, customer_id, query_name, day.isoformat()) for day in days)

    @property
    def other_runs(self) -> tuple[str, ...]:
        """The kinds of run that the raw store holds besides those of ready partitions, sorted."""
        return tuple(sorted({kind for fate, kind in _OTHER_RUNS.items() if self.fates[fate]}))

    def producer(self) -> Producer:
        """Return a producer that goes on writing this world."""
        return Producer(self.state_file, self.raw_root)


def make_world(directory: Path, spec: WorldSpec | None = None) -> World:
    """Write a world into `directory` (`state.db` and `raw/`), which is made if it is missing.

    A directory that holds an earlier sample world is emptied of it first. Raises `UsageError` if the directory holds
    anything else, is no directory, or cannot be made or written to, or if the spec asks for less than one partition.
    """
    spec = spec or WorldSpec()
    for name in ("customers", "queries", "days"):
        if getattr(spec, name) < 1:
            raise UsageError(
                f"a sample world with {getattr(spec, name)} {name} is empty", f"ask for at least 1 of the {name}"
            )
    world = World(directory, directory / "state.db", directory / "raw", spec)
    try:
        _claim(world)
        with world.producer() as producer:
            _write(world, producer)
    except (OSError, sqlite3.OperationalError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise UsageError(
            f"no sample world can be written to {escape_text(str(directory))} ({reason})",
            "name a directory that can be made and written to",
        ) from error
    return world


def render_records(partition: LogicalPartition, count: int, seed: int) -> bytes:
    """Return a payload of `count` records, one JSON object a line, of about 150 bytes each."""
    random = Random(f"{seed}/{'/'.join(partition)}")
    head = b'{"logical_date":"%b","customer_id":"%b","campaign_id":' % (
        partition.logical_date.encode(),
        partition.customer_id.encode(),
    )
    line = b'%b%d,"device":"%b","impressions":%d,"clicks":%d,"cost_micros":%d}\n'
    clicks = random.randrange(400)
    lines = []
    for number in range(count):
        clicks = (clicks * 31 + number * 7 + 11) % 421
        impressions = clicks * 17 + number % 13
        lines.append(
            line % (head, 4_100_000 + number // 3, _DEVICES[number % 3], impressions, clicks, clicks * 310_000)
        )
    return b"".join(lines)


class _Task(NamedTuple):
    """One partition to write: its fate, its payload's length in records, and when its first run began."""

    partition: LogicalPartition
    fate: Fate
    records: int
    begun: datetime


def _claim(world: World) -> None:
    shown = escape_text(str(world.directory))
    if world.directory.exists() and not world.directory.is_dir():
        raise UsageError(f"{shown} is not a directory", "name a new or an empty directory")
    world.directory.mkdir(parents=True, exist_ok=True)
    marker = world.directory / _MARKER_NAME
    if marker.exists():
        world.state_file.unlink(missing_ok=True)
        shutil.rmtree(world.raw_root, ignore_errors=True)
    elif any(world.directory.iterdir()):
        raise UsageError(f"{shown} is not empty and holds no sample world", "name a new or an empty directory")
    marker.write_bytes(orjson.dumps(asdict(world.spec), option=orjson.OPT_APPEND_NEWLINE))


def _write(world: World, producer: Producer) -> None:
    for task in _plan(world):
        run_id = _write_partition(world, producer, task)
        world.fates[task.fate] += 1
        if task.fate in _READY_FATES:
            world.ready[task.partition] = run_id


def _plan(world: World) -> Iterator[_Task]:
    spec = world.spec
    random = Random(spec.seed)
    settled = frozenset(world.settled)
    before_settled = spec.last_day - timedelta(days=SETTLED_DAYS)
    reworked = world.settled[0]._replace(logical_date=before_settled.isoformat())
    large_records = spec.large_bytes // 150
    for back in reversed(range(spec.days)):
        day = spec.last_day - timedelta(days=back)
        # One pipeline attempt a night writes all partitions of the day, so they share its run id.
        begun = datetime.combine(day, time(4, 5, 6, random.randrange(1000) * 1000), UTC) + timedelta(days=1)
        for source, query_name in _queries(spec):
            for customer_id in _customers(spec):
                partition = LogicalPartition(source, customer_id, query_name, day.isoformat())
                dice = random.random()
                fate = random.choices(_FATES, _WEIGHTS)[0] if spec.uneven else Fate.READY
                records = round(spec.records * random.uniform(0.3, 1.7))
                if spec.uneven and dice < 0.01:
                    records = 0
                elif spec.uneven and dice > 0.995:
                    records = large_records
                if partition in settled:
                    fate, records = Fate.READY, spec.records
                elif spec.uneven and partition == reworked:
                    fate = Fate.REPROCESSED
                yield _Task(partition, fate, records, begun)


def _write_partition(world: World, producer: Producer, task: _Task) -> str:
    """Let one partition meet its fate; return the run id that its row names at the end, empty if none."""
    partition, fate, records, first = task
    second, third = first + timedelta(hours=5, milliseconds=41), first + timedelta(days=2, milliseconds=87)
    seed = world.spec.seed

    def succeed(begun: datetime, count: int) -> str:
        run_id = render_run_id(begun)
        payload = render_records(partition, count, seed)
        producer.write_and_publish(partition, run_id, payload, at=begun + timedelta(minutes=55, microseconds=count))
        return run_id

    def reject(begun: datetime) -> None:
        run_id = render_run_id(begun)
        producer.write_run(partition, run_id, render_records(partition, records // 2, seed), extracted_at=begun)
        producer.fail(partition, f"record count {records // 2} is below the expected {records}", at=begun)

    def break_off(begun: datetime) -> None:
        payload = render_records(partition, records, seed)
        producer.begin_run(partition, render_run_id(begun), payload[: len(payload) * 2 // 3])

    match fate:
        case Fate.READY:
            return succeed(first, records)
        case Fate.RECOVERED:
            break_off(first)
            return succeed(second, records)
        case Fate.REPROCESSED:
            succeed(first, records)
            return succeed(third, records + 2)
        case Fate.REPROCESSING:
            run_id = succeed(first, records)
            break_off(third)
            return run_id
        case Fate.MISSING:
            return ""
        case Fate.UNFINISHED:
            break_off(first)
            return ""
        case Fate.PENDING:
            producer.expect(partition, at=first)
            return ""
        case Fate.FAILED:
            reject(first)
            return ""
        case Fate.FAILED_LATER:
            run_id = succeed(first, records)
            reject(third)
            return run_id
        case Fate.REQUEUED:
            run_id = succeed(first, records)
            producer.requeue(partition)
            return run_id


def render_run_id(begun: datetime) -> str:
    """Return the usual form of a run id: the attempt's UTC time with milliseconds, `2024-06-02T04:05:06.789Z`."""
    return begun.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _queries(spec: WorldSpec) -> list[tuple[str, str]]:
    names = []
    for number in range(spec.queries):
        source, name = _QUERIES[number % len(_QUERIES)]
        turn = number // len(_QUERIES)
        names.append((source, f"{name}_{turn + 1}" if turn else name))
    return names


def _customers(spec: WorldSpec) -> list[str]:
    """Return ids of ten digits, many with leading zeros, all different."""
    return [f"{(12_345_678 + number * 123_456_787) % 10_000_000_000:010d}" for number in range(spec.customers)]
