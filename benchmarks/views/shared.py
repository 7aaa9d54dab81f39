"""Measures a pin store: publishing a pin, publishing the next one, and what another daemon takes to find it.

The two mounts have one state table and one raw store, and a state directory each. The finding mount is started once the
table has changed, so its live tree is another than the view that it looks for.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.measure import say
from benchmarks.state.generate import TABLE
from benchmarks.views.mounted import PATIENCE_S, Mounted, mounted
from readyfs.control.pin_requests import PinRequest

NEXT_PINS: Final = 5
CHANGED_PERCENT: Final = 1
LOOKUPS: Final = 1000
_SCATTERING: Final = 2_654_435_761
"""Rows are in the order of their dates: what is divided by their number would be of the same few series."""
MB: Final = 1_000_000


def measure_pin_store(world: Path) -> dict[str, object]:
    """Return what a pin of a world takes in a pin store, and what another mount takes to find and show it."""
    say("a pin store, and two mounts of it")
    base = world.with_name("store")
    store = base / "store"
    store.mkdir(parents=True)
    settings = ("--pin-store", str(store))
    result: dict[str, object] = {}
    with mounted(base / "first", *settings, world=world) as mount:
        mount.settle()
        began, cpu_s = time.perf_counter(), mount.cpu_s()
        pinned = mount.public.pin(PinRequest("first"), PATIENCE_S)
        result["publish_s"] = round(time.perf_counter() - began, 3)
        result["publish_cpu_s"] = round(mount.cpu_s() - cpu_s, 3)
        result["publish_mb"] = round(_size(store) / MB, 2)
        result |= _publish_next(mount, world, store)
        with mounted(base / "second", *settings, world=world) as other:
            result |= _find(other, str(pinned["fingerprint"]), _some_dates(mount.path))
    return result


def _publish_next(mount: Mounted, world: Path, store: Path) -> dict[str, object]:
    """Change a part of the rows all over the table and pin again, some times."""
    taken: list[float] = []
    added: list[int] = []
    for turn in range(NEXT_PINS):
        _change(world, turn)
        written = mount.history_bytes()
        mount.daemon.refresh(wait=True)
        mount.settle(written)
        before, began = _size(store), time.perf_counter()
        mount.public.pin(PinRequest(f"next{turn}"), PATIENCE_S)
        taken.append(time.perf_counter() - began)
        added.append(_size(store) - before)
    return {
        "next_changed_percent": CHANGED_PERCENT,
        "next_median_s": round(median(taken), 3),
        "next_worst_s": round(max(taken), 3),
        "next_worst_mb": round(max(added) / MB, 2),
    }


def _find(mount: Mounted, fingerprint: str, paths: Sequence[Path]) -> dict[str, object]:
    """Look up a view that another mount pinned, and then paths below it and in the live tree, by turns."""
    mount.settle()
    view = mount.path / ".readyfs/views" / fingerprint
    memory, cpu_s, began = mount.resident_bytes(), mount.cpu_s(), time.perf_counter()
    names = os.listdir(view)
    result: dict[str, object] = {
        "find_s": round(time.perf_counter() - began, 3),
        "find_cpu_s": round(mount.cpu_s() - cpu_s, 3),
        "find_mb": round((mount.resident_bytes() - memory) / MB, 1),
        "found_names": len(names),
    }
    taken: dict[str, list[float]] = {"view": [], "live": []}
    for number, path in enumerate(paths):
        for which in ("view", "live")[:: 1 if number % 2 else -1]:
            taken[which].append(_time_lookup((view if which == "view" else mount.path) / path))
    for which, each in taken.items():
        result[f"lookup_{which}_us"] = round(median(each) * 1e6, 1)
    return {**result, "lookup_view_by_live": round(median(taken["view"]) / median(taken["live"]), 3)}


def _some_dates(top: Path) -> Sequence[Path]:
    """Return paths of partitions, one of each directory of dates."""

    def found() -> Iterator[Path]:
        for customer in os.scandir(top):
            for query in os.scandir(customer):
                yield Path(customer.name, query.name, min(os.listdir(query)))

    return [path for path, _ in zip(found(), range(LOOKUPS), strict=False)]


def _time_lookup(path: Path) -> float:
    """Return how long the first lookup of a name takes once the kernel knows its directory."""
    os.stat(path.parent)
    began = time.perf_counter()
    os.stat(path)
    return time.perf_counter() - began


def _change(world: Path, turn: int) -> None:
    """Have other runs for a part of the rows, scattered over all series and dates."""
    with closing(sqlite3.connect(world / "state.db")) as state, state:
        state.execute(
            f"UPDATE {TABLE} SET current_run_id = ? || rowid, updated_at = ?"
            f" WHERE current_run_id IS NOT NULL AND rowid * {_SCATTERING} / 65536 % {100 // CHANGED_PERCENT} = ?",
            (f"turn-{turn}-", f"2030-01-{turn + 1:02d}T00:00:00+00:00", turn),
        )


def _size(directory: Path) -> int:
    return sum(os.stat(os.path.join(top, name)).st_size for top, _, names in os.walk(directory) for name in names)
