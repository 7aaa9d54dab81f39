"""Clients on several machines: a driver plans over its own mount, and executors read from theirs, at the same path.

Each machine is a mount namespace with a daemon of its own; see `fleet`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from tests.clients.dask_cluster import dask_cluster
from tests.clients.fleet import WORKERS, Fleet, fleet_of_three
from tests.clients.large_planners import large_planner
from tests.clients.planners import Planner
from tests.clients.spark_cluster import EXECUTORS, THRESHOLD, spark_cluster
from tests.clients.spark_planners import spark_planners, spark_totals
from tests.clients.spark_session import spark_session
from tests.clients.test_view_recipes import TOTALS, at, blocks_in, total_of
from tests.clients.trees import live, pinned
from tests.clients.verdicts import EXACT, Tree, play
from tests.docs.test_docs import section
from tests.fuse.direct.raw_mounts import on_tmpfs

pytestmark = [pytest.mark.clients, pytest.mark.timeout(900)]

JOBS: Final = 50
FEW: Final = 5
FAILED: Final = "failed"
ADDRESS_OF_DASK: Final = "tcp://head:8786"
"""In the document."""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet_of_three(tmp_path_factory.mktemp("fleet")) as found:
        yield found


@pytest.fixture(scope="module")
def spark(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    base = tmp_path_factory.mktemp("spark")
    with (
        spark_cluster(base, fleet.machines) as address,
        spark_session(address, base, {**EXECUTORS, "spark.cores.max": str(len(fleet.machines))}) as session,
    ):
        yield session


def test_each_executor_sees_a_mount_of_its_own(fleet: Fleet, spark: SparkSession) -> None:
    """At one path: what the other tests rest on."""
    path = str(fleet.mount)

    def look(_: object) -> Iterator[tuple[str, int]]:
        yield os.readlink("/proc/self/ns/mnt"), os.stat(path).st_dev

    places = spark.sparkContext.parallelize(range(len(WORKERS)), len(WORKERS)).barrier().mapPartitions(look).collect()
    expected = {os.readlink(one.namespace) for one in fleet.machines}
    assert {namespace for namespace, _ in places} == expected
    assert len({device for _, device in places} | {os.stat(path).st_dev}) == len(WORKERS) + 1


def play_often(fleet: Fleet, planner: Planner, tree: Tree) -> Counter[str]:
    """Run a job again and again, each time over a tree of that moment; count its ends, all errors as one."""
    outcomes: Counter[str] = Counter()
    for _ in range(JOBS):
        outcome = play(fleet.flips, [planner], tree)[planner.name]
        outcomes[outcome if outcome.startswith((EXACT, "silently")) else FAILED] += 1
    print(planner.name, *(f"{count:3} times {outcome}" for outcome, count in outcomes.most_common()), sep="\n")
    return outcomes


def assert_goes_wrong(outcomes: Counter[str]) -> None:
    """Check that some jobs failed, and some gave wrong rows without an error."""
    assert outcomes[FAILED] > 0
    assert any(outcome.startswith("silently") for outcome in outcomes)


def test_spark_with_a_pin_counts_exactly_what_was_pinned(fleet: Fleet, spark: SparkSession) -> None:
    """V16, V24: every time, whatever the live trees of the machines are by then."""
    before = [one.requests("open") for one in fleet.daemons]
    assert play_often(fleet, spark_totals(spark), pinned) == {EXACT: JOBS}
    # Each executor has read: a way of opening that asks its daemon.
    assert all(one.requests("open") > count for one, count in zip(fleet.daemons, before, strict=True))


def test_every_plan_of_spark_over_a_pin_is_exact(fleet: Fleet, spark: SparkSession) -> None:
    """V16, V24: each record, schema given and inferred, by glob and by directory."""
    planners = [planner for planner in spark_planners(spark) if planner.layout == "plain"]
    for _ in range(FEW):
        assert play(fleet.flips, planners, pinned) == {planner.name: EXACT for planner in planners}


def spark_blocks() -> list[str]:
    """Return the job of docs/scale-out.md, and what has the driver list."""
    return blocks_in("python", section("docs/scale-out.md", "Spark on a cluster"))


def test_recipe_for_spark_finds_one_moment(fleet: Fleet, spark: SparkSession) -> None:
    """V24: as it stands in docs/scale-out.md."""
    block, _ = spark_blocks()
    names: dict[str, object] = {"spark": spark}
    with fleet.flips.going_on():
        for _ in range(FEW):
            exec(at(fleet.flips, block), names)
            assert names["total"] in TOTALS


def test_paths_that_only_the_driver_has_are_an_error_if_the_driver_lists(
    fleet: Fleet, spark: SparkSession, tmp_path: Path
) -> None:
    """What docs/scale-out.md says of it: executors that list leave out what they do not find, and nothing is said."""
    with on_tmpfs(tmp_path / "here"):
        for day in range(3):
            directory = tmp_path / f"here/a/b/{day}"
            directory.mkdir(parents=True)
            (directory / "payload.jsonl").write_bytes(b'{"clicks": 1}\n')
        planners = {planner.name: planner for planner in spark_planners(spark)}
        by_glob, by_directory = planners["Spark"], planners["Spark, directory"]
        assert list(by_glob.plan(tmp_path / "here")()) == []
        with pytest.raises((Py4JJavaError, PySparkException), match="does not exist"):
            by_directory.plan(tmp_path / "here")()
        try:
            exec(spark_blocks()[1], {"spark": spark})
            for planner in (by_glob, by_directory):
                with pytest.raises((Py4JJavaError, PySparkException), match="does not exist"):
                    planner.plan(tmp_path / "here")()
        finally:
            spark.conf.set(THRESHOLD, EXECUTORS[THRESHOLD])


def test_spark_without_a_pin_goes_wrong(fleet: Fleet, spark: SparkSession) -> None:
    """What docs/scale-out.md says of it."""
    assert_goes_wrong(play_often(fleet, spark_planners(spark)[0], live))


@pytest.fixture(scope="module")
def scheduler(fleet: Fleet, large_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with dask_cluster(tmp_path_factory.mktemp("scheduler"), large_python, fleet.machines) as address:
        yield address


@pytest.fixture(scope="module")
def dask(scheduler: str, large_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planner]:
    log = tmp_path_factory.mktemp("dask") / "log"
    with large_planner("dask, distributed", large_python, log, DASK_SCHEDULER_ADDRESS=scheduler) as planner:
        yield planner


def test_dask_with_a_pin_counts_exactly_what_was_pinned(fleet: Fleet, dask: Planner) -> None:
    """V16, V24: blocks are cut by the client, and read by the workers."""
    assert play_often(fleet, dask, pinned) == {EXACT: JOBS}


def test_recipe_for_dask_finds_one_moment(fleet: Fleet, scheduler: str, large_python: Path) -> None:
    """V24: as it stands in docs/scale-out.md."""
    [block] = blocks_in("python", section("docs/scale-out.md", "dask on a cluster"))
    assert ADDRESS_OF_DASK in block
    with fleet.flips.going_on():
        assert total_of(large_python, at(fleet.flips, block).replace(ADDRESS_OF_DASK, scheduler)) in TOTALS


def test_dask_without_a_pin_goes_wrong(fleet: Fleet, dask: Planner) -> None:
    """What docs/scale-out.md says of it."""
    assert_goes_wrong(play_often(fleet, dask, live))
