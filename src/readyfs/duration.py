"""Durations as people write them: a number and a unit, such as `500ms`, `10s`, `2m`, `1h`.

A bare number is refused, because half of all readers would take it for the wrong unit.
"""

from __future__ import annotations

import math
import re
from typing import Final

from readyfs.errors import UsageError

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d)", re.ASCII)
_REMEDY: Final = "write a number and a unit such as 500ms, 10s, 2m or 1h"


def parse_duration(text: str, *, minimum_s: float = 0.001, maximum_s: float = 86400.0 * 365) -> float:
    """Return the seconds that a text such as `500ms` or `2m` stands for.

    Raises `UsageError` for anything else, and for a duration outside the bounds (both inclusive).
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text.strip(), re.ASCII):
            raise UsageError(f"the duration {text.strip()} has no unit", f"write {text.strip()}s if seconds are meant")
        raise UsageError(f"{text!r} is not a duration", _REMEDY)
    seconds = float(match.group(1)) * _SECONDS[match.group(2)]
    if not math.isfinite(seconds) or not minimum_s <= seconds <= maximum_s:
        raise UsageError(
            f"the duration {text.strip()} is out of bounds",
            f"choose one from {render_duration(minimum_s)} to {render_duration(maximum_s)}",
        )
    return seconds


def render_duration(seconds: float) -> str:
    """Return the shortest exact text of a duration: the inverse of `parse_duration` down to a millisecond."""
    milliseconds = round(seconds * 1000)
    if milliseconds == 0:
        return "0s"
    for unit, factor in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if milliseconds % factor == 0:
            return f"{milliseconds // factor}{unit}"
    return f"{milliseconds}ms"
