"""Which runs to look at before they are asked for: a walk that lists dates in order will ask for the next ones soon.

With an engine that looks on worker threads, a look at a run costs a trip there and back; looking at several on one
trip shares it. As in the kernel's readahead of files, the window opens only while the requests come one after the
other, and doubles as they do.
"""

from __future__ import annotations

from typing import Final

MAX_WINDOW: Final = 32
BUDGET_S: Final = 0.01
"""How long the reader who asked may wait for runs that it did not ask for: on a slow store few are looked at."""


class LookAhead:
    """Follows the listings of runs that were not known yet.

    Called on worker threads without a lock: a race leaves behind a guess that is a little worse, and no more.
    """

    def __init__(self) -> None:
        self._directory: tuple[bytes, ...] | None = None
        self._expected = 0
        self._window = 0

    def window(self, directory: tuple[bytes, ...], index: int) -> int:
        """Return how many dates to look at after the one at `index` of its directory, which was not known yet."""
        follows = directory == self._directory and index == self._expected
        self._window = min(max(self._window * 2, 1), MAX_WINDOW) if follows else 0
        self._directory, self._expected = directory, index + 1
        return self._window

    def advance(self, count: int) -> None:
        """Note how many dates of the window were looked at: the next question is expected behind them."""
        self._expected += count
