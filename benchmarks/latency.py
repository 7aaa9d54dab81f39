"""What a refresh costs the readers: latency while it runs, how long it takes, and how soon a change shows."""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from statistics import median, quantiles
from subprocess import Popen
from typing import Final, NamedTuple

import orjson

from benchmarks.contenders import Contender, Mounted
from benchmarks.daemons import BenchmarkError, Daemon
from benchmarks.measure import say
from benchmarks.results import Latency, RefreshResult
from benchmarks.sites import ChangingSite, synthetic_path
from benchmarks.work.probe import OPERATIONS
from benchmarks.workers import end_group, start_work

NAMES_TO_STAT: Final = 50_000
_PATIENCE_S: Final = 60.0

Window = tuple[float, float]


class Sample(NamedTuple):
    """One answer: what was asked, when, and how long it took."""

    operation: str
    began: float
    seconds: float


def measure_refresh(site: ChangingSite, contender: Contender, turns: int, idle_s: float) -> RefreshResult:
    """Probe a contender's mount while the state changes `turns` times, with pauses around each.

    The raw tree is probed without changes.
    """
    result = RefreshResult()
    with contender.mounted(site.site) as mounted:
        daemon = mounted.daemon
        windows: list[Window] = []
        with _probing(site, mounted) as probe:
            time.sleep(idle_s)
            if daemon:
                cpu_s = daemon.cpu_s()
                before = daemon.requests()
                for _ in range(turns):
                    result.changes = site.change()
                    windows.append(timed_refresh(daemon))
                    time.sleep(idle_s)
                result.cpu_s = (daemon.cpu_s() - cpu_s) / turns
                result.requests = dict(daemon.requests() - before)
            samples = finish_probe(probe)
        result.refresh_s = [end - begin for begin, end in windows]
        result.latency = _summarize(samples, windows)
        if daemon:
            result.visible_s = [_time_to_visible(site, mounted, daemon) for _ in range(turns)]
            result.memory = daemon.memory()
    for when, row in result.latency.items():
        cells = "  ".join(
            f"{operation} p99 {found.p99_s * 1e3:.2f} max {found.max_s * 1e3:.1f}" for operation, found in row.items()
        )
        say(f"  {site.site.key}, {contender.key}, {when} (ms): {cells}")
    if result.refresh_s:
        say(f"    refresh {median(result.refresh_s):.3f} s, visible after {median(result.visible_s):.4f} s")
    return result


@contextmanager
def _probing(site: ChangingSite, mounted: Mounted) -> Iterator[Popen[bytes]]:
    view = mounted.view
    real = [partition.path for partition in site.real]
    if view.raw_layout:
        runs = [str(next(path.iterdir())) for path in map(Path, site.raw_directories())]
        choices = {"stat": runs, "open": [f"{run}/payload.jsonl" for run in runs], "readdir": runs}
    else:
        others = site.site.partitions - len(site.real)
        random = Random(11)
        names = real + [synthetic_path(random.randrange(others)) for _ in range(NAMES_TO_STAT if others else 0)]
        choices = {
            "stat": [f"{view.top}/{name}" for name in names],
            "open": [f"{view.top}/{name}/payload.jsonl" for name in real],
            "readdir": [f"{view.top}/{name}" for name in real],
        }
    with probing(mounted, choices, site.site.base / "plan.json") as process:
        yield process


@contextmanager
def probing(mounted: Mounted, choices: Mapping[str, Sequence[str]], plan: Path, *once: str) -> Iterator[Popen[bytes]]:
    """Run a client that asks for paths of these by operation; for those operations in `once`, for none twice."""
    plan.write_bytes(orjson.dumps(choices))
    process = start_work(mounted, "probe", str(plan), *once)
    try:
        read_line(process)
        yield process
    finally:
        end_group(process)


def timed_refresh(daemon: Daemon) -> Window:
    """Have a daemon refresh; return when it was asked and when every reader saw what it found."""
    began = time.monotonic()
    daemon.refresh(wait=True)
    return began, time.monotonic()


def finish_probe(probe: Popen[bytes]) -> list[Sample]:
    """End the client and return all of its answers."""
    output, errors = probe.communicate(b"\n", timeout=_PATIENCE_S)
    if probe.returncode:
        raise BenchmarkError(f"the probe failed: {errors.decode('utf-8', 'replace').strip().splitlines()[-1:]}")
    values = array("d")
    values.frombytes(output)
    return [
        Sample(OPERATIONS[int(number)], began, seconds)
        for number, began, seconds in zip(values[::3], values[1::3], values[2::3], strict=True)
    ]


def _summarize(samples: Sequence[Sample], windows: Sequence[Window]) -> dict[str, dict[str, Latency]]:
    """Return latency by when and operation; whatever overlaps a refresh was asked during it."""
    found: dict[str, dict[str, list[float]]] = {}
    for sample in samples:
        when = "refresh" if overlaps(sample, windows) else "idle"
        found.setdefault(when, {}).setdefault(sample.operation, []).append(sample.seconds)
    return {when: {operation: summarize(row) for operation, row in by.items()} for when, by in found.items()}


def overlaps(sample: Sample, windows: Sequence[Window]) -> bool:
    """Return whether an answer was waited for during any of these times."""
    return any(sample.began <= end and sample.began + sample.seconds >= begin for begin, end in windows)


def summarize(seconds: Sequence[float]) -> Latency:
    """Return median, 99th percentile and maximum."""
    p99 = quantiles(seconds, n=100, method="inclusive")[98] if len(seconds) > 1 else seconds[0]
    return Latency(len(seconds), median(seconds), p99, max(seconds))


def _time_to_visible(site: ChangingSite, mounted: Mounted, daemon: Daemon) -> float:
    """Return the time from the commit of one change, followed by an order to refresh, to its being seen."""
    partition, commit = site.switch_one()
    process = start_work(mounted, "watch", f"{mounted.view.top}/{partition.path}")
    try:
        read_line(process)
        commit()
        committed = time.monotonic()
        daemon.refresh(wait=False)
        output, _ = process.communicate(timeout=_PATIENCE_S)
        return float(output) - committed
    finally:
        end_group(process)


def read_line(process: Popen[bytes]) -> None:
    """Wait until the process says that it has begun."""
    assert process.stdout is not None and process.stderr is not None
    if not process.stdout.readline():
        raise BenchmarkError(f"did not begin: {process.stderr.read().decode('utf-8', 'replace').strip()}")
