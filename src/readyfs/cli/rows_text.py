"""Rows of a state table as people and programs see them: one line of a table, or one object."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice, repeat
from typing import Final

from readyfs.cli.table import Column
from readyfs.partition import NOT_SET, PartitionStatus, render_date, render_time
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


def render_states(states: Iterable[SeriesState], now_ns: int) -> Iterator[tuple[str, ...]]:
    """Yield what `render_rows` yields of all rows of series; those that are ready are rendered by the column."""
    now_s = now_ns // 10**9
    ready, nothing = repeat(PartitionStatus.READY.value), repeat("")
    for series, rows, others in states:
        names = map(repeat, map(decode_text, series))
        runs = b"\0".join(rows.run_ids).decode("utf-8", "backslashreplace").split("\0")
        cells = zip(
            ready,
            *names,
            map(_render_date, rows.dates),
            # A run id that holds a NUL cannot be told from two.
            runs if len(runs) == len(rows) else map(decode_text, rows.run_ids),
            [_NONE if count == NOT_SET else str(count) for count in rows.record_counts],
            [_NONE if time == NOT_SET else _render_age(now_s - time // 10**9) for time in rows.updated_at_ns],
            nothing,
            strict=False,  # some go on for ever
        )
        if not others:
            yield from cells
            continue
        begin = 0
        for other in others:
            end = len(rows) if other.date is None else bisect_right(rows.dates, other.date, begin)
            yield from islice(cells, end - begin)
            begin = end
            yield from render_rows((other,), now_ns)
        yield from cells


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
