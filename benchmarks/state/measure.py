"""Measures one store of one size: every work on a mount of its own, each mount a sample of the time to ready."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from statistics import median
from typing import Final

from benchmarks.comparison import turn
from benchmarks.contenders import Mounted, serving
from benchmarks.daemons import BenchmarkError, Daemon
from benchmarks.latency import Sample, Window, finish_probe, overlaps, probing, read_line, summarize, timed_refresh
from benchmarks.measure import say
from benchmarks.state.changes import CHANGES, Change, Changer
from benchmarks.state.generate import write_raw
from benchmarks.state.results import BY_KEY, StateResults
from benchmarks.state.shape import Shape
from benchmarks.state.stores import Store
from benchmarks.work.timing import Timing
from benchmarks.work.view import View
from benchmarks.workers import Workers, end_group, start_work
from benchmarks.works import Work
from readyfs.demo.producer import LogicalPartition
from readyfs.layout import MountLayout
from readyfs.partition import SeriesKey, parse_date

READY, QUIET, CHANGED, FIND, LIST = "ready", "quiet", "changes", "find", "list"
WORKS: Final = (READY, QUIET, CHANGED, FIND, LIST)
FIND_AT_MOST: Final = 1_000_000
"""Above this many rows the kernel's own memory for the names, a kilobyte each, is what would be measured."""

PATIENCE_S: Final = 600.0
_SELDOM: Final = "1h"
_QUIET_INTERVAL_S: Final = 0.1
_NAMES_TO_STAT: Final = 200_000
_WATCH_PATIENCE_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Build:
    """One build of readyfs, named by the interpreter of its environment, its layout, and what was measured of it."""

    python: str
    results: StateResults
    layout: str | None = None

    def path_of(self, partition: LogicalPartition) -> str:
        """Return the path of a partition below the mount."""
        key = SeriesKey(*(value.encode() for value in partition[:3]))
        date = parse_date(partition.logical_date.encode())
        assert date is not None
        layout = MountLayout.parse() if self.layout is None else MountLayout.parse(self.layout)
        return os.fsdecode(b"/".join(layout.path_of(key, date)))


@dataclass(slots=True)
class StateMeasurement:
    """Measures what was chosen of each build, in alternated rounds; `idle_s` is the pause around what must not touch.

    All builds read the same store at the same time. What fails is noted in `results`, those of the first build.
    """

    builds: Sequence[Build]
    base: Path
    works: Sequence[str]
    changes: Sequence[str]
    rounds: int
    idle_s: float
    quiet_s: float
    files: int
    _workers: Workers = field(default_factory=Workers)

    @property
    def results(self) -> StateResults:
        """What was measured of the first build."""
        return self.builds[0].results

    def close(self) -> None:
        """End what helps."""
        self._workers.close()

    def measure(self, key: str, size: int, shape: Shape, store: Store) -> None:
        """Measure one store of one size; what fails is noted and does not end the rest."""
        _Measuring(self, key, size, shape, store).run()

    def measure_names(self, key: str, shape: Shape, store: Store) -> None:
        """Measure the listing of a top directory of one customer a row."""
        measuring = _Measuring(self, key, shape.rows, shape, store, is_usual=False)
        for kind in ("list", "list-long"):
            measuring.attempt(kind, partial(measuring.measure_list, kind))


