"""A fuzzer that runs beside the tests: begun by an early test, asked for by the last one, fed with idle time alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.mount.daemon import wait_until
from tests.native.fuzz import sanitized
from tests.native.fuzz.target import COUNTS

SECONDS: Final = 30
"""Of processor time, if the tests leave so much idle."""
LEAST_STEPS: Final = 1_000
"""Are done in any case: all that there is to fuzz once."""
PATIENCE_S: Final = 90.0

ENDED: Final = "ended"
PROCESS: Final = "process"
STOP: Final = "stop"
_IN_THE_BACKGROUND: Final = 'd=$1; shift; { "$@"; echo $? >"$d/code"; mv "$d/code" "$d/ended"; } >"$d/output" 2>&1 &'
_IN_IDLE_TIME: Final = 'echo $$ >"$0/pid"; mv "$0/pid" "$0/process"; exec chrt --idle 0 "$@"'


class BesideTests:
    """One fuzzer for all processes of one run, which `run_id` names; any of them may call any of this."""

    def __init__(self, run_id: str) -> None:
        own = Path(tempfile.gettempdir())
        is_one_of_several = "PYTEST_XDIST_WORKER" in os.environ
        self._watched = os.getppid() if is_one_of_several else os.getpid()
        self._directory = (own.parent if is_one_of_several else own) / f"readyfs-fuzz-{run_id}"

    def begin(self) -> None:
        """Have the module built and fuzzed, unless that was done."""
        try:
            self._directory.mkdir()
        except FileExistsError:
            return
        command = (
            *(sys.executable, "-m", "tests.native.fuzz", "--seconds", str(SECONDS)),
            *("--directory", self._directory, "--stop", self._directory / STOP, "--while", str(self._watched)),
        )
        in_idle_time = ("sh", "-c", _IN_IDLE_TIME, self._directory)
        # It is nobody's child, and how it ended is a file: who asks for that may be another process than this one.
        subprocess.run(
            ["sh", "-c", _IN_THE_BACKGROUND, "sh", self._directory, *in_idle_time, *command],
            cwd=sanitized.PROJECT, env={**sanitized.paths(), "TMPDIR": str(self._directory)},
            stdin=subprocess.DEVNULL, timeout=30, check=True,
        )  # fmt: skip

    def finish(self) -> str:
        """Let it do its least, end it, and return how it ended: an exit code, a line, and what it wrote."""
        ended, process = self._directory / ENDED, self._directory / PROCESS
        wait_until(process.exists, "the fuzzer is started", PATIENCE_S)
        # It has time as others do, now that somebody waits for it.
        for one in _family(process.read_text()):
            with suppress(ProcessLookupError):
                os.sched_setscheduler(one, os.SCHED_OTHER, os.sched_param(0))
        wait_until(lambda: ended.exists() or self._steps() >= LEAST_STEPS, "the fuzzer did its least", PATIENCE_S)
        (self._directory / STOP).touch()
        wait_until(ended.exists, "the fuzzer ends", PATIENCE_S)
        found = ended.read_text() + (self._directory / "output").read_text("utf-8", "replace")
        shutil.rmtree(self._directory)
        return found

    def _steps(self) -> int:
        try:
            return sum(json.loads((self._directory / COUNTS).read_text()).values())
        except (FileNotFoundError, json.JSONDecodeError):
            return 0


def _family(process: str) -> Iterator[int]:
    """Yield a process and all that it started."""
    yield int(process)
    with suppress(FileNotFoundError, ProcessLookupError):
        for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
            yield from _family(child)
