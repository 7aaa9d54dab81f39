"""Measures manifests: how long the first `stat` of one takes, its first byte and the whole of it, and what memory."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from benchmarks.measure import say
from benchmarks.views.mounted import mounted

FORMS: Final = ("jsonl", "paths", "paths0")
READ_BYTES: Final = 1 << 20
MB: Final = 1_000_000


def measure_manifests(world: Path) -> dict[str, object]:
    """Return what each form of the manifest of all partitions takes, of a daemon of its own."""
    say("manifests")
    return {form: _measure(world, form) for form in FORMS}


def _measure(world: Path, form: str) -> dict[str, float]:
    with mounted(world) as mount:
        mount.settle()
        path = mount.path / f".manifest.{form}"
        Path(f"/proc/{mount.daemon.process.pid}/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
        before, cpu_s, began = mount.daemon.memory()["rss"], mount.cpu_s(), time.perf_counter()
        size = os.stat(path).st_size
        stat_s, began = time.perf_counter() - began, time.perf_counter()
        descriptor = os.open(path, os.O_RDONLY)
        try:
            read = len(os.read(descriptor, 1))
            first_s = time.perf_counter() - began
            while found := len(os.read(descriptor, READ_BYTES)):
                read += found
        finally:
            os.close(descriptor)
        whole_s = time.perf_counter() - began
        assert read == size
        above = mount.daemon.memory()["peak"] - before
        return {
            "stat_s": round(stat_s, 3),
            "first_byte_s": round(first_s, 3),
            "whole_s": round(whole_s, 3),
            "cpu_s": round(mount.cpu_s() - cpu_s, 3),
            "mb": round(size / MB, 1),
            "memory_mb": round(above / MB, 1),
        }
