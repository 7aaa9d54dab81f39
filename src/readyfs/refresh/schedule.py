"""When a refresh is due: an interval after the one before began, or backed off while the state cannot be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_BACKOFF_S: Final = 60.0
JITTER: Final = 0.2
"""By which part of itself a backed-off delay is shortened at most, so that many mounts do not ask at once."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When to refresh, in seconds.

    `max_staleness_s` None means to serve the last good catalog for ever. A refresh that takes longer than `patience_s`
    is an outage although it has not failed: nobody knows whether it ever will.
    """

    interval_s: float
    max_staleness_s: float | None = None
    patience_s: float = 30.0

    def next_at(self, last_began: float, now: float, failures: int, jitter: float) -> float:
        """Return when to refresh next, on the clock of `last_began` and `now`.

        After a success that is an interval after the last refresh *began*: a change that is committed just after it has
        read waits one interval at most (V3). After `failures` in a row it is a delay from now that doubles with each,
        less a random part (`jitter`, 0 to 1).
        """
        if not failures:
            return last_began + self.interval_s
        delay_s = min(self.interval_s * 2.0 ** min(failures - 1, 32), max(MAX_BACKOFF_S, self.interval_s))
        return now + delay_s * (1.0 - JITTER * jitter)
