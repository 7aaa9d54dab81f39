"""Running a command to its end, or to its first byte, and what that took of the processor.

A server works for a command too. What its processes took is known once they have ended: to their parent, by proc(5).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.daemons import BenchmarkError

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_SETTLED_S = 5.0
_METER = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(code, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
"""


class Cost(NamedTuple):
    """Seconds of the processor, of the command and of a server for it; seconds until the end; most memory in bytes."""

    cpu_s: float
    wall_s: float
    memory: int


def run_whole(command: Sequence[str], server: int | None, codes: Sequence[int] = (0,)) -> Cost:
    """Run a command with its output to nowhere; `server` is the process whose children work for it."""
    before_s, children = (0.0, frozenset[str]()) if server is None else (_children_s(server), _children(server))
    began_s = time.perf_counter()
    # A process counts as much memory as the one that it was made from, so a small one stands between.
    meter = [sys.executable, "-S", "-c", _METER, *command]
    done = subprocess.run(meter, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True)
    wall_s = time.perf_counter() - began_s
    code, cpu_s, memory = (float(word) for word in done.stdout.split())
    if code not in codes:
        raise BenchmarkError(f"exit code {code:.0f} of {' '.join(command)}")
    if server is not None:
        _wait_for_children(server, children)
        cpu_s += _children_s(server) - before_s
    return Cost(cpu_s, wall_s, int(memory) * 1024)


def run_to_first_byte(command: Sequence[str]) -> float:
    """Return the seconds until a command writes its first byte, and end it."""
    began_s = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        first = process.stdout.read(1)
        wall_s = time.perf_counter() - began_s
        process.kill()
    if not first:
        raise BenchmarkError(f"nothing came from {' '.join(command)}")
    return wall_s


def _children_s(process: int) -> float:
    """Return what the children of a process took that have ended."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) * _TICK_S


def _children(process: int) -> frozenset[str]:
    return frozenset(Path(f"/proc/{process}/task/{process}/children").read_text(encoding="utf-8").split())


def _wait_for_children(process: int, known: frozenset[str]) -> None:
    """Wait until a server has noticed that the sessions ended that were not there before."""
    deadline_s = time.monotonic() + _SETTLED_S
    while _children(process) - known and time.monotonic() < deadline_s:
        os.sched_yield()
