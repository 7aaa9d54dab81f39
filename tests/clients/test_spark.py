"""Spark over the mount: the rows of the ready runs, a new job sees a new run, and a broken one fails the job.

Spark lists, stats and checks access much, and opens from several threads of a Java machine: another kind of reader than
the rest. It needs Java 17.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from readyfs.demo.producer import PAYLOAD_NAME
from readyfs.demo.world import WorldSpec
from tests.clients.conftest import HIVE_LAYOUT, Mounted, Truth, mount_world, truth_of
from tests.clients.flips import flipping
from tests.clients.hostile_ids import IDS, OF_HIVE, TRUTH, fill
from tests.clients.spark_planners import spark_planners
from tests.clients.spark_session import spark_session
from tests.clients.test_view_recipes import MANIFESTS, TOTALS, at, blocks
from tests.clients.trees import pinned
from tests.clients.verdicts import EXACT, play
from tests.mount.daemon import ENGINES, Place, mounted, partition

pytestmark = pytest.mark.timeout(300)
"""Whoever comes first starts Spark, which takes long beside other tests."""

SPEC = WorldSpec(customers=3, queries=2, days=8, records=20, large_bytes=400_000)
SCHEMA = "campaign_id STRING, clicks LONG"


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """One session for all tests; its Java machine ends with it."""
    with spark_session("local[2]", tmp_path_factory.mktemp("spark")) as session:
        yield session


FEWER_WAYS = ["opened", "passthrough"]
"""Bytes from the daemon and from the kernel. What a way of reading promises is shown to hold in `tests/mount`."""


@pytest.fixture(params=[one if one in FEWER_WAYS else pytest.param(one, marks=pytest.mark.clients) for one in ENGINES])
def engine(request: pytest.FixtureRequest) -> str:
    """Not the session's, by which tests are sorted over all files: then Spark would start once for each engine."""
    return str(request.param)


@pytest.fixture
def world(tmp_path: Path, engine: str) -> Iterator[Mounted]:
    """A world of its own for one test, because tests change it."""
    yield from mount_world(tmp_path, SPEC, engine)


def by_glob(spark: SparkSession, path: Path, **options: str) -> DataFrame:
    options["mode"] = "FAILFAST"
    return spark.read.schema(SCHEMA).options(**options).json(f"{path}/*/*/*/payload.jsonl")


def by_directory(spark: SparkSession, path: Path) -> DataFrame:
    options = {"mode": "FAILFAST", "pathGlobFilter": "payload.jsonl", "recursiveFileLookup": "true"}
    return spark.read.schema(SCHEMA).options(**options).json(str(path))


WAYS = [by_glob, by_directory]


def clicks_by_file(records: DataFrame) -> dict[str, tuple[int, int]]:
    """Return rows and clicks by partition, computed by Spark."""
    partition = F.regexp_extract(F.input_file_name(), r"([^/]+/[^/]+/[^/]+)/payload\.jsonl$", 1)
    rows = records.groupBy(partition.alias("at")).agg(F.count("*"), F.sum("clicks")).collect()
    return {row[0]: (row[1], row[2]) for row in rows}


def true_clicks(truth: Truth) -> dict[str, tuple[int, int]]:
    """Return rows and clicks by partition, from what the producer wrote; Spark has no row for an empty file."""
    found = {}
    for path, data in truth.files.items():
        if path.endswith(PAYLOAD_NAME) and data:
            clicks = [json.loads(line)["clicks"] for line in data.splitlines()]
            found[path.rpartition("/")[0]] = len(clicks), sum(clicks)
    return found


def test_rows_and_sums_are_those_of_the_ready_runs(spark: SparkSession, world: Mounted) -> None:
    """V1, V2: by partition, and all in all."""
    for read in WAYS:
        assert clicks_by_file(read(spark, world.path)) == true_clicks(world.truth)
        assert read(spark, world.path).count() == world.truth.records


def test_hive_layout_gives_partition_columns(spark: SparkSession, tmp_path: Path, engine: str) -> None:
    """V12: the columns come from the path, as text, and a filter on them prunes."""
    for hive in mount_world(tmp_path, SPEC, engine, "--layout", HIVE_LAYOUT, template=HIVE_LAYOUT):
        records = spark.read.schema(SCHEMA).option("pathGlobFilter", "payload.jsonl").json(str(hive.path))
        rows = records.groupBy("customer_id", "query_name", "logical_date").count().collect()
        wanted: Counter[tuple[str, ...]] = Counter()
        for path, data in hive.truth.files.items():
            if path.endswith(PAYLOAD_NAME) and data:
                wanted[tuple(part.partition("=")[2] for part in path.split("/")[:3])] = data.count(b"\n")
        assert {tuple(map(str, row[:3])): row[3] for row in rows} == wanted
        one = hive.world.settled[0]
        chosen = records.where((F.col("customer_id") == one.customer_id) & (F.col("logical_date") == one.logical_date))
        in_both = [count for (customer, _, date), count in wanted.items() if (customer, date) == (one[1], one[3])]
        assert chosen.count() == sum(in_both)


def test_next_job_sees_the_switched_run(spark: SparkSession, world: Mounted) -> None:
    """V3: longer, shorter and retracted, between two jobs of one session."""
    assert by_glob(spark, world.path).count() == by_directory(spark, world.path).count() == world.truth.records
    longer, shorter, gone, *_ = sorted(world.world.ready)
    producer = world.daemon.place.producer
    for one, count in ((longer, 500), (shorter, 1)):
        line = b'{"campaign_id":"new","clicks":3}\n'
        producer.write_and_publish(one, "later", line * count)
        world.world.ready[one] = "later"
    producer.fail(gone)
    del world.world.ready[gone]
    world.daemon.refresh()
    truth = true_clicks(truth_of(world.world))
    assert (truth[longer.path], truth[shorter.path], gone.path in truth) == ((500, 1500), (1, 3), False)
    for read in WAYS:
        assert clicks_by_file(read(spark, world.path)) == truth


