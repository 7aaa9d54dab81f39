"""What was measured: for each work, phase and contender all rounds, and what it cost besides time."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median

from benchmarks.works import WORKS, Phase, Work

RAW = "raw"
"""The contender that all others are compared with."""


@dataclass(slots=True)
class Measured:
    """One contender's rounds of one work in one phase: seconds of the clock, and of processor time.

    `cpu_seconds` is the daemon's, `client_cpu_seconds` that of who does the work.

    The rest is as of the last round: `cached_bytes` is how much the page cache grew, `memory` the daemon's size.
    """

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    client_cpu_seconds: list[float] = field(default_factory=list)
    count: int = 0
    cached_bytes: int = 0
    requests: dict[str, int] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)

    @property
    def median_s(self) -> float:
        """The middle of the rounds."""
        return median(self.seconds)

    @property
    def cpu_s(self) -> float | None:
        """The middle of the rounds of the daemon's processor time, if there is a daemon."""
        return median(self.cpu_seconds) if self.cpu_seconds else None

    @property
    def client_cpu_s(self) -> float | None:
        """The middle of the rounds of the processor time of who did the work."""
        return median(self.client_cpu_seconds) if self.client_cpu_seconds else None


@dataclass(slots=True)
class Latency:
    """How long one operation took, in seconds."""

    operations: int
    median_s: float
    p99_s: float
    max_s: float


@dataclass(slots=True)
class RefreshResult:
    """One contender on one changing site.

    `latency` is by when ("idle", "refresh") and operation; `refresh_s` from the order to the last notification,
    `visible_s` from the commit of one change to its being seen.
    """

    latency: dict[str, dict[str, Latency]] = field(default_factory=dict)
    changes: int = 0
    refresh_s: list[float] = field(default_factory=list)
    visible_s: list[float] = field(default_factory=list)
    cpu_s: float | None = None
    memory: dict[str, int] = field(default_factory=dict)
    requests: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Results:
    """Everything that was measured, and whatever could not be.

    `times` is by work, phase and contender; `refreshes` by site and contender; `missing` names who was not measured
    and why, `failures` what went wrong.
    """

    times: dict[str, dict[Phase, dict[str, Measured]]] = field(default_factory=dict)
    refreshes: dict[str, dict[str, RefreshResult]] = field(default_factory=dict)
    choices: dict[str, dict[str, str]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def measured(self, work: str, phase: Phase, contender: str) -> Measured:
        """Return the place for one contender's rounds, made if there is none."""
        row = self.times.setdefault(work, {}).setdefault(phase, {})
        return row.setdefault(contender, Measured())

    def median_s(self, work: str, phase: Phase, contender: str) -> float | None:
        """Return a median, or nothing where nothing was measured."""
        found = self.times.get(work, {}).get(phase, {}).get(contender)
        return found.median_s if found is not None and found.seconds else None

    def cpu_s(self, work: str, phase: Phase, contender: str) -> float | None:
        """Return the median of the daemon's processor time, or nothing where nothing was measured."""
        found = self.times.get(work, {}).get(phase, {}).get(contender)
        return found.cpu_s if found is not None else None

    def largest(self, site: str, contender: str) -> tuple[Work, dict[str, int]] | None:
        """Return after which work on a site a daemon was largest, and how large; nothing if it has no daemon."""
        measured = [
            (work, row[contender].memory)
            for work in WORKS
            if work.site == site
            for row in self.times.get(work.key, {}).values()
            if contender in row and row[contender].memory
        ]
        return max(measured, key=lambda one: one[1]["rss"], default=None)

    def ratio(self, work: str, phase: Phase, contender: str) -> float | None:
        """Return a median as a multiple of the raw tree's in the same row."""
        ours, raw = self.median_s(work, phase, contender), self.median_s(work, phase, RAW)
        return None if ours is None or raw is None else ours / raw
