"""A series as a JSON object: the fields of dbt's sources.json where it has one, and ours beside them.

The command line and the daemon of a mount describe series in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from readyfs.consumer.agreement import Agreement, Verdict
from readyfs.consumer.cadence import Cadence
from readyfs.consumer.deadline import Allowance, Deadline
from readyfs.consumer.latest import Latest
from readyfs.partition import NOT_SET, SeriesKey, render_date, render_time
from readyfs.text import decode_text

_PERIODS: Final = (("day", 86_400.0), ("hour", 3600.0), ("minute", 60.0))


def describe_series(
    series: SeriesKey, status: Verdict | None, newest_ns: int, seen_ns: int, criteria: Mapping[str, object]
) -> dict[str, object]:
    """Return which series it is, what is thought of it, and when it was loaded last; `seen_ns` is when that was so."""
    return {
        "unique_id": "/".join(map(decode_text, series)),
        "source": decode_text(series.source),
        "customer_id": decode_text(series.customer_id),
        "query_name": decode_text(series.query_name),
        "status": None if status is None else str(status),
        "max_loaded_at": None if newest_ns == NOT_SET else render_time(newest_ns).decode(),
        "snapshotted_at": render_time(seen_ns).decode(),
        "max_loaded_at_time_ago_in_s": None if newest_ns == NOT_SET else (seen_ns - newest_ns) / 1e9,
        "criteria": criteria,
    }


def describe_latest(latest: Latest, seen_ns: int, criteria: Mapping[str, object]) -> dict[str, object]:
    """Return how far a series has come."""
    return {
        **describe_series(latest.series, latest.status, latest.newest_ns, seen_ns, criteria),
        **describe_cadence(latest.cadence, latest.guessed),
        "newest_date": show_date(latest.newest),
        "expected_date": show_date(latest.expected),
        "behind_dates": latest.behind,
        "complete_until_date": show_date(latest.complete_until),
    }


def describe_criteria(agreement: Agreement) -> dict[str, object]:
    """Return the thresholds as dbt writes them; a time of the day is none of these, and is `deadline`."""
    return {
        "warn_after": _describe_allowance(agreement.warn),
        "error_after": _describe_allowance(agreement.error),
        "deadline": None if agreement.error is None or _is_allowance(agreement.error) else agreement.error.text,
        "day_tz": str(agreement.day_zone),
    }


def describe_cadence(cadence: Cadence | None, guessed: bool) -> dict[str, object]:
    """Return the cadence, and whether it is a guess."""
    return {"cadence": None if cadence is None else cadence.text, "cadence_guessed": guessed}


def show_date(date: int | None) -> str | None:
    """Return a date for JSON."""
    return None if date is None else render_date(date).decode()


def _describe_allowance(deadline: Deadline | None) -> dict[str, object]:
    if not isinstance(deadline, Allowance):
        return {"count": None, "period": None}
    period, seconds = next((one for one in _PERIODS if deadline.seconds % one[1] == 0), _PERIODS[-1])
    count = deadline.seconds / seconds
    return {"count": int(count) if count.is_integer() else count, "period": period}


def _is_allowance(deadline: Deadline) -> bool:
    return isinstance(deadline, Allowance)