def test_broken_run_fails_the_job(spark: SparkSession, world: Mounted) -> None:
    """V10: never fewer rows without an error, also where all was seen before; whole again when the run is."""
    if not world.daemon.traits.kernel_opens:  # which would go on to serve what it has read
        assert by_glob(spark, world.path).count() == world.truth.records
    victim = sorted(world.world.ready)[2]
    directory = world.daemon.place.producer.run_directory(victim, world.world.ready[victim])
    directory.rename(directory.with_name("lost"))
    for read in WAYS:
        with pytest.raises((Py4JJavaError, PySparkException), match="Input/output error"):
            read(spark, world.path).count()
    # Java calls every failed open "not found", so that this drops what is ready: docs/clients.md says not to set it.
    careless = by_glob(spark, world.path, ignoreMissingFiles="true")
    if world.daemon.traits.kernel_opens:
        with pytest.raises((Py4JJavaError, PySparkException), match="Input/output error"):
            careless.count()
    else:
        lost = world.truth.files[f"{victim.path}/{PAYLOAD_NAME}"].count(b"\n")
        assert careless.count() == world.truth.records - lost < world.truth.records
    directory.with_name("lost").rename(directory)
    assert by_directory(spark, world.path).count() == world.truth.records


@pytest.mark.parametrize("engine", ["pyfuse3", "passthrough"], indirect=True)
def test_plan_over_a_pinned_view_reads_exactly_what_was_pinned(
    spark: SparkSession, tmp_path: Path, engine: str
) -> None:
    """V16: by path, partition column and list, schema given and inferred; on all ways of reading below."""
    planners = spark_planners(spark)[:5]
    with flipping(tmp_path, engine) as flips:
        assert play(flips, planners, pinned) == {planner.name: EXACT for planner in planners}


@pytest.mark.clients
def test_plans_over_pinned_views_are_exact_every_time(spark: SparkSession, tmp_path: Path, engine: str) -> None:
    """V16: and as a directory, and of Parquet files."""
    planners = spark_planners(spark)
    with flipping(tmp_path, engine) as flips:
        for _ in range(5):
            assert play(flips, planners, pinned) == {planner.name: EXACT for planner in planners}


@pytest.mark.clients
def test_recipes_over_a_view_find_one_moment(spark: SparkSession, tmp_path: Path) -> None:
    with flipping(tmp_path, "passthrough") as flips, flips.going_on():
        for block in (*blocks("python", "Spark"), *blocks("python", "Spark", MANIFESTS)):
            names: dict[str, object] = {"spark": spark}
            exec(at(flips, block), names)
            assert names["total"] in TOTALS


@pytest.mark.clients
def test_stream_reads_a_partition_once_and_by_its_time(spark: SparkSession, tmp_path: Path, engine: str) -> None:
    """What docs/clients.md says of streams: they know paths and times, and neither is a run."""
    place, out = Place(tmp_path), str(tmp_path / "out")
    late, stays, switches = (partition(date=f"2024-06-0{day}") for day in (1, 2, 3))

    def take(**options: str) -> int:
        """Return how many rows the stream takes up."""
        before = spark.read.schema(SCHEMA).json(out).count() if Path(out).exists() else 0
        source = spark.readStream.schema(SCHEMA).options(**options).json(f"{place.mountpoint}/*/*/*/payload.jsonl")
        writer = source.writeStream.format("json").option("checkpointLocation", str(tmp_path / "checkpoint"))
        writer.trigger(availableNow=True).start(out).awaitTermination()
        return spark.read.schema(SCHEMA).json(out).count() - before

    line = b'{"campaign_id":"new","clicks":3}\n'
    with closing(place.producer), mounted(place, engine=engine) as daemon:
        place.producer.write_and_publish(stays, "r1", line * 10)
        run = place.producer.write_and_publish(switches, "r1", line * 20)
        daemon.refresh()
        if daemon.traits.kernel_opens:
            assert take() == 30
        else:
            run.directory.rename(run.directory.with_name("lost"))
            assert take(ignoreMissingFiles="true") == 10
            run.directory.with_name("lost").rename(run.directory)
            assert daemon.of(switches).read_bytes() == line * 20
            assert take() == 0  # healed, and not read again
        place.producer.write_and_publish(switches, "r2", line * 40)
        run = place.producer.write_and_publish(late, "r1", line * 80)
        os.utime(run.directory / PAYLOAD_NAME, (1.6e9, 1.6e9))
        daemon.refresh()
        assert daemon.of(late).read_bytes() == line * 80
        assert take() == 0


def test_every_id_comes_back_from_a_hive_layout(spark: SparkSession, tmp_path: Path) -> None:
    """V12: whatever it is made of; Hive's word for NULL alone is read as that."""
    place = Place(tmp_path)
    with closing(place.producer):
        fill(place)
        with mounted(place, *OF_HIVE, engine="passthrough") as daemon:
            options = {"mode": "FAILFAST", "pathGlobFilter": "payload.jsonl"}
            records = spark.read.schema("number LONG").options(**options).json(str(daemon.path))
            assert {row.number: row.customer_id for row in records.collect()} == TRUTH
            chosen = records.where(F.col("customer_id").isin("0012", "a=b", "x\ny")).collect()
            assert sorted(row.number for row in chosen) == sorted(map(IDS.index, ("0012", "a=b", "x\ny")))
