"""Lets a program believe that the machine slept: CLOCK_BOOTTIME is ahead by a second for each byte of a file."""

import os
import time

_real_clock_gettime = time.clock_gettime


def _clock_gettime(clock: int) -> float:
    slept_s = os.stat(os.environ["SECONDS_ASLEEP"]).st_size if clock == time.CLOCK_BOOTTIME else 0
    return _real_clock_gettime(clock) + slept_s


time.clock_gettime = _clock_gettime
