"""Series, dates and moments for tests of the calendar, written as people write them."""

from __future__ import annotations

import datetime

from readyfs.consumer.agreement import Agreement, Judge
from readyfs.consumer.cadence import DAILY, Cadence, parse_cadence
from readyfs.consumer.deadline import Allowance, Deadline
from readyfs.partition import NOT_SET, PartitionStatus, SeriesKey, WithheldReason
from readyfs.state.reader import SeriesDays, StateRow

SERIES = SeriesKey(b"ads", b"c1", b"q1")
UTC = datetime.UTC


def day(text: str) -> int:
    """Return the ordinal of a date; `06-10` is one of 2024."""
    return datetime.date.fromisoformat(text if len(text) > 5 else f"2024-{text}").toordinal()


def instant(text: str) -> int:
    """Return nanoseconds since the epoch; `06-10T12:00` is a time of 2024 in UTC."""
    moment = datetime.datetime.fromisoformat(text if text[4:5] == "-" else f"2024-{text}")
    return round(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()) * 10**9


def between(first: str, last: str, *but: str) -> list[int]:
    """Return all dates between two, without some."""
    return [date for date in range(day(first), day(last) + 1) if date not in map(day, but)]


def hours(number: float) -> Allowance:
    """Return an allowance after the end of the date in UTC."""
    return Allowance(number * 3600.0, UTC)


def row(
    date: str | None,
    status: PartitionStatus,
    updated_at: str | None = None,
    *,
    series: SeriesKey = SERIES,
    message: str | None = None,
    withheld: WithheldReason | None = None,
) -> StateRow:
    return StateRow(
        series=series,
        date=None if date is None else day(date),
        status=status,
        word=str(status),
        run_id=b"r1",
        updated_at_ns=NOT_SET if updated_at is None else instant(updated_at),
        record_count=NOT_SET,
        schema_version=None,
        error_message=message,
        attempt_count=NOT_SET,
        withheld=withheld,
    )


def days_of(ready: list[int], *rows: StateRow, series: SeriesKey = SERIES) -> SeriesDays:
    return SeriesDays(series, ready, sorted(rows, key=lambda one: one.date or 0), instant("06-10T06:00"))


def judge(
    now: str = "06-12T12:00",
    *,
    cadence: str | None = "daily",
    warn: Deadline | None = None,
    error: Deadline | None = None,
    reprocessing: Deadline | None = None,
    since: str | None = None,
    first: str | None = None,
    last: str | None = None,
    zone: datetime.tzinfo = UTC,
) -> Judge:
    """Return a judge at a moment; where no deadline is given, 24 hours are worth a warning and 36 an alarm."""
    stated: Cadence | None = None if cadence is None else DAILY if cadence == "daily" else parse_cadence(cadence)
    if warn is None and error is None:
        warn, error = Allowance(86_400.0, zone), Allowance(129_600.0, zone)
    begin, start, end = (None if text is None else day(text) for text in (since, first, last))
    agreed = Agreement(zone, stated, warn, error, reprocessing, since=begin, first=start, last=end)
    return Judge(agreed, instant(now))
