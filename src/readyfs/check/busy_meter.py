"""How busy some threads keep the machine: whether they wait for something else than a processor."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_TASKS: Final = Path("/proc/self/task")


class BusyMeter:
    """Tells the share of time in which threads ran or wanted to run, 1.0 for one processor."""

    def __init__(self) -> None:
        self._seen_ns: dict[int, int] = {}
        self._at_ns = time.monotonic_ns()

    def share(self, threads: Iterable[threading.Thread]) -> float:
        """Return the share since the call before; a thread that was not there then does not count yet."""
        now_ns = time.monotonic_ns()
        seen_ns = {thread.native_id: _busy_ns(thread.native_id) for thread in threads if thread.native_id is not None}
        busy_ns = sum(value - self._seen_ns.get(task, value) for task, value in seen_ns.items())
        elapsed_ns = max(now_ns - self._at_ns, 1)
        self._seen_ns, self._at_ns = seen_ns, now_ns
        return busy_ns / elapsed_ns


def _busy_ns(task: int) -> int:
    """Return for how long a thread has run or waited for a processor (Documentation/scheduler/sched-stats.rst)."""
    try:
        running, waiting, _ = (_TASKS / str(task) / "schedstat").read_text("ascii").split()
    except (OSError, ValueError):
        return 0  # it has ended, or this kernel counts nothing: then more threads do no harm but cost
    return int(running) + int(waiting)