@dataclass(slots=True)
class _Measuring:
    """One store of one size."""

    whole: StateMeasurement
    key: str
    size: int
    shape: Shape
    store: Store
    is_usual: bool = True
    raw: Path = field(init=False)
    _real: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.raw = self.whole.base / f"raw-{self.key}-{self.size}"
        self._real = write_raw(self.shape, self.raw, min(self.whole.files, self.shape.rows // 10))

    def run(self) -> None:
        """Do every work that was chosen."""
        works = self.whole.works
        for work, do in (
            (QUIET, self._measure_quiet),
            (CHANGED, self._measure_changes),
            (FIND, self._measure_find),
        ):
            if work in works:
                self.attempt(work, do)
        if READY in works:
            self.attempt(READY, self._measure_ready)

    def attempt(self, work: str, do: Callable[[], None]) -> None:
        """Do it; note a failure."""
        try:
            do()
        except (BenchmarkError, OSError, subprocess.SubprocessError) as error:
            self.whole.results.failures.append(f"{work}, {self.key}, {self.size:,}: {error}")
            say(f"  {self.whole.results.failures[-1]}")

    # ---- ready ------------------------------------------------------------------------------------------------

    @contextmanager
    def _mounted(self, build: Build, interval: str = _SELDOM) -> Iterator[Mounted]:
        """Mount anew; each time counts as a round of the time to ready, unless the table is of an unusual shape."""
        self.store.warm()
        settings = (
            *("--state", self.store.url, "--raw", str(self.raw), "--interval", interval),
            *("--state-timeout", f"{PATIENCE_S:.0f}s"),
            *(("--layout", build.layout) if build.layout is not None else ()),
        )
        with serving(self.whole.base, settings, patience_s=PATIENCE_S, python=build.python) as (path, daemon):
            if READY in self.whole.works and self.is_usual:
                assert daemon.ready_s is not None
                memory = daemon.memory()
                self._note(build, "ready-s", daemon.ready_s)
                self._note(build, "ready-cpu", daemon.cpu_s())
                self._note(build, "ready-rss", memory["rss"])
                self._note(build, "ready-peak", memory["peak"])
            yield Mounted(View(str(path), raw_layout=False), daemon)

    @contextmanager
    def _all_mounted(self, interval: str = _SELDOM) -> Iterator[list[_MountedBuild]]:
        """Mount every build."""
        with ExitStack() as stack:
            yield [
                _MountedBuild(build, mounted, _daemon_of(mounted))
                for build in self.whole.builds
                for mounted in (stack.enter_context(self._mounted(build, interval)),)
            ]

    def _measure_ready(self) -> None:
        for number in range(self.whole.rounds):
            for build in turn(self.whole.builds, number):
                if len(build.results.rounds("ready-s", self.key, self.size)) < self.whole.rounds:
                    with self._mounted(build):
                        pass
        self._say("ready-s", "ready-rss", "ready-peak")

    # ---- quiet ------------------------------------------------------------------------------------------------

    def _measure_quiet(self) -> None:
        idle: list[float] = []
        with self._all_mounted() as all_mounted:
            for one in all_mounted:
                idle.append(self._cpu_share(one.daemon, self.whole.quiet_s))
                self._note(one.build, "idle-cpu", idle[-1])
        with self._all_mounted(f"{_QUIET_INTERVAL_S * 1000:.0f}ms") as all_mounted:
            for one in all_mounted:
                _wait_refreshed(one.daemon)
            for number in range(self.whole.rounds):
                for one, idle_share in turn(list(zip(all_mounted, idle, strict=True)), number):
                    # Refreshes begin an interval apart, or one after the other where they take longer.
                    duration_s = _refresh_s(one.daemon)
                    busy = self._cpu_share(one.daemon, max(self.whole.quiet_s, 2 * duration_s))
                    duration_s = _refresh_s(one.daemon)
                    self._note(one.build, "quiet-s", duration_s)
                    cpu_s = max(0.0, busy - idle_share) * max(_QUIET_INTERVAL_S, duration_s)
                    self._note(one.build, "quiet-cpu", cpu_s)
        self._say("quiet-cpu", "quiet-s", "idle-cpu")

    def _cpu_share(self, daemon: Daemon, seconds: float) -> float:
        """Return the processor seconds a second while nothing is asked."""
        began, cpu_s = time.monotonic(), daemon.cpu_s()
        time.sleep(seconds)
        return (daemon.cpu_s() - cpu_s) / (time.monotonic() - began)

    # ---- changes ----------------------------------------------------------------------------------------------

    def _measure_changes(self) -> None:
        first = (self._real[-1] + 1) if self._real else 0
        changer = Changer(self.store, self.shape, first)
        changes = [one for one in CHANGES if one.key in self.whole.changes and one.fits(self.shape, first)]
        with self._all_mounted() as all_mounted:
            for number in range(self.whole.rounds):
                for one in turn(all_mounted, number):
                    others = [other for other in all_mounted if other is not one]
                    for change in changes:
                        self._time_change(changer, change, one, others)
            for one in all_mounted:
                self._measure_lookups(changer, changes, one)
                for other in all_mounted:
                    timed_refresh(other.daemon)
            for one in all_mounted:
                self._note(one.build, "changed-peak", one.daemon.memory()["peak"])
        for change in changes:
            self._say(f"visible-{change.key}", f"refresh-{change.key}", f"cpu-{change.key}", f"stat-p99-{change.key}")

    def _time_change(
        self, changer: Changer, change: Change, one: _MountedBuild, others: Sequence[_MountedBuild]
    ) -> None:
        """Commit, order a refresh, and see when a reader sees it and when the last reader can; nobody else asks.

        The other builds take the change in afterwards, so that the next is one change for them, too.
        """
        shown, commit, mend = changer.prepare(change)
        path = f"{one.mounted.view.top}/{one.build.path_of(shown)}" if shown is not None else None
        watch = start_work(None, "watch", path) if path is not None else None
        try:
            if watch:
                read_line(watch)
            commit()
            cpu_s = one.daemon.cpu_s()
            began, ended = timed_refresh(one.daemon)
            self._note(one.build, f"cpu-{change.key}", one.daemon.cpu_s() - cpu_s)
            self._note(one.build, f"refresh-{change.key}", ended - began)
            if watch:
                output, errors = watch.communicate(timeout=_WATCH_PATIENCE_S)
                if watch.returncode:
                    raise BenchmarkError(f"{change.title}: {errors.decode('utf-8', 'replace').strip()[-200:]}")
                self._note(one.build, f"visible-{change.key}", float(output) - began)
        finally:
            if watch:
                end_group(watch)
        if mend:
            mend()
            timed_refresh(one.daemon)
        for other in others:
            timed_refresh(other.daemon)

    def _measure_lookups(self, changer: Changer, changes: Sequence[Change], one: _MountedBuild) -> None:
        """The same changes again while a client looks up names that the kernel does not know."""
        top, path_of, random = one.mounted.view.top, one.build.path_of, Random(11)
        positions = random.sample(range(self.shape.rows), min(self.shape.rows, _NAMES_TO_STAT))
        choices = {
            "stat": [f"{top}/{path_of(self.shape.key(position))}" for position in positions],
            "open": [f"{top}/{path_of(self.shape.key(position))}/payload.jsonl" for position in self._real],
        }
        windows: dict[str, list[Window]] = {}
        with probing(one.mounted, choices, self.whole.base / "plan.json", "stat") as probe:
            time.sleep(self.whole.idle_s)
            for _ in range(self.whole.rounds):
                for change in changes:
                    _, commit, mend = changer.prepare(change)
                    commit()
                    time.sleep(self.whole.idle_s / 4)
                    windows.setdefault(change.key, []).append(timed_refresh(one.daemon))
                    if mend:
                        mend()
                        # Not of this kind, but not idle either.
                        windows.setdefault("", []).append(timed_refresh(one.daemon))
                    time.sleep(self.whole.idle_s / 4)
            samples = finish_probe(probe)
        busy = [window for found in windows.values() for window in found]
        windows.pop("", None)
        for key, found in windows.items():
            self._note_latency(one.build, key, [sample for sample in samples if overlaps(sample, found)])
        self._note_latency(one.build, "idle", [sample for sample in samples if not overlaps(sample, busy)])

    def _note_latency(self, build: Build, key: str, samples: Sequence[Sample]) -> None:
        for operation in ("stat", "open"):
            seconds = [sample.seconds for sample in samples if sample.operation == operation]
            if seconds:
                latency = summarize(seconds)
                self._note(build, f"{operation}-p99-{key}", latency.p99_s)
                self._note(build, f"{operation}-max-{key}", latency.max_s)

    # ---- names ------------------------------------------------------------------------------------------------

    def measure_list(self, kind: str) -> None:
        """Time `ls` of the top directory on a fresh mount, and again."""
        for number in range(self.whole.rounds):
            for build in turn(self.whole.builds, number):
                with self._mounted(build) as mounted:
                    first = self._work(kind, mounted)
                    again = [self._work(kind, mounted).seconds for _ in range(self.whole.rounds)]
                if first.count != self.shape.rows:
                    raise BenchmarkError(f"{kind} showed {first.count:,} of {self.shape.rows:,} names")
                self._note(build, f"{kind}-first", first.seconds)
                self._note(build, f"{kind}-again", median(again))
        self._say(f"{kind}-first", f"{kind}-again")

    def _measure_find(self) -> None:
        if self.size > FIND_AT_MOST:
            return
        for build in self.whole.builds:
            with self._mounted(build) as mounted:
                self._measure_find_of(build, mounted, _daemon_of(mounted))
        self._say("find-s", "find-inodes", "find-bytes", "forgotten-inodes", "forgotten-more")

    def _measure_find_of(self, build: Build, mounted: Mounted, daemon: Daemon) -> None:
        time.sleep(self.whole.idle_s)
        before, known = daemon.memory()["rss"], _inodes(daemon)
        found = self._work("partitions", mounted)
        after, more = daemon.memory()["rss"], _inodes(daemon) - known
        partitions = daemon.status()["partitions"]
        if found.count != partitions:
            raise BenchmarkError(f"find showed {found.count:,} of {partitions} partitions")
        self._note(build, "find-s", found.seconds)
        self._note(build, "find-inodes", more)
        self._note(build, "find-rss", after)
        if more > 0:
            self._note(build, "find-bytes", (after - before) / more)
        if os.geteuid() == 0:
            self._forget(mounted, daemon)
            self._note(build, "forgotten-inodes", _inodes(daemon))
            self._note(build, "forgotten-rss", daemon.memory()["rss"])
            self._note(build, "forgotten-more", daemon.memory()["rss"] - before)
        else:
            self.whole.results.missing["memory after the kernel has forgotten"] = "only root may make it forget"

    def _forget(self, mounted: Mounted, daemon: Daemon) -> None:
        """Have the kernel forget all names of this mount and wait until the daemon has heard of all of them."""
        # A remount drops what is cached of one mount; /proc/sys/vm/drop_caches would do it to the whole machine.
        command = ["mount", "--internal-only", "-o", "remount,ro", mounted.view.top]
        subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE_S)
        deadline = time.monotonic() + PATIENCE_S
        before = -1
        while (known := _inodes(daemon)) != before:
            if time.monotonic() > deadline:
                raise BenchmarkError(f"the kernel still holds {known:,} inodes")
            before = known
            time.sleep(self.whole.idle_s)

    def _work(self, kind: str, mounted: Mounted) -> Timing:
        return self.whole._workers.run(Work(kind, kind, "state", "state"), mounted)

    # ---- notes ------------------------------------------------------------------------------------------------

    def _note(self, build: Build, metric: str, value: float) -> None:
        build.results.note(metric, self.key, self.size, value)

    def _say(self, *metrics: str) -> None:
        cells = []
        for key in metrics:
            values = [build.results.value(key, self.key, self.size) for build in self.whole.builds]
            found = [value for value in values if value is not None]
            if found:
                metric = BY_KEY[key]
                shown = " beside ".join(f"{value / metric.scale:.4g}" for value in found)
                cells.append(f"{key} {shown} {metric.unit}".rstrip())
        if cells:
            say(f"  {self.key}, {self.size:,}: {'  '.join(cells)}")


@dataclass(frozen=True, slots=True)
class _MountedBuild:
    """One build, what it has mounted, and its daemon."""

    build: Build
    mounted: Mounted
    daemon: Daemon


@contextmanager
def state_measurement(
    builds: Sequence[Build],
    base: Path,
    works: Sequence[str],
    changes: Sequence[str],
    rounds: int,
    *,
    is_quick: bool,
) -> Iterator[StateMeasurement]:
    """Yield a measurement; the quick form waits for nothing to settle."""
    idle_s, quiet_s, files = (0.05, 0.3, 20) if is_quick else (0.5, 3.0, 500)
    with closing(StateMeasurement(builds, base, works, changes, rounds, idle_s, quiet_s, files)) as measurement:
        yield measurement


def _daemon_of(mounted: Mounted) -> Daemon:
    assert mounted.daemon is not None
    return mounted.daemon


def _refresh_s(daemon: Daemon) -> float:
    milliseconds = daemon.status()["refresh_ms"]
    assert isinstance(milliseconds, float | int)
    return milliseconds / 1000


def _wait_refreshed(daemon: Daemon) -> None:
    """Wait for the end of the first refresh, which tells how long one takes."""
    deadline = time.monotonic() + PATIENCE_S
    while not _refresh_s(daemon):
        if time.monotonic() > deadline:
            raise BenchmarkError(f"no refresh has ended within {PATIENCE_S:.0f} s")
        time.sleep(_QUIET_INTERVAL_S)


def _inodes(daemon: Daemon) -> int:
    inodes = daemon.status()["inodes"]
    assert isinstance(inodes, int)
    return inodes
