"""How long things took: counts in a few buckets, cheap enough to be kept for every request."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

REQUEST_BOUNDS_NS: Final = tuple(
    int(milliseconds * 1e6) for milliseconds in (0.02, 0.05, 0.1, 0.25, 1, 5, 25, 100, 500, 2_500, 10_000, 60_000)
)
"""From a request that memory answers to the default of `--raw-timeout`; upper bounds, inclusive."""
REFRESH_BOUNDS_NS: Final = tuple(
    int(seconds * 1e9) for seconds in (0.005, 0.02, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
)
"""From a look that finds nothing new to a load of tens of millions of rows."""

BEGUN: Final = -2
"""Where a `Durations` counts what was begun, ended or not."""


class Durations(list[int]):
    """Counts by bucket, the last one beyond all bounds; behind them how many were begun, and the sum in nanoseconds.

    A list, so that the one thread that writes it can do so in a few cheap steps; any other may read it meanwhile.
    """

    __slots__ = ("bounds_ns",)

    def __init__(self, bounds_ns: Sequence[int]) -> None:
        super().__init__([0] * (len(bounds_ns) + 3))
        self.bounds_ns = bounds_ns

    def note(self, elapsed_ns: int) -> None:
        """Count one that has ended."""
        self[bisect_left(self.bounds_ns, elapsed_ns)] += 1
        self[-1] += elapsed_ns

    def add(self, others: Iterable[Sequence[int]]) -> None:
        """Add what others have counted over the same bounds."""
        for other in others:
            for index, count in enumerate(other):
                self[index] += count

    def describe(self) -> dict[str, object]:
        """Return the counts as plain values, not cumulated, and the sum in seconds."""
        return {"counts": self[:BEGUN], "seconds": self[-1] / 1e9}


def describe_bounds(bounds_ns: Sequence[int]) -> list[float]:
    """Return bounds in seconds."""
    return [bound / 1e9 for bound in bounds_ns]


def describe_all(durations: Mapping[str, Durations]) -> dict[str, object]:
    """Return durations of several kinds as plain values."""
    return {name: one.describe() for name, one in sorted(durations.items())}
