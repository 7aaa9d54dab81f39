"""Dates as people write them: loosely, or only their year and month. Which are meant."""

from __future__ import annotations

import calendar
import datetime
import re
from typing import Final

from readyfs.partition import parse_date, render_date

_LOOSE_DATE: Final = re.compile(rb"(\d{4})(?:\D(\d{1,2})\D(\d{1,2})|(\d\d)(\d\d))(?!\d)")
_MONTH: Final = re.compile(rb"(\d{4})-?(\d\d)")


def guess_date(text: bytes) -> int | None:
    """Return the date that a text begins with, although not as YYYY-MM-DD; None if there is none."""
    match = _LOOSE_DATE.match(text)
    if match is None:
        return None
    year, month, day = filter(None, match.groups())
    return parse_date(b"%s-%s-%s" % (year, month.zfill(2), day.zfill(2)))


def explain_month(text: bytes) -> str:
    """Return how the dates of a month are chosen, if a text is one."""
    match = _MONTH.fullmatch(text)
    first = None if match is None else parse_date(b"%s-%s-01" % match.groups())
    if first is None:
        return ""
    last = last_of(first, has_month=True, has_day=False)
    since, until = render_date(first).decode(), render_date(last).decode()
    return f"a date is YYYY-MM-DD; `readyfs ls` has the whole month with --since {since} --until {until}"


def last_of(first: int, *, has_month: bool, has_day: bool) -> int:
    """Return the last date of a day, a month or a year that begins with a date."""
    if has_day:
        return first
    day = datetime.date.fromordinal(first)
    if has_month:
        return first + calendar.monthrange(day.year, day.month)[1] - 1
    return datetime.date(day.year, 12, 31).toordinal()
