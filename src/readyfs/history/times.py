"""The names of moments: a time as ISO 8601 writes it, or `~N` for N catalogs ago.

A time without an offset is UTC, and a date alone is its midnight. Both forms of ISO 8601 are read, with and without
colons, because the patterns of some programs cannot hold one.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from typing import Final

from readyfs.history.moments import Moment

_TIME: Final = re.compile(
    r"(?P<year>\d{4})(?P<dash>-?)(?P<month>\d{2})(?P=dash)(?P<day>\d{2})"
    r"(?:T(?P<hour>\d{2})(?::?(?P<minute>\d{2})(?::?(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?)?"
    r"(?:Z|(?P<sign>[+-])(?P<off_hour>\d{2})(?::?(?P<off_minute>\d{2}))?)?)?",
    re.ASCII,
)
_STEPS: Final = re.compile(r"~(0|[1-9]\d{0,8})", re.ASCII)
_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def parse_time(text: str) -> int | None:
    """Return the nanoseconds since the epoch of a time, or None if the text is none."""
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    part = {name: int(match[name] or 0) for name in ("hour", "minute", "second", "off_hour", "off_minute")}
    if part["off_hour"] > 23 or part["off_minute"] > 59:
        return None
    try:
        year, month, day = int(match["year"]), int(match["month"]), int(match["day"])
        date = datetime.datetime(year, month, day, part["hour"], part["minute"], part["second"], tzinfo=datetime.UTC)
    except ValueError:
        return None
    since = date - _EPOCH
    offset_s = (part["off_hour"] * 60 + part["off_minute"]) * 60 * (-1 if match["sign"] == "-" else 1)
    seconds = since.days * 86400 + since.seconds - offset_s
    return seconds * 1_000_000_000 + int((match["fraction"] or "").ljust(9, "0"))


def parse_steps(text: str) -> int | None:
    """Return the N of `~N`, or None if the text is anything else."""
    match = _STEPS.fullmatch(text)
    return None if match is None else int(match[1])


def find_moment(name: str, moments: Sequence[Moment], now_ns: int) -> Moment | None:
    """Return the moment that a name stands for, None if it is not kept: the one at a time, or N catalogs ago.

    Moments come the oldest first. There is none in the future. A moment that is not kept has no neighbour stand in for
    it. If a clock that was set showed a time twice, the last moment that was in force then is meant.
    """
    if not moments or moments[-1].replaced is not None:
        return None  # what is in force is not known yet
    steps = parse_steps(name)
    if steps is not None:
        return next((moment for moment in moments if moment.steps_to(moments[-1]) == steps), None)
    time_ns = parse_time(name)
    if time_ns is None or time_ns > now_ns:
        return None
    return next((moment for moment in reversed(moments) if moment.was_in_force(time_ns)), None)
