"""What the figures were made on, in words that identify no machine."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from readyfs.fuse.mount_table import read_mount_table


def describe_machine(place: Path) -> dict[str, object]:
    """Return processors, memory, kernel, interpreter, and the file system of a place."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": "Linux " + _numbers(platform.release()),
        "python": platform.python_version(),
        "filesystem": _filesystem(place),
    }


def render_machine(machine: dict[str, object]) -> str:
    """Return the description as a phrase."""
    return (
        f"{machine['cores']} cores ({machine['processor']}), {machine['memory_gb']} GB of memory, {machine['kernel']}, "
        f"{machine['filesystem']}, Python {machine['python']}"
    )


def _numbers(release: str) -> str:
    """Return the version without what a distribution or a site has appended."""
    found = re.match(r"[0-9.]+", release)
    return found[0].rstrip(".") if found else "of unknown version"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _filesystem(place: Path) -> str:
    device = place.stat().st_dev
    wanted = (os.major(device), os.minor(device))
    return next((mount.fs_type for mount in read_mount_table() if mount.device == wanted), "unknown file system")
