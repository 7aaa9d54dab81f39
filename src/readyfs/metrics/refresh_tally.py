"""What the refresh task counts: how refreshes ended, and how long they and the loads among them took."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum

from readyfs.metrics.durations import REFRESH_BOUNDS_NS, Durations


class RefreshOutcome(StrEnum):
    """How a refresh ended: `failed` when the state could not be read, `held_back` when too much would be retracted."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    HELD_BACK = "held_back"


class RefreshTally:
    """Written on the trio loop by the refresh alone, read from any thread."""

    def __init__(self) -> None:
        self.outcomes: Counter[RefreshOutcome] = Counter()
        self.durations = Durations(REFRESH_BOUNDS_NS)
        self.locks = Durations(REFRESH_BOUNDS_NS)
        self.left_logs = 0

    def ended(self, duration_ms: float, outcome: RefreshOutcome) -> None:
        """Count a refresh."""
        self.outcomes[outcome] += 1
        self.durations.note(int(duration_ms * 1e6))

    def loaded(self, lock_ms: float, *, left_log: bool) -> None:
        """Count a load by how long its transaction was open, and one during which a producer closed the database."""
        self.locks.note(int(lock_ms * 1e6))
        self.left_logs += left_log
