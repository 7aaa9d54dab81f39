"""What readyfs has to reach, and whether it did, in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from benchmarks.contenders import OTHER_BUILD
from benchmarks.results import RAW, Results
from benchmarks.works import Phase

FIRST, AGAIN = Phase.FIRST, Phase.AGAIN
_MB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found for a bar: the figure in words, and how far beyond the bar it is (1.0 is just met)."""

    figure: str
    margin: float

    @property
    def is_met(self) -> bool:
        """Whether the bar is met."""
        return self.margin >= 1

    @property
    def verdict(self) -> str:
        """Met or not met, and by how much."""
        if self.is_met:
            return "met" if self.margin < 1.05 else f"met, {self.margin:.1f} times better than asked"
        return f"**not met**, {1 / self.margin:.2f} times worse than asked"


Judge = Callable[[Results, str], Finding | None]
"""Returns what was found for a contender, or nothing if it was not measured."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One thing that is asked of some contenders."""

    wanted: str
    contenders: tuple[str, ...]
    judge: Judge


def _speed(work: str, phase: Phase, share: float) -> Judge:
    """At least a share of the raw tree's speed."""

    def judge(results: Results, key: str) -> Finding | None:
        ratio = results.ratio(work, phase, key)
        return None if ratio is None else Finding(f"{1 / ratio:.2f} of raw speed", 1 / ratio / share)

    return judge


def _time(work: str, phase: Phase, times: float, than: str = RAW) -> Judge:
    """At most so many times the time that another contender needs."""

    def judge(results: Results, key: str) -> Finding | None:
        ours, theirs = results.median_s(work, phase, key), results.median_s(work, phase, than)
        if ours is None or theirs is None:
            return None
        named = "raw" if than == RAW else than
        shown = f"{ours / theirs:.2f} times {named}" if times >= 1 else f"{theirs / ours:.1f} times faster than {named}"
        return Finding(shown, theirs * times / ours)

    return judge


def _cpu(work: str, phase: Phase, share: float) -> Judge:
    """At most a share of the processor time that the daemon of the other build uses."""

    def judge(results: Results, key: str) -> Finding | None:
        ours, theirs = results.cpu_s(work, phase, key), results.cpu_s(work, phase, OTHER_BUILD)
        if not ours or not theirs:
            return None
        return Finding(f"{ours / theirs:.2f} of the other build's", theirs * share / ours)

    return judge


def _memory(site: str, more_bytes: int) -> Judge:
    """At most so many bytes more than the daemon of the other build, where it is largest."""

    def judge(results: Results, key: str) -> Finding | None:
        ours, theirs = results.largest(site, key), results.largest(site, OTHER_BUILD)
        if ours is None or theirs is None:
            return None
        more = ours[1]["rss"] - theirs[1]["rss"]
        return Finding(f"{more / _MB:+.1f} MB", 1.0 if more <= more_bytes else more_bytes / more)

    return judge


def _rate(work: str, phase: Phase, bytes_per_s: float) -> Judge:
    """At least so many bytes a second."""

    def judge(results: Results, key: str) -> Finding | None:
        seconds = results.median_s(work, phase, key)
        if not seconds:
            return None
        rate = results.times[work][phase][key].count / seconds
        return Finding(f"{rate / 1e9:.2f} GB/s", rate / bytes_per_s)

    return judge


def _no_second_copy(results: Results, key: str) -> Finding | None:
    measured = results.times.get("large", {}).get(FIRST, {}).get(key)
    if measured is None:
        return None
    share = max(measured.cached_bytes, 1) / max(measured.count, 1)
    shown = f"page cache grew by {measured.cached_bytes / _MB:.0f} MB for {measured.count / _MB:.0f} MB read"
    return Finding(shown, 0.05 / share if share > 0.05 else 1.0)


def _refresh_latency(site: str, operation: str, p99_s: float, max_s: float) -> Judge:
    def judge(results: Results, key: str) -> Finding | None:
        found = results.refreshes.get(site, {}).get(key)
        latency = found.latency.get("refresh", {}).get(operation) if found else None
        if latency is None:
            return None
        shown = f"p99 {latency.p99_s * 1e3:.2f} ms, longest {latency.max_s * 1e3:.1f} ms"
        return Finding(shown, min(p99_s / latency.p99_s, max_s / latency.max_s))

    return judge


