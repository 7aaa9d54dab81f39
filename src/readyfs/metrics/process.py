"""What this process takes of the machine: memory and processor time."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Final

_PAGE_BYTES: Final = resource.getpagesize()


def memory_bytes() -> int | None:
    """Return the resident memory, statm of proc_pid_statm(5); None where /proc does not show it."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return None


def cpu_seconds() -> float:
    """Return the processor time of all threads since the start, user and system."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
