"""Measures pins and views: how long a pin takes, what it leaves behind, and how a view compares with the live tree.

`make bench-views` prints one JSON object a line. Rounds over the live tree and over a view alternate. Each has a daemon
of its own that has served nothing yet, and the medians count.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.measure import say
from benchmarks.views.manifests import measure_manifests
from benchmarks.views.mounted import PATIENCE_S, Mounted, make_world, mounted
from benchmarks.views.shared import measure_pin_store
from benchmarks.workspace import positive, stoppable, workspace
from readyfs.control.pin_requests import PinRequest

LATER_PINS: Final = 20
MB: Final = 1_000_000


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what the command line says; return 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.views", description=__doc__)
    parser.add_argument("--partitions", type=positive, default=1_000_000, help="of the table that is pinned")
    parser.add_argument("--pins", type=positive, default=1000, help="that are made and expire")
    parser.add_argument("--walked", type=positive, default=2000, help="partitions that are walked")
    parser.add_argument("--rounds", type=positive, default=7)
    options = parser.parse_args(argv)
    with stoppable(), workspace(None) as base:
        say(f"a table of {options.partitions} partitions")
        large = make_world(base / "large", options.partitions, options.walked)
        _print("pin", measure_pins(large, options.partitions))
        _print("manifest", measure_manifests(large))
        _print("pin store", measure_pin_store(large))  # it changes the table
        _print("expiry", measure_expiry(base, options.pins))
        _print("walk", measure_walks(base, options.walked, options.rounds))
    return 0


def _print(what: str, measured: dict[str, object]) -> None:
    sys.stdout.write(json.dumps({what: measured}) + "\n")
    sys.stdout.flush()


def measure_pins(world: Path, partitions: int) -> dict[str, object]:
    """Return how long the first pin of a large catalog takes, and the next ones."""
    say("pins")
    with mounted(world) as mount:
        at_start_s = _time_pin(mount, "start")  # while the catalog is still on its way to the disk
    with mounted(world) as mount:
        durations = [_time_pin(mount, f"pin{number}") for number in range(1 + LATER_PINS)]
    return {
        "partitions": partitions,
        "right_after_the_first_start_s": round(at_start_s, 4),
        "first_s": round(durations[0], 4),
        "next_median_s": round(median(durations[1:]), 4),
        "next_worst_s": round(max(durations[1:]), 4),
    }


def _time_pin(mount: Mounted, name: str) -> float:
    began = time.perf_counter()
    mount.public.pin(PinRequest(name), PATIENCE_S)
    return time.perf_counter() - began


def measure_expiry(base: Path, pins: int) -> dict[str, object]:
    """Return what pins that were made and have expired leave in memory and open."""
    say(f"{pins} pins that expire")
    world = make_world(base / "expiring", 1000, 0)
    settings = ("--pin-max", "5s", "--pin-default", "5s", "--pin-grace", "0s", "--pin-count", "10000")

    def make_and_expire(mount: Mounted, prefix: str, count: int) -> None:
        for number in range(count):
            mount.pin(f"{prefix}{number}")
        # The last that was made ends last. A list of them all would be more than one user may ask for so often.
        while os.path.lexists(mount.path / ".readyfs/at" / f"{prefix}{count - 1}"):
            time.sleep(0.5)

    with mounted(world, *settings) as mount:
        make_and_expire(mount, "warm", 50)
        before, open_before = mount.resident_bytes(), mount.descriptors()
        make_and_expire(mount, "pin", pins)
        time.sleep(2)
        after, open_after = mount.resident_bytes(), mount.descriptors()
    return {"pins": pins, "memory_mb": round((after - before) / MB, 2), "descriptors": open_after - open_before}


def measure_walks(base: Path, partitions: int, rounds: int) -> dict[str, object]:
    """Return CPU seconds of the daemon and of the reader for a first walk that opens and reads every file."""
    say(f"{rounds} rounds over {partitions} partitions")
    world = make_world(base / "walked", partitions, partitions)
    taken: dict[str, list[tuple[float, float]]] = {"live": [], "view": []}
    for number in range(2 * rounds):
        which = ("live", "view")[(number + number // 2) % 2]
        with mounted(world) as mount:
            view = mount.pin()
            top = mount.path if which == "live" else view
            daemon_s, reader_s = mount.cpu_s(), time.process_time()
            _read_all(top)
            taken[which].append((mount.cpu_s() - daemon_s, time.process_time() - reader_s))
    result: dict[str, object] = {"partitions": partitions, "rounds": rounds}
    for which, pairs in taken.items():
        result[f"{which}_daemon_cpu_s"] = round(median(pair[0] for pair in pairs), 3)
        result[f"{which}_reader_cpu_s"] = round(median(pair[1] for pair in pairs), 3)
    both = {which: median(sum(pair) for pair in pairs) for which, pairs in taken.items()}
    return {**result, "view_by_live": round(both["view"] / both["live"], 3)}


def _read_all(top: Path) -> None:
    for directory, _, names in os.walk(top):
        for name in names:
            with open(os.path.join(directory, name), "rb", buffering=0) as file:
                file.read()


if __name__ == "__main__":
    sys.exit(main())
