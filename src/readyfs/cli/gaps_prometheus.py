"""The gaps of series as gauges of Prometheus: timestamps and counts, of the worst series where all are too many."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from heapq import nsmallest
from typing import Final

from readyfs.consumer.agreement import Judge, Verdict
from readyfs.consumer.deadline import end_ns
from readyfs.consumer.gap_tally import GapTally
from readyfs.consumer.gaps import SeriesGaps
from readyfs.metrics.gauges import Gauge, render_gauges
from readyfs.partition import NOT_SET
from readyfs.text import decode_text

_SERIES: Final = ("source", "customer_id", "query_name")
_LATE: Final = (Verdict.WARN, Verdict.ERROR)


def render_gauges_of(found: Iterable[SeriesGaps], tally: GapTally, judge: Judge, most: int) -> bytes:
    """Return the text exposition of what is late; of more than `most` series, those that are worst."""
    counted = tally.counting(found)
    kept = nsmallest(most, counted, key=lambda one: [-one.count(Verdict.ERROR), -one.count(Verdict.WARN)])
    deque(counted, maxlen=0)  # of no series at all, none was looked at
    return render_gauges([*_per_series(kept, judge), *_totals(tally, len(kept), judge)])


def _per_series(kept: list[SeriesGaps], judge: Judge) -> Iterator[Gauge]:
    zone = judge.agreement.day_zone

    def gauge(name: str, about: str, value: Callable[[SeriesGaps], float | None]) -> Gauge:
        samples = ((_label(one), value(one)) for one in kept)
        return Gauge(name, about, _SERIES, [(labels, number) for labels, number in samples if number is not None])

    def end_of(date: int | None) -> float | None:
        return None if date is None else end_ns(date, zone) / 1e9

    yield Gauge(
        "readyfs_gaps_late_dates",
        "Dates that are not ready for longer than was agreed, by what that is worth.",
        (*_SERIES, "status"),
        [((*_label(one), str(verdict)), one.count(verdict)) for one in kept for verdict in _LATE],
    )
    yield gauge("readyfs_gaps_known_dates", "Dates that are late, and known to be.", lambda one: one.known)
    yield gauge(
        "readyfs_gaps_waiting_dates",
        "Dates that have ended, are not ready and are not late yet.",
        lambda one: one.waiting,
    )
    yield gauge("readyfs_gaps_expected_dates", "Dates that should be ready by now.", lambda one: one.expected)
    yield gauge("readyfs_gaps_ready_dates", "Expected dates that are ready.", lambda one: one.ready)
    yield gauge(
        "readyfs_gaps_newest_date_timestamp_seconds",
        "When the newest ready date ended.",
        lambda one: end_of(one.newest),
    )
    yield gauge(
        "readyfs_gaps_first_late_date_timestamp_seconds",
        "When the first late date ended; no sample where none is late.",
        lambda one: end_of(one.first_gap),
    )
    yield gauge(
        "readyfs_gaps_newest_update_timestamp_seconds",
        "The newest updated_at of a ready row.",
        lambda one: None if one.newest_ns == NOT_SET else one.newest_ns / 1e9,
    )


def _totals(tally: GapTally, kept: int, judge: Judge) -> Iterator[Gauge]:
    plain: tuple[tuple[str, str, float], ...] = (
        ("readyfs_gaps_series", "Series that were looked at.", tally.series),
        (
            "readyfs_gaps_series_left_out",
            "Series that have no samples of their own here, as there are more than the limit.",
            tally.series - kept,
        ),
        ("readyfs_gaps_late_series", "Series of which a date is late.", tally.late_series),
        ("readyfs_gaps_timestamp_seconds", "When all this was so.", judge.now_ns / 1e9),
    )
    for name, about, value in plain:
        yield Gauge(name, about, (), [((), value)])
    yield Gauge(
        "readyfs_gaps_all_late_dates",
        "Late dates of all series, those left out included.",
        ("status",),
        [((str(Verdict.WARN),), tally.warned), ((str(Verdict.ERROR),), tally.alarmed)],
    )


def _label(one: SeriesGaps) -> tuple[str, ...]:
    return tuple(map(decode_text, one.series))
