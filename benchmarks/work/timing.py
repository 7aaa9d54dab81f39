"""How work is timed: the clock runs while the work does, and not while it is prepared."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """How long it took and how much was done."""

    seconds: float
    count: int


def timed(work: Callable[[], int]) -> Timing:
    """Do the work and time it; it returns its count."""
    began = time.perf_counter()
    count = work()
    return Timing(time.perf_counter() - began, count)


def timed_in_parallel(works: Sequence[Callable[[], int]]) -> Timing:
    """Do each work in a process of its own, all at once; time from their common start to the end of the last."""
    gate_out, gate_in = os.pipe()
    children = []
    for work in works:
        counts_out, counts_in = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(gate_in)
            _run_child(work, gate_out, counts_in)
        os.close(counts_in)
        children.append((pid, counts_out))
    began = time.perf_counter()
    # All children wait for the end of this pipe.
    os.close(gate_in)
    count, failed = 0, False
    for pid, counts_out in children:
        answer = os.read(counts_out, 64)
        count += int(answer or 0)
        failed |= os.waitpid(pid, 0)[1] != 0
        os.close(counts_out)
    seconds = time.perf_counter() - began
    os.close(gate_out)
    if failed:
        raise RuntimeError("a parallel reader failed")
    return Timing(seconds, count)


def _run_child(work: Callable[[], int], gate_out: int, counts_in: int) -> None:
    status = 1
    try:
        os.read(gate_out, 1)
        os.write(counts_in, str(work()).encode())
        status = 0
    except Exception:  # noqa: BLE001 - it is told here, and the exit status tells the parent
        traceback.print_exc()
    finally:
        os._exit(status)
