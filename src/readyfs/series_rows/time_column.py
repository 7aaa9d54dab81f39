"""Times as JSON by the column: what `render_time` says of each, several times as quick."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from itertools import repeat
from operator import add, floordiv, mod
from typing import Final

from orjson import dumps

_MINUTE_NS: Final = 60_000_000_000
_FORM: Final = b'"0000-00-00T00:00:00.000000+00:00",'
_MINUTE: Final = (1, 2, 3, 4, 6, 7, 9, 10, 12, 13, 15, 16)
"""Where the digits of the minute lie in it."""
_MICROSECOND: Final = (18, 19, 21, 22, 23, 24, 25, 26)
_LEADING_1: Final = 10 ** len(_MICROSECOND)
_REMEMBERED: Final = 100_000


class _Minutes(dict[int, int]):
    """The digits of minutes as numbers after a 1, by the minutes since the epoch."""

    def __missing__(self, minutes: int) -> int:
        if len(self) > _REMEMBERED:
            self.clear()
        time = datetime.datetime(1970, 1, 1) + datetime.timedelta(minutes=minutes)  # noqa: DTZ001 - UTC all along
        digits = self[minutes] = int(f"1{time.year:04d}{time:%m%d%H%M}")
        return digits


_MINUTES: Final = _Minutes()


def render_times(times: Sequence[int]) -> bytes:
    """Return the JSON of times in nanoseconds since the epoch, with commas between; there is at least one."""
    text = bytearray(_FORM * len(times))
    _fill(text, _MINUTE, list(map(_MINUTES.__getitem__, map(floordiv, times, repeat(_MINUTE_NS)))))
    rests = map(floordiv, map(mod, times, repeat(_MINUTE_NS)), repeat(1000))
    _fill(text, _MICROSECOND, list(map(add, rests, repeat(_LEADING_1))))
    return bytes(text[:-1])


def _fill(text: bytearray, places: Sequence[int], numbers: list[int]) -> None:
    """Write the digits of each number to these places of a text: all numbers have one more, which leads."""
    digits = dumps(numbers)
    for at, place in enumerate(places, 2):  # behind a bracket or a comma, and the first digit
        text[place :: len(_FORM)] = digits[at :: len(places) + 2]