_PASSTHROUGH: Final = ("passthrough",)
_CACHED: Final = ("cached", "user")
_OPENED: Final = ("opened",)
_DIRECT: Final = (*_OPENED, *_PASSTHROUGH, *_CACHED)
_IN_PYTHON: Final = ("python",)
_ALL: Final = ("pyfuse3", *_DIRECT)

BARS: Final = (
    Bar("large file in sequence, first: 0.9 of raw speed", _PASSTHROUGH, _speed("large", FIRST, 0.9)),
    Bar("large file in sequence, again: 0.9 of raw speed", _DIRECT, _speed("large", AGAIN, 0.9)),
    Bar("large file by mmap, first: 0.9 of raw speed", _PASSTHROUGH, _speed("large-mmap", FIRST, 0.9)),
    Bar("large file by mmap, again: 0.9 of raw speed", _PASSTHROUGH, _speed("large-mmap", AGAIN, 0.9)),
    Bar("8 readers, first: 0.9 of raw speed", _PASSTHROUGH, _speed("large-parallel", FIRST, 0.9)),
    Bar("8 readers, again: 0.9 of raw speed", _PASSTHROUGH, _speed("large-parallel", AGAIN, 0.9)),
    Bar("no second copy in the page cache", _PASSTHROUGH, _no_second_copy),
    Bar("large file in sequence, first: 1 GB/s", _CACHED, _rate("large", FIRST, 1e9)),
    Bar("small files again: raw", _CACHED, _time("small", AGAIN, 1.0)),
    Bar("small files again: 2.5 times raw", (*_OPENED, *_PASSTHROUGH), _time("small", AGAIN, 2.5)),
    Bar("DuckDB again: 1.15 times raw", (*_OPENED, *_CACHED), _time("duckdb", AGAIN, 1.15)),
    Bar("walk and stat again: raw", _DIRECT, _time("walk", AGAIN, 1.0)),
    Bar("find again: raw", _DIRECT, _time("find", AGAIN, 1.0)),
    Bar("du again: raw", _DIRECT, _time("du", AGAIN, 1.0)),
    Bar("walk and stat first: 5 times raw", _DIRECT, _time("walk", FIRST, 5.0)),
    Bar("walk and stat first: a third of the daemon's CPU", _DIRECT, _cpu("walk", FIRST, 1 / 3)),
    Bar("walk and stat first: 0.8 of the daemon's CPU", _IN_PYTHON, _cpu("walk", FIRST, 0.8)),
    Bar("walk and stat first: 4 times faster than bindfs", _DIRECT, _time("walk", FIRST, 0.25, than="bindfs")),
    Bar("small files first: 4 times raw", _DIRECT, _time("small", FIRST, 4.0)),
    Bar("small files first: a quarter of the daemon's CPU", _OPENED, _cpu("small", FIRST, 0.25)),
    Bar("small files that were listed: 1.2 times raw", _OPENED, _time("listed", FIRST, 1.2)),
    Bar(
        "small files that were listed: 0.15 of the daemon's CPU",
        (*_OPENED, *_IN_PYTHON),
        _cpu("listed", FIRST, 0.15),
    ),
    Bar("DuckDB first: 2 times raw", _DIRECT, _time("duckdb", FIRST, 2.0)),
    Bar("DuckDB first: half of the daemon's CPU", _OPENED, _cpu("duckdb", FIRST, 0.5)),
    Bar("Spark first: 1.1 times raw", _DIRECT, _time("spark", FIRST, 1.1)),
    Bar("Spark again: 1.1 times raw", _DIRECT, _time("spark", AGAIN, 1.1)),
    Bar("memory of the daemon: 5 MB more", (*_DIRECT, *_IN_PYTHON), _memory("small", 5 * _MB)),
    Bar(
        "stat while many names change: p99 10 ms, none above 50 ms", _ALL, _refresh_latency("many", "stat", 0.01, 0.05)
    ),
    Bar(
        "open while many names change: p99 10 ms, none above 50 ms", _ALL, _refresh_latency("many", "open", 0.01, 0.05)
    ),
)
