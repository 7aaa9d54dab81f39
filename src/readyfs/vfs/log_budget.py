"""How many lines a flood of like events may write: the first ones of each minute, and one that says there are more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import Enum
from typing import Final

LINES: Final = 1000
WINDOW_S: Final = 60.0


class Verdict(Enum):
    """What becomes of a line."""

    WRITE = "write"
    SAY_THERE_ARE_MORE = "more"
    LEAVE_OUT = "leave out"


class LogBudget:
    """Counts lines; any thread may ask."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._began_s = monotonic()
        self._asked = 0

    def ask(self) -> Verdict:
        """Count one line and return whether it is to be written."""
        with self._lock:
            now_s = self._monotonic()
            if now_s - self._began_s >= WINDOW_S:
                self._began_s, self._asked = now_s, 0
            self._asked += 1
            if self._asked <= LINES:
                return Verdict.WRITE
            return Verdict.SAY_THERE_ARE_MORE if self._asked == LINES + 1 else Verdict.LEAVE_OUT
