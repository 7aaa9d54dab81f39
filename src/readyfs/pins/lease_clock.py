"""The clock of leases: a lease is a duration while the daemon runs, and a time of day on disk.

Measured by the clock of ages, a lease goes on while the machine sleeps, and a wall clock that somebody sets neither
ends nor lengthens it. That clock begins anew when the machine boots. So what is on disk is the time of day at which a
lease ends, which is written anew after the wall clock was set.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from readyfs.clock import boottime_s

SET_S: Final = 1.0
"""From which difference on the wall clock was set, and does not merely drift."""

_NS: Final = 1_000_000_000


class LeaseClock:
    """Seconds of the clock of ages, and what time of day they are.

    The difference between the two is kept until `adjust`, so that one end of a lease is always shown as the same time.
    """

    def __init__(self, now_s: Callable[[], float] = boottime_s, wall_ns: Callable[[], int] = time.time_ns) -> None:
        self.now_s = now_s
        self._wall_ns = wall_ns
        self._offset_ns = self._measure()

    def wall_ns(self, at_s: float) -> int:
        """Return the time of day of a moment, in nanoseconds since the epoch."""
        return self._offset_ns + round(at_s * 1000) * 1_000_000

    def from_wall_ns(self, at_ns: int) -> float:
        """Return the moment of a time of day."""
        return (at_ns - self._offset_ns) / _NS

    def adjust(self) -> bool:
        """Follow a wall clock that was set; return whether it was."""
        offset_ns = self._measure()
        if abs(offset_ns - self._offset_ns) < SET_S * _NS:
            return False
        self._offset_ns = offset_ns
        return True

    def _measure(self) -> int:
        return self._wall_ns() - round(self.now_s() * _NS)
