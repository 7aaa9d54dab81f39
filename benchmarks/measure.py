"""Measuring: in every round of a work each contender has its turn on a fresh mount, in an order that turns."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from benchmarks.contenders import Contender, Mounted
from benchmarks.daemons import BenchmarkError, MountError
from benchmarks.results import Results
from benchmarks.sites import Site
from benchmarks.workers import Workers
from benchmarks.works import Phase, Work

SLOW_S: Final = 30.0
"""A contender that has spent so much on a work has no further rounds of it."""


def say(text: str) -> None:
    """Tell whoever waits how far we are."""
    print(text, file=sys.stderr, flush=True)


@dataclass(slots=True)
class Measurement:
    """Measures works on sites and collects the results.

    `quick` does all works of a site on one mount, which is fresh only once, and repeats each but once.
    """

    contenders: Sequence[Contender]
    rounds: int
    quick: bool = False
    results: Results = field(default_factory=Results)
    _dropped: set[str] = field(default_factory=set)

    def measure(self, site: Site, works: Sequence[Work]) -> None:
        """Measure all works of one site; what fails is noted and does not end the rest."""
        os.sync()
        for group in [works] if self.quick else [[work] for work in works]:
            self._measure_group(site, group)

    def _measure_group(self, site: Site, works: Sequence[Work]) -> None:
        spent = dict.fromkeys((contender.key for contender in self.contenders), 0.0)
        counts: dict[str, int] = {}
        with closing(Workers()) as workers:
            for number in range(self.rounds):
                site.warm()
                start = number % len(self.contenders)
                for contender in (*self.contenders[start:], *self.contenders[:start]):
                    if contender.key in self._dropped or spent[contender.key] > SLOW_S:
                        continue
                    try:
                        spent[contender.key] += self._measure_one(site, works, contender, workers, counts)
                    except MountError as error:
                        self._drop(contender, error)
                    except (BenchmarkError, subprocess.SubprocessError, OSError) as error:
                        self._give_up(contender, works, error)
                        spent[contender.key] = float("inf")
        for work in works:
            self._say_row(work)

    def _measure_one(
        self, site: Site, works: Sequence[Work], contender: Contender, workers: Workers, counts: dict[str, int]
    ) -> float:
        spent = 0.0
        with contender.mounted(site) as mounted:
            for work in works:
                if work.key == "spark" and not mounted.is_for_all:
                    self.results.missing[f"{contender.title}, Spark"] = "its mount is open to its user only"
                    continue
                if work.before:
                    workers.prepare(work, mounted)
                if work.cold:
                    site.cool()
                try:
                    spent += self._do(work, contender.key, mounted, workers, counts)
                finally:
                    if work.cold:
                        site.warm()
        return spent

    def _do(self, work: Work, key: str, mounted: Mounted, workers: Workers, counts: dict[str, int]) -> float:
        phases: list[tuple[Phase, int]] = [(Phase.COLD if work.cold else Phase.FIRST, 1)]
        if work.agains:
            phases.append((Phase.AGAIN, 1 if self.quick else work.agains))
        spent = 0.0
        for phase, times in phases:
            daemon = mounted.daemon
            requests = daemon.requests() if daemon else None
            cpu_s = daemon.cpu_s() if daemon else None
            cached = _cached_bytes()
            timings = [workers.run(work, mounted) for _ in range(times)]
            measured = self.results.measured(work.key, phase, key)
            measured.cached_bytes = _cached_bytes() - cached
            measured.seconds.append(median(timing.seconds for timing in timings))
            measured.client_cpu_seconds.append(median(timing.cpu_s for timing in timings))
            measured.count = timings[-1].count
            if daemon:
                assert requests is not None and cpu_s is not None
                measured.cpu_seconds.append((daemon.cpu_s() - cpu_s) / times)
                measured.requests = {name: -(-n // times) for name, n in (daemon.requests() - requests).items()}
                measured.memory = daemon.memory()
            expected = counts.setdefault(work.key, measured.count)
            if any(timing.count != expected for timing in timings):
                raise BenchmarkError(f"did {measured.count} where others did {expected}")
            spent += sum(timing.seconds for timing in timings)
        return spent

    def _drop(self, contender: Contender, error: Exception) -> None:
        """Measure a contender no more: it does not come up as it should."""
        self._dropped.add(contender.key)
        self.results.failures.append(f"{contender.title}: {error}")
        say(f"  {self.results.failures[-1]}")

    def _give_up(self, contender: Contender, works: Sequence[Work], error: Exception) -> None:
        names = ", ".join(work.key for work in works)
        self.results.failures.append(f"{names}: {contender.title}: {error}")
        say(f"  {self.results.failures[-1]}")
        for work in works:
            for row in self.results.times.get(work.key, {}).values():
                row.pop(contender.key, None)

    def _say_row(self, work: Work) -> None:
        for phase, row in self.results.times.get(work.key, {}).items():
            cells = "  ".join(f"{key} {measured.median_s:.3f}" for key, measured in row.items())
            say(f"  {work.title}, {phase.value}: {cells}")


def _cached_bytes() -> int:
    """Return how much of the memory is page cache (proc_meminfo(5))."""
    with open("/proc/meminfo", "rb") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(b"Cached:"))
