"""Spark in two halves: a data frame is planned when it is made, and reads the same paths when it is collected."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from tests.clients.flips import Row
from tests.clients.manifest_planners import listed
from tests.clients.planners import CLICKS, Found, Planner

SCHEMA: Final = "clicks LONG, text STRING"
_PAYLOADS: Final = {"pathGlobFilter": "payload.jsonl"}


def spark_planners(spark: SparkSession) -> tuple[Planner, ...]:
    """Return Spark's ways of one session; by glob, in Hive layout, and by manifest come first."""

    def frame(make: Callable[[str], DataFrame], columns: tuple[str, ...]) -> Callable[[Path], Callable[[], Found]]:
        return lambda top: make(str(top)).select(*columns).collect

    def json(top: str | list[str], *, schema: str = "", **options: str) -> DataFrame:
        reader = spark.read.options(mode="FAILFAST", **options)
        return (reader.schema(schema) if schema else reader).json(top)

    def plain(name: str, make: Callable[[str], DataFrame]) -> Planner:
        return Planner(name, frame(make, CLICKS))

    def hive(name: str, make: Callable[[str], DataFrame]) -> Planner:
        return Planner(name, frame(make, Row._fields), Row._fields, "hive")

    return (
        plain("Spark", lambda top: json(f"{top}/*/*/*/payload.jsonl", schema=SCHEMA)),
        plain("Spark, schema inferred", lambda top: json(f"{top}/*/*/*/payload.jsonl")),
        hive("Spark, Hive", lambda top: json(top, schema=SCHEMA, **_PAYLOADS)),
        hive("Spark, Hive, schema inferred", lambda top: json(top, **_PAYLOADS)),
        plain("Spark, manifest", lambda top: json(listed(Path(top)), schema=SCHEMA)),
        plain("Spark, directory", lambda top: json(top, schema=SCHEMA, recursiveFileLookup="true", **_PAYLOADS)),
        hive("Spark, Hive, Parquet", lambda top: spark.read.option("pathGlobFilter", "*.parquet").parquet(top)),
    )


@dataclass(frozen=True, slots=True)
class TotalsPlanner(Planner):
    """Finds how many records there are, and the sum of their clicks."""

    def choose(self, rows: Iterable[Row]) -> list[tuple[object, ...]]:
        """Return what it should find of these records."""
        clicks = [row.clicks for row in rows]
        return [(len(clicks), sum(clicks))]


def spark_totals(spark: SparkSession) -> Planner:
    """Return a job whose tasks count and sum, each over a few files, and which adds up what they found."""

    def plan(top: Path) -> Callable[[], Found]:
        frame = spark.read.schema(SCHEMA).json(f"{top}/*/*/*/payload.jsonl", mode="FAILFAST")
        return frame.agg(F.count("*"), F.sum("clicks")).collect

    return TotalsPlanner("Spark, count and sum", plan)
