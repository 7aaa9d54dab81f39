"""The phases of a mount's life, for those who ask how it is."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """Where a mount is in its life."""

    SERVING = "serving"
    STOPPING = "stopping"
    DRAINING = "draining"
    """Detached: no path leads to it any more, what is open is served for a while (V5)."""


@dataclass(slots=True)
class Life:
    """The phase of one mount; written by the shutdown alone.

    `drain_until_s` is on the clock of `time.monotonic`; `holders` are those who kept the mount busy when it was asked
    to end, one readable line each.
    """

    phase: Phase = Phase.SERVING
    drain_until_s: float | None = None
    holders: tuple[str, ...] = ()

    def draining_seconds_left(self) -> float | None:
        """Return for how many seconds open files are still served, or None if the mount does not drain."""
        return None if self.drain_until_s is None else max(self.drain_until_s - time.monotonic(), 0.0)
