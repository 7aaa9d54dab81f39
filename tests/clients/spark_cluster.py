"""A standalone cluster of Spark: a master in the test's namespace, and a worker on each of a few machines."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pyspark

from tests.clients.background import in_background, wait_for_line
from tests.clients.machines import Machine
from tests.clients.spark_session import QUICK_JAVA

HOST: Final = "127.0.0.1"
_HOME: Final = Path(pyspark.__file__).parent
_PROGRAM: Final = str(_HOME / "bin/spark-class")
_DEPLOY: Final = "org.apache.spark.deploy"
_MEMORY: Final = "512m"
THRESHOLD: Final = "spark.sql.sources.parallelPartitionDiscovery.threshold"
EXECUTORS: Final[Mapping[str, str]] = {
    "spark.executor.cores": "1",
    "spark.executor.memory": _MEMORY,
    "spark.executor.extraJavaOptions": QUICK_JAVA,
    "spark.pyspark.python": sys.executable,
    # A job begins once each worker has its executor, so that both take part.
    "spark.scheduler.minRegisteredResourcesRatio": "1.0",
    "spark.scheduler.maxRegisteredResourcesWaitingTime": "90s",
    "spark.locality.wait": "0s",
    # Many small tasks, so that each executor gets some.
    "spark.sql.files.minPartitionNum": "6",
    # No task is tried again: an error that would heal by that is to be seen.
    "spark.task.maxFailures": "1",
    # Paths are listed by the executors, each on its own mount, as Spark does of itself with more than 32 of them.
    THRESHOLD: "1",
}
"""What a session on this cluster is told."""


@contextmanager
def spark_cluster(base: Path, machines: Sequence[Machine]) -> Iterator[str]:
    """Run master and workers; give the master's address once all workers have said that they are there."""
    with ExitStack() as programs:
        log = base / "master.log"
        master = (_PROGRAM, f"{_DEPLOY}.master.Master", "--host", HOST, "--port", "0", "--webui-port", "0")
        programs.enter_context(in_background(log, master, _variables(base)))
        address = wait_for_line(log, rf"at (spark://{HOST}:\d+)")
        for one in machines:
            place = one.place.base
            words = ("--host", HOST, "--cores", "1", "--memory", "1g", "--webui-port", "0")
            worker = (_PROGRAM, f"{_DEPLOY}.worker.Worker", *words, "--work-dir", str(place / "work"), address)
            log = place / "worker.log"
            programs.enter_context(in_background(log, (*one.wrapper, *worker), _variables(place)))
            wait_for_line(log, "(Successfully registered with master)")
        yield address


def _variables(place: Path) -> dict[str, str]:
    """Return the environment of a program of Spark, which may write below a place."""
    return {
        "SPARK_HOME": str(_HOME),
        "SPARK_LOCAL_IP": HOST,
        "SPARK_LOCAL_DIRS": str(place / "scratch"),
        "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_DAEMON_JAVA_OPTS": QUICK_JAVA,
    }
