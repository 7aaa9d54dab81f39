"""Memory: whether a daemon that serves a whole state table would fit into what the machine has left."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from readyfs.doctor.finding import Finding, good, problem, warning
from readyfs.doctor.subject import Places

DAEMON_BYTES: Final = 60_000_000
ROW_BYTES: Final = 170
"""A daemon's memory without a partition, and for each; measured, see docs/performance.md."""


def judge_memory(rows: int, available: int) -> Iterator[Finding]:
    """Say whether the catalog of so many rows, were they all ready, would fit into the memory that is there."""
    needed = DAEMON_BYTES + ROW_BYTES * rows
    shown = f"about {needed / 1e6:,.0f} MB for {rows:,} rows, of {available / 1e6:,.0f} MB available"
    remedy = "systemctl edit readyfs@NAME  # MemoryMax; or a smaller part with --source, --customer, --since"
    if needed > available:
        yield problem("memory", f"a daemon needs {shown}", remedy)
    elif 2 * needed > available:
        yield warning("memory", f"a daemon needs {shown}, which is more than half", remedy)
    else:
        yield good("memory", f"a daemon needs {shown}")


def available_bytes(places: Places) -> int:
    """Return how much memory can still be had: of the machine, and of this process's control group."""
    text = places.memory.read_text("ascii")
    found = re.search(r"^MemAvailable:\s*(\d+) kB", text, re.MULTILINE)
    least = int(found.group(1)) * 1024 if found is not None else 0
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            least = min(least, int(Path(places.control_groups, limit).read_text("ascii")))
        except (OSError, ValueError):
            continue  # another version of control groups, or "max"
    return least
