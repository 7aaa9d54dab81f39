"""When a date has ended, and when it is due: the calendar of lateness.

A change of clocks skips some times of the wall clock and doubles others. They mean what RFC 5545 (3.3.5) says. A
doubled time is the first of the two. A skipped one is told by the offset from before: 02:30 is what is shown as 03:30.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from typing import Final, Protocol

from readyfs.duration import render_duration
from readyfs.errors import UsageError

_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_EPOCH_DATE: Final = _EPOCH.toordinal()
_MICROSECOND: Final = datetime.timedelta(microseconds=1)
_DAY_NS: Final = 86_400 * 10**9
_LAST_DATE: Final = datetime.date.max.toordinal()
_DEADLINE: Final = re.compile(r"([0-9]{1,2}):([0-9]{2})(?:\s*\+\s*([0-9]{1,3})d)?", re.ASCII)
_MOST_DAYS: Final = 366


def parse_zone(name: str) -> datetime.tzinfo:
    """Return the time zone of a name such as `Europe/Berlin`; raise `UsageError` for one that is not known here."""
    if name.upper() in ("UTC", "Z"):
        return datetime.UTC
    # Imported by those who name one.
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise UsageError(
            f"there is no time zone {name!r} on this machine",
            "write a name such as UTC or Europe/Berlin; they come with the package tzdata",
        ) from error


def wall_time_ns(date: int, hour: int, minute: int, zone: datetime.tzinfo) -> int:
    """Return when the clocks of a zone show a time of a date, in nanoseconds since the epoch.

    After the last date that Python knows, days are taken for those of UTC.
    """
    if date > _LAST_DATE:
        return (date - _EPOCH_DATE) * _DAY_NS + (hour * 60 + minute) * 60 * 10**9
    time = datetime.time(hour, minute, tzinfo=zone)  # fold=0, which is the rule of RFC 5545
    return (datetime.datetime.combine(datetime.date.fromordinal(date), time) - _EPOCH) // _MICROSECOND * 1000


def end_ns(date: int, zone: datetime.tzinfo) -> int:
    """Return when a date ended in a zone, in nanoseconds since the epoch: at the midnight after it."""
    return wall_time_ns(date + 1, 0, 0, zone)


def date_of(time_ns: int, zone: datetime.tzinfo) -> int:
    """Return the date on which a time lies in a zone; a time that no date has is taken to the nearest one that has."""
    moment = min(max(time_ns, _FIRST_NS), _LAST_NS)
    return (_EPOCH + datetime.timedelta(microseconds=moment // 1000)).astimezone(zone).toordinal()


_FIRST_NS: Final = (2 - _EPOCH_DATE) * _DAY_NS
_LAST_NS: Final = (_LAST_DATE - 1 - _EPOCH_DATE) * _DAY_NS


def last_ended(now_ns: int, zone: datetime.tzinfo) -> int:
    """Return the newest date that has ended by a time."""
    return Allowance(0.0, zone).last_due(now_ns)


class Deadline(Protocol):
    """A rule that says when a date is due; later dates are never due before earlier ones. `text` says it to people."""

    @property
    def text(self) -> str: ...  # noqa: D102 - the class says it

    def due_ns(self, date: int) -> int:
        """Return when a date is due, in nanoseconds since the epoch; never before it has ended."""
        ...

    def due_again_ns(self, date: int, since_ns: int) -> int:
        """Return when a date is due of which the work began anew at a time; never before `due_ns`."""
        ...

    def last_due(self, now_ns: int) -> int:
        """Return the newest date that is due by a time."""
        ...


@dataclass(frozen=True, slots=True)
class Allowance:
    """So many seconds after the date has ended in a zone."""

    seconds: float
    zone: datetime.tzinfo

    @property
    def text(self) -> str:
        """How it is written."""
        return render_duration(self.seconds)

    def due_ns(self, date: int) -> int:
        """Return the end of the date and the time allowed."""
        return end_ns(date, self.zone) + self._allowed_ns

    def due_again_ns(self, date: int, since_ns: int) -> int:
        """Return the same, counted from the later of the date's end and the new beginning."""
        return max(end_ns(date, self.zone), since_ns) + self._allowed_ns

    def last_due(self, now_ns: int) -> int:
        """Return the newest date that ended long enough ago."""
        return _last_due(self, now_ns - self._allowed_ns, now_ns, self.zone)

    @property
    def _allowed_ns(self) -> int:
        return round(self.seconds * 1000) * 10**6


@dataclass(frozen=True, slots=True)
class TimeOfDay:
    """A time that the clocks of `zone` show, so many days after the date; the date itself ends in `day_zone`."""

    hour: int
    minute: int
    days: int
    zone: datetime.tzinfo
    day_zone: datetime.tzinfo

    @property
    def text(self) -> str:
        """How it is written, and the zone."""
        return f"{self.hour:02}:{self.minute:02}+{self.days}d {self.zone}"

    def due_ns(self, date: int) -> int:
        """Return the time of the day, or the date's end where that comes later."""
        due = wall_time_ns(date + self.days, self.hour, self.minute, self.zone)
        return max(due, end_ns(date, self.day_zone))

    def due_again_ns(self, date: int, since_ns: int) -> int:
        """Return when the day would be due on which the work began anew."""
        return self.due_ns(max(date, date_of(since_ns, self.day_zone)))

    def last_due(self, now_ns: int) -> int:
        """Return the newest date of which the time has come."""
        return _last_due(self, now_ns - (self.days - 1) * _DAY_NS, now_ns, self.zone)


@dataclass(frozen=True, slots=True)
class Earliest:
    """Several deadlines, each of which counts: a date is due at the first of them."""

    deadlines: tuple[Deadline, ...]

    @property
    def text(self) -> str:
        """How they are written."""
        return " or ".join(one.text for one in self.deadlines)

    def due_ns(self, date: int) -> int:
        """Return the first time at which the date is due."""
        return min(one.due_ns(date) for one in self.deadlines)

    def due_again_ns(self, date: int, since_ns: int) -> int:
        """Return the first time at which it is due again."""
        return min(one.due_again_ns(date, since_ns) for one in self.deadlines)

    def last_due(self, now_ns: int) -> int:
        """Return the newest date that is due by any."""
        return max(one.last_due(now_ns) for one in self.deadlines)


def parse_deadline(text: str, zone: datetime.tzinfo, day_zone: datetime.tzinfo) -> TimeOfDay:
    """Return the deadline that `09:00` (on the next day) or `09:00+2d` stands for; raise `UsageError` for others."""
    match = _DEADLINE.fullmatch(text.strip())
    remedy = "write a time of the next day such as 09:00, or of a later one such as 09:00+2d"
    if match is None:
        raise UsageError(f"{text!r} is not a deadline", remedy)
    hour, minute, days = int(match[1]), int(match[2]), int(match[3] or 1)
    if hour > 23 or minute > 59 or not 1 <= days <= _MOST_DAYS:
        raise UsageError(f"the deadline {text!r} is no time of a day after the date", remedy)
    return TimeOfDay(hour, minute, days, zone, day_zone)


def _last_due(deadline: Deadline, near_ns: int, now_ns: int, zone: datetime.tzinfo) -> int:
    """Return the newest date that is due, which is at most some days from the day of `near_ns`."""
    date = date_of(near_ns, zone) + 2
    while deadline.due_ns(date) > now_ns:
        date -= 1
    return date
