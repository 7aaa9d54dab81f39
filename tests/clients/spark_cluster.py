"""A standalone cluster of Spark: a master in the test's namespace, and a worker on each of a few machines."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pyspark

from tests.clients.machines import Machine
from tests.clients.spark_session import QUICK_JAVA
from tests.mount.daemon import wait_until

HOST: Final = "127.0.0.1"
PATIENCE_S: Final = 90.0
"""Java machines start one after the other on a busy machine."""
_HOME: Final = Path(pyspark.__file__).parent
_DEPLOY: Final = "org.apache.spark.deploy"
_MEMORY: Final = "512m"
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
    "spark.sql.sources.parallelPartitionDiscovery.threshold": "1",
}
"""What a session on this cluster is told."""


@contextmanager
def spark_cluster(base: Path, machines: Sequence[Machine]) -> Iterator[str]:
    """Run master and workers; give the master's address once all workers have said that they are there."""
    with ExitStack() as programs:
        log = base / "master.log"
        master = ("--host", HOST, "--port", "0", "--webui-port", "0")
        programs.enter_context(_running(log, base / "scratch", f"{_DEPLOY}.master.Master", *master))
        address = _wait_for_line(log, rf"at (spark://{HOST}:\d+)")
        for one in machines:
            words = ("--host", HOST, "--cores", "1", "--memory", "1g", "--webui-port", "0")
            place = one.place.base
            worker = (f"{_DEPLOY}.worker.Worker", *words, "--work-dir", str(place / "work"), address)
            log_there = place / "worker.log"
            programs.enter_context(_running(log_there, place / "scratch", *worker, wrapper=one.wrapper))
            _wait_for_line(log_there, r"(Successfully registered with master)")
        yield address


@contextmanager
def _running(log: Path, scratch: Path, *words: str, wrapper: Sequence[str] = ()) -> Iterator[None]:
    """Run a class of Spark and all that it starts, executors too, until the end of the body."""
    environment = {
        **os.environ,
        "SPARK_HOME": str(_HOME),
        "SPARK_LOCAL_IP": HOST,
        "SPARK_LOCAL_DIRS": str(scratch),
        "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_DAEMON_JAVA_OPTS": QUICK_JAVA,
    }
    command = [*wrapper, str(_HOME / "bin/spark-class"), *words]
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            finally:
                _kill_group(process.pid)


def _kill_group(group: int) -> None:
    """Kill what is left of a program and of its children."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass  # nothing is


def _wait_for_line(log: Path, pattern: str) -> str:
    """Return what a program has written, once it has."""
    found: list[str] = []

    def is_there() -> bool:
        found[:] = re.findall(pattern, log.read_text("utf-8", "replace"))
        return bool(found)

    wait_until(is_there, f"{pattern} in {log}", PATIENCE_S)
    return found[0]
