"""How work is timed: the clock runs while the work does, and not while it is prepared."""

from __future__ import annotations

import os
import resource
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

_CPU_CLOCK: Final = 2


@dataclass(frozen=True, slots=True)
class Timing:
    """How long it took, how much was done, and the processor time of those who did it, in seconds."""

    seconds: float
    count: int
    cpu_s: float = 0.0


def cpu_s_of(process: int) -> float:
    """Return the processor time used so far by all threads of a process, those that have ended included."""
    # What clock_getcpuclockid(3) makes of a process id: unlike the ticks of /proc it counts nanoseconds.
    return time.clock_gettime(~process << 3 | _CPU_CLOCK)


def own_cpu_s() -> float:
    """Return the processor time of this process and of the children that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def timed(work: Callable[[], int], processor: Callable[[], float] = own_cpu_s) -> Timing:
    """Do the work and time it; it returns its count. `processor` tells the time of those who do it."""
    cpu_s, began = processor(), time.perf_counter()
    count = work()
    return Timing(time.perf_counter() - began, count, processor() - cpu_s)


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
    cpu_s, began = own_cpu_s(), time.perf_counter()
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
    return Timing(seconds, count, own_cpu_s() - cpu_s)


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
