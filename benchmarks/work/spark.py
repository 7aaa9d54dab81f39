"""Spark: one session that counts what it is told to, because starting one takes longer than any count.

`python -m benchmarks.work spark` reads a glob a line and answers with a line of JSON each.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import Any

import orjson

from benchmarks.work.timing import cpu_s_of, timed


def serve() -> None:
    """Answer globs with seconds and records until the input ends."""
    # Otherwise it looks its own host name up, which not every machine can.
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    from pyspark.sql import SparkSession

    builder: Any = SparkSession.builder
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.log.level": "ERROR",
    }
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.master("local[*]").appName("readyfs-bench").getOrCreate()
    # The virtual machine does the work: the script that starts it becomes it.
    machine = session.sparkContext._gateway.proc.pid
    try:
        for line in sys.stdin:
            timing = timed(partial(_count, session, line.rstrip("\n")), partial(cpu_s_of, machine))
            sys.stdout.write(orjson.dumps(timing).decode() + "\n")
            sys.stdout.flush()
    finally:
        session.stop()


def _count(session: Any, files: str) -> int:
    schema = "customer_id STRING, clicks BIGINT, cost_micros BIGINT"
    return int(session.read.schema(schema).option("mode", "FAILFAST").json(files).count())
