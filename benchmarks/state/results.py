"""What was measured of the state: one list of numbers for each metric, store and size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from benchmarks.state.changes import CHANGES

MB: Final = 1e6


@dataclass(frozen=True, slots=True)
class Metric:
    """One thing that is measured; a figure divided by `scale` is in `unit`."""

    key: str
    title: str
    theme: str
    unit: str
    scale: float = 1.0
    is_worst: bool = False
    """Whether the worst round counts, and not the median."""


THEMES: Final = {
    "ready": "From start to ready",
    "memory": "Memory",
    "quiet": "A quiet refresh",
    "visible": "From the order to refresh until a change shows",
    "refresh": "From the order to refresh until its last notification",
    "cpu": "Processor time of a refresh",
    "lookups": "Lookups during a refresh",
    "names": "A directory of many names",
    "find": "find over every partition",
}

_CHANGED: Final = [(change.key, change.title) for change in CHANGES]
METRICS: Final = (
    Metric("ready-s", "ready after", "ready", "s"),
    Metric("ready-cpu", "CPU until then", "ready", "s"),
    Metric("ready-rss", "resident when ready", "memory", "MB", MB),
    Metric("ready-peak", "most until then", "memory", "MB", MB),
    Metric("changed-peak", "most during all refreshes", "memory", "MB", MB),
    Metric("quiet-cpu", "CPU of one", "quiet", "ms", 1e-3),
    Metric("quiet-s", "duration of one", "quiet", "ms", 1e-3),
    Metric("idle-cpu", "CPU of a second without one", "quiet", "ms", 1e-3),
    *(Metric(f"visible-{key}", title, "visible", "ms", 1e-3) for key, title in _CHANGED if key != "none"),
    *(Metric(f"refresh-{key}", title, "refresh", "ms", 1e-3) for key, title in _CHANGED),
    *(Metric(f"cpu-{key}", title, "cpu", "ms", 1e-3) for key, title in _CHANGED),
    *(Metric(f"stat-p99-{key}", f"stat, {title}: p99", "lookups", "ms", 1e-3) for key, title in _CHANGED),
    *(Metric(f"stat-max-{key}", f"stat, {title}: longest", "lookups", "ms", 1e-3, True) for key, title in _CHANGED),
    *(Metric(f"open-p99-{key}", f"open, {title}: p99", "lookups", "ms", 1e-3) for key, title in _CHANGED),
    *(Metric(f"open-max-{key}", f"open, {title}: longest", "lookups", "ms", 1e-3, True) for key, title in _CHANGED),
    Metric("stat-p99-idle", "stat, between refreshes: p99", "lookups", "ms", 1e-3),
    Metric("stat-max-idle", "stat, between refreshes: longest", "lookups", "ms", 1e-3, True),
    Metric("open-p99-idle", "open, between refreshes: p99", "lookups", "ms", 1e-3),
    Metric("open-max-idle", "open, between refreshes: longest", "lookups", "ms", 1e-3, True),
    Metric("list-first", "ls, first", "names", "ms", 1e-3),
    Metric("list-again", "ls, again", "names", "ms", 1e-3),
    Metric("list-long-first", "ls -l, first", "names", "ms", 1e-3),
    Metric("list-long-again", "ls -l, again", "names", "ms", 1e-3),
    Metric("find-s", "find, first", "find", "s"),
    Metric("find-inodes", "inodes known after it", "find", "", 1.0),
    Metric("find-bytes", "more memory for each", "find", "bytes"),
    Metric("find-rss", "resident after it", "find", "MB", MB),
    Metric("forgotten-inodes", "inodes known after the kernel has forgotten", "find", ""),
    Metric("forgotten-rss", "resident after the kernel has forgotten", "find", "MB", MB),
    Metric("forgotten-more", "more than before find", "find", "MB", MB),
)
BY_KEY: Final = {metric.key: metric for metric in METRICS}


@dataclass(slots=True)
class StateResults:
    """All figures, in base units (seconds, bytes), and whatever could not be measured."""

    figures: dict[str, dict[str, dict[int, list[float]]]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def note(self, metric: str, store: str, size: int, value: float) -> None:
        """Add one round's figure."""
        by_store = self.figures.setdefault(BY_KEY[metric].key, {})
        by_store.setdefault(store, {}).setdefault(size, []).append(value)

    def value(self, metric: str, store: str, size: int) -> float | None:
        """Return what counts of the rounds, or nothing where nothing was measured."""
        rounds = self.rounds(metric, store, size)
        if not rounds:
            return None
        return max(rounds) if BY_KEY[metric].is_worst else median(rounds)

    def rounds(self, metric: str, store: str, size: int) -> list[float]:
        """Return the figures of all rounds."""
        return self.figures.get(metric, {}).get(store, {}).get(size, [])

    def sizes(self, metric: str) -> list[int]:
        """Return the sizes at which a metric was measured."""
        return sorted({size for by_size in self.figures.get(metric, {}).values() for size in by_size})

    def curves(self, metric: str) -> Iterator[tuple[str, list[tuple[int, float]]]]:
        """Yield for each store the sizes and what counts there."""
        for store, by_size in self.figures.get(metric, {}).items():
            yield store, [(size, value) for size in sorted(by_size) if (value := self.value(metric, store, size))]
