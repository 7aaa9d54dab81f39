"""A limit on the memory that a process is charged for from now on, its page cache included (cgroups(7))."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.mount.daemon import wait_until

_FIRST: Final = Path("/sys/fs/cgroup/memory")
"""Where version 1 has the controller of memory."""
_SECOND: Final = Path("/sys/fs/cgroup")


class MemoryLimit:
    """A control group with a limit in bytes."""

    def __init__(self, limit_bytes: int) -> None:
        self._is_first = (_FIRST / "memory.limit_in_bytes").exists()
        own = Path("/proc/self/cgroup").read_text().splitlines()
        lines = [line.split(":", 2) for line in own]
        if self._is_first:
            path = next(path for _, names, path in lines if "memory" in names.split(","))
            parent = _FIRST / path.lstrip("/")
            parent = parent if parent.exists() else _FIRST
        else:
            parent = _SECOND
            (parent / "cgroup.subtree_control").write_text("+memory")
        self._group = parent / f"readyfs-{uuid.uuid4().hex}"
        self._group.mkdir()
        name = "memory.limit_in_bytes" if self._is_first else "memory.max"
        (self._group / name).write_text(str(limit_bytes))
        self._parent = parent

    def add(self, pid: int) -> None:
        """Charge a process here for what it takes from now on."""
        (self._group / "cgroup.procs").write_text(str(pid))

    def most_bytes(self) -> int:
        """Return the most that was charged at once."""
        return int((self._group / ("memory.max_usage_in_bytes" if self._is_first else "memory.peak")).read_text())

    def kills(self) -> int:
        """Return how many processes were killed for want of memory."""
        text = (self._group / ("memory.oom_control" if self._is_first else "memory.events")).read_text()
        return int(dict(line.split() for line in text.splitlines())["oom_kill"])

    def remove(self, pid: int) -> None:
        """Let a process go, and remove the group."""
        if os.path.exists(f"/proc/{pid}"):
            (self._parent / "cgroup.procs").write_text(str(pid))
        wait_until(self._is_removed, "the control group is empty")

    def _is_removed(self) -> bool:
        try:
            self._group.rmdir()
        except OSError:
            return False
        return True


@contextmanager
def memory_limit(pid: int, limit_bytes: int) -> Iterator[MemoryLimit]:
    """Limit a process for the body."""
    limit = MemoryLimit(limit_bytes)
    try:
        limit.add(pid)
        yield limit
    finally:
        limit.remove(pid)
