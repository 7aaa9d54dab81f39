"""The processes that do the measured work: a new one each time, but one Spark for all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from benchmarks.contenders import Mounted
from benchmarks.daemons import BenchmarkError
from benchmarks.sites import SPARK_DATES, SPARK_QUERY
from benchmarks.work.timing import Timing
from benchmarks.work.view import View
from benchmarks.works import Work

PATIENCE_PER_WORK_S: Final = 600.0
_LAST_WORDS_S: Final = 10.0
WARM_UP: Final = 8


@dataclass(slots=True)
class Workers:
    """Does work in processes; `close` ends those that are left."""

    _spark: subprocess.Popen[bytes] | None = None

    def run(self, work: Work, mounted: Mounted) -> Timing:
        """Do the work once; raises `BenchmarkError` if it fails."""
        if work.key == "spark":
            return self._count_by_spark(mounted.view)
        return _run(work.kind, mounted)

    def prepare(self, work: Work, mounted: Mounted) -> None:
        """Do what comes before a work; raises as `run` does."""
        _run(work.before, mounted)

    def close(self) -> None:
        """End Spark, which ends by itself at the end of its input."""
        if self._spark is None:
            return
        assert self._spark.stdin is not None
        try:
            self._spark.stdin.close()
            self._spark.wait(_LAST_WORDS_S)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            pass
        finally:
            end_group(self._spark)
            self._spark = None

    def _count_by_spark(self, view: View) -> Timing:
        if self._spark is None:
            self._spark = start_work(None, "spark", errors=subprocess.DEVNULL)
            # What the virtual machine compiles at first would otherwise be the first contender's.
            for _ in range(WARM_UP):
                self._ask_spark(view)
        return self._ask_spark(view)

    def _ask_spark(self, view: View) -> Timing:
        assert self._spark is not None and self._spark.stdin is not None and self._spark.stdout is not None
        try:
            self._spark.stdin.write(view.payloads(SPARK_QUERY, SPARK_DATES).encode() + b"\n")
            self._spark.stdin.flush()
        except BrokenPipeError:
            raise BenchmarkError("Spark ended without an answer") from None
        answer = self._spark.stdout.readline()
        if not answer:
            raise BenchmarkError("Spark ended without an answer")
        return Timing(**orjson.loads(answer))


def _run(kind: str, mounted: Mounted) -> Timing:
    process = start_work(mounted, kind, mounted.view.as_argument())
    try:
        output, errors = process.communicate(timeout=PATIENCE_PER_WORK_S)
    except BaseException:
        end_group(process)
        raise
    if process.returncode:
        last = errors.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise BenchmarkError(" ".join(last) or f"exit code {process.returncode}")
    return Timing(**orjson.loads(output))


def start_work(mounted: Mounted | None, *words: str, errors: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
    """Start a process of `benchmarks.work`, as the user who may look at the mount, in a process group of its own."""
    as_user = mounted.as_user if mounted else ()
    paths = [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [*as_user, sys.executable, "-m", "benchmarks.work", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)},
        start_new_session=True,
    )


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()
