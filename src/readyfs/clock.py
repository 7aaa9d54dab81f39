"""The clock of every age that is promised: it goes on while the machine sleeps, and begins anew when it boots.

Waits and time limits are measured by `time.monotonic` and by trio, which stand still then: asleep, nobody could answer.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def boottime_s() -> float:
    """Return seconds of CLOCK_BOOTTIME (clock_gettime(2)); only differences mean anything."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def read_boot_id() -> str:
    """Return what tells one boot of the machine from every other (random(4)); `boottime_s` means nothing across it."""
    return _BOOT_ID.read_text(encoding="ascii").strip()
