"""The clock of every age that is promised: it goes on while the machine sleeps.

Waits and time limits are measured by `time.monotonic` and by trio, which stand still then: asleep, nobody could answer.
"""

from __future__ import annotations

import time


def boottime_s() -> float:
    """Return seconds of CLOCK_BOOTTIME (clock_gettime(2)); only differences mean anything."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
