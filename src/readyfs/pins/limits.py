"""How long pins last, and how many there may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from readyfs.duration import render_duration
from readyfs.errors import UsageError

RECENT_S: Final = 300.0
"""A view that was opened within this time does not end with its lease, but goes on up to the lease's maximum."""
TOMBSTONE_S: Final = 7 * 86400.0
MAX_TOMBSTONES: Final = 250
"""Of one user, so that nobody can have those of others forgotten."""
MAX_PINS: Final = 10_000
"""Of all users together."""
MIN_LEASE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings of pins: durations in seconds, `per_user` pins of one user, and `memory` bytes for all catalogs."""

    default_s: float
    max_s: float
    grace_s: float
    per_user: int
    memory: int

    def check_lease(self, seconds: float | None) -> float:
        """Return how long a lease that was asked for lasts; raise `UsageError` if that is out of bounds."""
        if seconds is None:
            return self.default_s
        if not MIN_LEASE_S <= seconds <= self.max_s:
            raise UsageError(
                f"a lease cannot last {render_duration(seconds)}",
                f"choose one from {render_duration(MIN_LEASE_S)} to {render_duration(self.max_s)} (--pin-max)",
            )
        return seconds
