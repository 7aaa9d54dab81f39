"""What readyfs has to reach with a large state, as data, and whether it did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from benchmarks.bars import Finding
from benchmarks.state.changes import CHANGES
from benchmarks.state.results import BY_KEY, MB, StateResults
from benchmarks.state.stores import POSTGRESQL, SQLITE, SQLITE_WAL

_MILLION: Final = 1_000_000
_NEXT_TO_NOTHING: Final = 1e-3


@dataclass(frozen=True, slots=True)
class StateBar:
    """At most `limit` for each of the metrics, in their base units, at one size."""

    wanted: str
    stores: tuple[str, ...]
    metrics: tuple[str, ...]
    size: int
    limit: float

    def judge(self, results: StateResults, store: str) -> Finding | None:
        """Return what was found of the worst of the metrics, or nothing if none was measured."""
        found = [(value, key) for key in self.metrics if (value := results.value(key, store, self.size)) is not None]
        if not found:
            return None
        value, key = max(found)
        metric = BY_KEY[key]
        shown = f"{value / metric.scale:.3g} {metric.unit}"
        figure = f"{shown} ({metric.title})" if len(self.metrics) > 1 else shown
        return Finding(figure, self.limit / max(value, self.limit * _NEXT_TO_NOTHING))


_SQLITE: Final = (SQLITE, SQLITE_WAL)
_ALL: Final = (*_SQLITE, POSTGRESQL)
_FOUND_IN_ALL_ROWS: Final = tuple(
    f"refresh-{key}" for key in ("none", "one", "retry", "thousand", "thousand-newest", "thousand-customer", "deleted")
)
_THOUSAND: Final = tuple(f"visible-{key}" for key in ("thousand", "thousand-newest", "thousand-customer"))
_LOOKUPS: Final = tuple(f"stat-p99-{change.key}" for change in CHANGES)
_OPENS: Final = tuple(f"open-p99-{change.key}" for change in CHANGES)

STATE_BARS: Final = (
    StateBar("1,000,000 partitions ready in 4 s", _SQLITE, ("ready-s",), _MILLION, 4.0),
    StateBar("1,000,000 partitions ready in 6 s", (POSTGRESQL,), ("ready-s",), _MILLION, 6.0),
    StateBar("1,000,000 partitions: daemon at most 200 MB when ready", _ALL, ("ready-rss",), _MILLION, 200 * MB),
    StateBar("1,000,000 partitions: never above 200 MB until then", _ALL, ("ready-peak",), _MILLION, 200 * MB),
    StateBar("10,000,000 partitions ready in 35 s", _ALL, ("ready-s",), 10 * _MILLION, 35.0),
    StateBar("10,000,000 partitions: daemon at most 1.5 GB when ready", _ALL, ("ready-rss",), 10 * _MILLION, 1500 * MB),
    StateBar("10,000,000 partitions: never above 1.5 GB until then", _ALL, ("ready-peak",), 10 * _MILLION, 1500 * MB),
    StateBar("a quiet refresh of 1,000,000: 5 ms of CPU", _ALL, ("quiet-cpu",), _MILLION, 0.005),
    StateBar("1,000 changes in 1,000,000 visible within 150 ms", (POSTGRESQL,), _THOUSAND, _MILLION, 0.15),
    StateBar("a refresh that compares 1,000,000 rows: 1.5 s", _SQLITE, _FOUND_IN_ALL_ROWS, _MILLION, 1.5),
    StateBar("stat during a refresh of 1,000,000: p99 10 ms", _ALL, _LOOKUPS, _MILLION, 0.01),
    StateBar("open during a refresh of 1,000,000: p99 10 ms", _ALL, _OPENS, _MILLION, 0.01),
    StateBar("find over 1,000,000: 150 bytes more for each inode", _ALL, ("find-bytes",), _MILLION, 150.0),
    StateBar("back within 20 MB once the kernel has forgotten", _ALL, ("forgotten-more",), _MILLION, 20 * MB),
)


def verdicts(results: StateResults) -> Iterator[tuple[StateBar, str, Finding]]:
    """Yield each bar that has figures, with the store and what was found."""
    for bar in STATE_BARS:
        for store in bar.stores:
            finding = bar.judge(results, store)
            if finding is not None:
                yield bar, store, finding


def limit_of(metric: str) -> float | None:
    """Return the strictest limit on a metric, at any size."""
    return min((bar.limit for bar in STATE_BARS if metric in bar.metrics), default=None)
