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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.daemons import Daemon, start, stop, wait_answering, wait_mounted
from benchmarks.measure import say
from benchmarks.state.generate import generate
from benchmarks.state.shape import usual_shape
from benchmarks.workspace import positive, workspace
from readyfs.control.client import ControlClient
from readyfs.control.pin_requests import PinRequest
from readyfs.control.protocol import socket_path
from readyfs.control.public_client import PublicClient
from readyfs.errors import LimitError

LATER_PINS: Final = 20
PATIENCE_S: Final = 600.0
MB: Final = 1_000_000


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what the command line says; return 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.views", description=__doc__)
    parser.add_argument("--partitions", type=positive, default=1_000_000, help="of the table that is pinned")
    parser.add_argument("--pins", type=positive, default=1000, help="that are made and expire")
    parser.add_argument("--walked", type=positive, default=2000, help="partitions that are walked")
    parser.add_argument("--rounds", type=positive, default=7)
    options = parser.parse_args(argv)
    with workspace(None) as base:
        _print("pin", measure_pins(base, options.partitions))
        _print("expiry", measure_expiry(base, options.pins))
        _print("walk", measure_walks(base, options.walked, options.rounds))
    return 0


def _print(what: str, measured: dict[str, object]) -> None:
    sys.stdout.write(json.dumps({what: measured}) + "\n")
    sys.stdout.flush()


class Mounted:
    """One daemon and its clients."""

    def __init__(self, base: Path, daemon: Daemon) -> None:
        self.path = base / "mnt"
        self.daemon = daemon
        self.public = PublicClient(self.path, socket_path(base / "public", self.path))

    def pin(self, name: str | None = None) -> Path:
        """Pin, however many asked before, and return the view."""
        while True:
            try:
                return self.public.view(str(self.public.pin(PinRequest(name), PATIENCE_S)["fingerprint"]))
            except LimitError:
                time.sleep(0.05)  # more was asked for at once than one user may

    def resident_bytes(self) -> int:
        """Return what the process has in memory."""
        text = Path(f"/proc/{self.daemon.process.pid}/statm").read_text(encoding="ascii")
        return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> int:
        """Return how many descriptors the process has open."""
        return len(os.listdir(f"/proc/{self.daemon.process.pid}/fd"))

    def cpu_s(self) -> float:
        """Return the CPU seconds that the process has used."""
        fields = Path(f"/proc/{self.daemon.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def mounted(base: Path, *settings: str) -> Iterator[Mounted]:
    """Mount the table and the runs below a directory."""
    path, output = base / "mnt", base / "log"
    path.mkdir(exist_ok=True)
    command = [
        *(sys.executable, "-m", "readyfs", "mount", str(path), "--interval", "1h"),
        *("--state", f"sqlite:///{base}/state.db", "--raw", str(base / "raw"), "--state-dir", str(base / "var")),
        *("--runtime-dir", str(base / "run"), "--public-dir", str(base / "public"), *settings),
    ]
    # What is freed goes back at once, so that what is in memory is what is in use.
    process = start(["env", "MALLOC_TRIM_THRESHOLD_=65536", *command], output)
    try:
        wait_mounted(path, process, output, PATIENCE_S)
        daemon = Daemon(process, ControlClient(socket_path(base / "run", path), timeout_s=60.0))
        wait_answering(daemon, output, PATIENCE_S)
        yield Mounted(base, daemon)
    finally:
        stop(process, path)


def make_world(base: Path, partitions: int, runs: int) -> Path:
    """Make a table, and the runs of some of its partitions; return its directory."""
    base.mkdir()
    (base / "raw").mkdir()
    generate(usual_shape(partitions), f"sqlite:/{base}/state.db", base / "raw" if runs else None, runs)
    return base


def measure_pins(base: Path, partitions: int) -> dict[str, object]:
    """Return how long the first pin of a large catalog takes, and the next ones."""
    say(f"a table of {partitions} partitions")
    world = make_world(base / "large", partitions, 0)
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
