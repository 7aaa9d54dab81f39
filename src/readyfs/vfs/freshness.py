"""How old the catalog in force is (V11): written by the refresh, read by status, xattrs and the root's answers."""

from __future__ import annotations

import time
from collections.abc import Callable

from readyfs.clock import boottime_s
from readyfs.errors import StaleCatalogError


class Freshness:
    """Age of the last successful probe or load, and whether it passed `--max-staleness`.

    One writer, the refresh; readers see either the old or the new values, which both are true answers.
    `can_go_stale` says whether there is such a limit; `now_s` gives seconds by the clock of ages, `wall_ns` nanoseconds
    since the epoch.
    """

    def __init__(
        self,
        now_s: Callable[[], float] = boottime_s,
        wall_ns: Callable[[], int] = time.time_ns,
        *,
        can_go_stale: bool = False,
    ) -> None:
        self.can_go_stale = can_go_stale
        self.now_s = now_s
        self._wall_ns = wall_ns
        self._good: tuple[float, int] | None = None
        self.stale = False

    def start(self) -> tuple[float, int]:
        """Return the present moment, to be handed to `succeeded` if the attempt that begins now succeeds."""
        return self.now_s(), self._wall_ns()

    def succeeded(self, started: tuple[float, int]) -> None:
        """Note that an attempt which began at `started` saw the state."""
        self._good = started

    def refuse_if_stale(self) -> None:
        """Raise `StaleCatalogError` while the catalog is older than it may be (V11)."""
        if self.stale:
            raise StaleCatalogError

    @property
    def refreshed_at_ns(self) -> int | None:
        """Wall-clock start of the last successful attempt, nanoseconds since the epoch; None before the first."""
        return None if self._good is None else self._good[1]

    def age_s(self) -> float | None:
        """Return seconds since the start of the last successful attempt; None before the first."""
        return None if self._good is None else max(self.now_s() - self._good[0], 0.0)
