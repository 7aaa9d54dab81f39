"""Clients on several machines: a driver plans over its own mount, and executors read from theirs, at the same path.

Each machine is a mount namespace with a daemon of its own: another engine, another interval, state and sockets apart. So
their live trees differ most of the time.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from tests.clients.flips import Flips, Row, write_runs
from tests.clients.machines import Machine, machine
from tests.clients.spark_cluster import EXECUTORS, spark_cluster
from tests.clients.spark_planners import SCHEMA
from tests.clients.spark_session import spark_session
from tests.clients.verdicts import FLIPS_BETWEEN
from tests.mount.daemon import Daemon, Place, mounted

pytestmark = [pytest.mark.clients, pytest.mark.timeout(900)]

WORKERS: Final = {"early": ("pyfuse3", "200ms"), "late": ("opened", "700ms")}
"""Engine and interval by machine."""
JOBS: Final = 50

Total = tuple[int, int]
"""How many records, and the sum of their clicks."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """The driver's machine, which is the test's own, and the workers'."""

    flips: Flips
    machines: tuple[Machine, ...]
    daemons: tuple[Daemon, ...]
    """Of the workers."""

    @property
    def mount(self) -> Path:
        """The path at which each machine mounts."""
        return self.flips.mounts["plain"].path


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    base = tmp_path_factory.mktemp("fleet")
    with ExitStack() as stack:
        place = Place(base)
        stack.enter_context(closing(place.producer))
        write_runs(place)
        machines = tuple(stack.enter_context(machine(name, place)) for name in WORKERS)
        daemons = []
        for one in machines:
            engine, interval = WORKERS[one.name]
            words = ("--interval", interval)
            daemons.append(stack.enter_context(mounted(one.place, *words, engine=engine, wrapper=one.wrapper)))
        # The driver's comes last and goes first: workers' daemons leave no mount, and that is looked for here.
        driver = stack.enter_context(mounted(place, engine="passthrough"))
        flips = Flips({"plain": driver})
        flips.flip()
        yield Fleet(flips, machines, tuple(daemons))


@pytest.fixture(scope="module")
def spark(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    base = tmp_path_factory.mktemp("spark")
    with (
        spark_cluster(base, fleet.machines) as address,
        spark_session(address, base, {**EXECUTORS, "spark.cores.max": str(len(fleet.machines))}) as session,
    ):
        yield session


def total_of(rows: list[Row]) -> Total:
    return len(rows), sum(row.clicks for row in rows)


def plan(spark: SparkSession, top: Path) -> Callable[[], Total]:
    """Plan on the driver; what is returned has the executors count and sum."""
    frame = spark.read.schema(SCHEMA).json(f"{top}/*/*/*/payload.jsonl", mode="FAILFAST")
    totals = frame.agg(F.count("*"), F.sum("clicks"))

    def run() -> Total:
        count, clicks = totals.collect()[0]
        return count, clicks or 0

    return run


def test_each_executor_sees_a_mount_of_its_own(fleet: Fleet, spark: SparkSession) -> None:
    """At one path: what the other tests rest on."""
    path = str(fleet.mount)

    def look(_: object) -> Iterator[tuple[str, int]]:
        yield os.readlink("/proc/self/ns/mnt"), os.stat(path).st_dev

    places = spark.sparkContext.parallelize(range(len(WORKERS)), len(WORKERS)).barrier().mapPartitions(look).collect()
    expected = {os.readlink(f"/proc/{one.pid}/ns/mnt") for one in fleet.machines}
    assert {namespace for namespace, _ in places} == expected
    assert len({device for _, device in places} | {os.stat(path).st_dev}) == len(WORKERS) + 1


def test_jobs_without_a_pin_go_wrong(fleet: Fleet, spark: SparkSession) -> None:
    """What docs/scale-out.md says of it: most fail, and some give wrong sums without an error."""
    outcomes: Counter[str] = Counter()
    with fleet.flips.going_on():
        for _ in range(JOBS):
            try:
                with fleet.flips.held() as rows:
                    run = plan(spark, fleet.mount)
                fleet.flips.wait_for(FLIPS_BETWEEN)
                found = run()
            except PySparkException as error:
                outcomes[f"{type(error).__name__} {str(error)[:200]}"] += 1
            else:
                outcomes["exact" if found == total_of(rows) else f"wrong {found} {total_of(rows)}"] += 1
    print(*outcomes.items(), sep="\n")
    assert outcomes["exact"] < JOBS
