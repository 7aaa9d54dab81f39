"""Looks at runs: which are under way, and which came too early because a run was to be looked at anew meanwhile.

Events are numbered: each says that one run is to be looked at anew. A look counts if it began after the last event of
its run. Used by `runs` alone, whose lock guards it.
"""

from __future__ import annotations

from collections.abc import Iterator

from readyfs.partition import RunKey


class Looks:
    """The number of the last event, those of the runs that it is known for, and how many looks each run has now."""

    def __init__(self) -> None:
        self.event = 0
        """The number of the last event of any run: it dates a look that begins now."""
        self._begun: dict[RunKey, int] = {}
        self._under_way: dict[RunKey, int] = {}

    def __contains__(self, run: RunKey) -> bool:
        return run in self._begun or run in self._under_way

    def __iter__(self) -> Iterator[RunKey]:
        yield from self._begun
        yield from self._under_way

    def begin_anew(self, run: RunKey) -> None:
        """Have all looks at a run count no more that have begun until now."""
        self.event += 1
        self._begun[run] = self.event

    def is_past(self, run: RunKey, event: int) -> bool:
        """Whether a look at a run with this date says nothing of it any more. Needs no lock."""
        return event < self._begun.get(run, 0)

    def forget(self, run: RunKey) -> None:
        """Forget the last event of a run."""
        self._begun.pop(run, None)

    def start(self, run: RunKey) -> int:
        """Note that a look at a run is under way, and return its date."""
        self._under_way[run] = self._under_way.get(run, 0) + 1
        return self.event

    def end(self, run: RunKey) -> None:
        """Note that one is over."""
        left = self._under_way.pop(run) - 1
        if left:
            self._under_way[run] = left
