"""Rows of a state table as people and programs see them: one line of a table, or one object."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import repeat
from operator import floordiv, sub
from typing import Final

from readyfs.cli.table import Block, Column
from readyfs.partition import NOT_SET, PartitionStatus, render_date, render_time
from readyfs.series_rows import SeriesRows
from readyfs.state.reader import SeriesState, StateRow
from readyfs.text import decode_text

_COLOURS: Final = {
    PartitionStatus.READY.value: "green",
    PartitionStatus.PENDING.value: "yellow",
    PartitionStatus.REPROCESSING.value: "yellow",
    PartitionStatus.FAILED.value: "red",
    PartitionStatus.WITHHELD.value: "red",
    PartitionStatus.MISSING.value: "red",
    PartitionStatus.BROKEN.value: "red",
}
_NONE: Final = "-"
_SECOND_NS: Final = 1_000_000_000

COLUMNS: Final = (
    Column("STATUS", colour=lambda word: _COLOURS.get(word, "")),
    Column("SOURCE"),
    Column("CUSTOMER"),
    Column("QUERY"),
    Column("DATE"),
    Column("RUN"),
    Column("RECORDS", is_number=True),
    Column("AGE", is_number=True),
    Column("DETAIL"),
)


def describe_rows(rows: Iterable[StateRow], now_ns: int) -> Iterator[dict[str, object]]:
    """Yield an object for each row; docs/questions.md documents the fields."""
    last, source, customer, query = None, "", "", ""
    for series, date, status, word, run_id, updated, records, version, message, attempts, reason, detail in rows:
        if series is not last:
            last = series
            source, customer, query = map(decode_text, series)
        yield {
            "source": source,
            "customer_id": customer,
            "query_name": query,
            "logical_date": None if date is None else _render_date(date),
            "status": status._value_,
            "run_id": decode_text(run_id) or None,
            "record_count": None if records == NOT_SET else records,
            "schema_version": None if version is None else decode_text(version),
            "updated_at": None if updated == NOT_SET else render_time(updated).decode(),
            "age_seconds": None if updated == NOT_SET else (now_ns - updated) // 1_000_000 / 1000,
            "state_status": word or None,
            "attempt_count": None if attempts == NOT_SET else attempts,
            "error_message": message,
            "reason": None if reason is None else reason.value,
            "detail": detail or None,
        }


def render_rows(rows: Iterable[StateRow], now_ns: int) -> Iterator[tuple[str, ...]]:
    """Yield the cells of `COLUMNS` for each row."""
    now_s = now_ns // 10**9
    last, source, customer, query = None, "", "", ""
    for series, date, status, _word, run_id, updated, records, _version, message, _attempts, _reason, detail in rows:
        if series is not last:
            last = series
            source, customer, query = map(decode_text, series)
        yield (
            status._value_,  # plain text, which a text of a kind of its own is slower than
            source,
            customer,
            query,
            _NONE if date is None else _render_date(date),
            decode_text(run_id) if run_id else _NONE,
            _NONE if records == NOT_SET else str(records),
            _NONE if updated == NOT_SET else _render_age(now_s - updated // 10**9),
            detail or (message or "" if status is PartitionStatus.FAILED else ""),
        )


def render_states(states: Iterable[SeriesState], now_ns: int) -> Iterator[Block]:
    """Yield what `render_rows` yields of all rows of series; those that are ready are rendered by the column."""
    for series, rows, others in states:
        cells: tuple[str | list[str], ...] = (
            PartitionStatus.READY.value,
            *map(decode_text, series),
            list(map(_render_date, rows.dates)),
            decode_runs(rows.run_ids),
            [_NONE if count == NOT_SET else str(count) for count in rows.record_counts],
            _render_ages(list(rows.updated_at_ns), now_ns),
            "",
        )
        yield Block(len(rows), cells, list(zip(places_of(others, rows), render_rows(others, now_ns), strict=True)))


def places_of(others: Iterable[StateRow], rows: SeriesRows) -> Iterator[int]:
    """Yield how many of the rows of a series that are ready stand before each of the others."""
    dates, place = rows.dates, 0
    for other in others:
        place = len(dates) if other.date is None else bisect_right(dates, other.date, place)
        yield place


def decode_runs(run_ids: Sequence[bytes]) -> list[str]:
    """Return run ids as text."""
    runs = b"\0".join(run_ids).decode("utf-8", "backslashreplace").split("\0")
    # A run id that holds a NUL cannot be told from two.
    return runs if len(runs) == len(run_ids) else list(map(decode_text, run_ids))


def _render_ages(times: list[int], now_ns: int) -> list[str]:
    now_s = now_ns // _SECOND_NS
    # Seconds of the clock lie between the two, as for one age: the time is rounded down.
    least_ns = (now_s + 1) * _SECOND_NS - 1
    minutes = list(map(floordiv, map(sub, repeat(least_ns), times), repeat(60 * _SECOND_NS)))
    if minutes and min(minutes) > 0 and NOT_SET not in times:
        return list(map(_render_minutes, minutes))
    return [_NONE if time == NOT_SET else _render_age(now_s - time // _SECOND_NS) for time in times]


@lru_cache(maxsize=65536)
def _render_minutes(minutes: int) -> str:
    return _render_age(60 * minutes)


@lru_cache(maxsize=65536)
def _render_date(date: int) -> str:
    return render_date(date).decode()


def _render_age(seconds: int) -> str:
    """Return an age in its largest unit; of what lies in the future, by a clock that is wrong, `0s`."""
    if seconds >= 86400:
        return f"{seconds // 86400}d"
    if seconds >= 3600:
        return f"{seconds // 3600}h"
    return f"{seconds // 60}m" if seconds >= 60 else f"{max(0, seconds)}s"
