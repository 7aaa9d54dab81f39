"""Rows of a state table as people and programs see them: one line of a table, or one object."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, repeat
from typing import Final

from readyfs.cli.table import Cells, Column
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
_UNSET: Final = str(NOT_SET)

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


def render_rows(rows: Iterable[StateRow], now_ns: int) -> Iterator[Cells]:
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


def render_states(states: Iterable[SeriesState], now_ns: int) -> Iterator[Cells]:
    """Return the cells of `COLUMNS` for all rows of each series, by date: column by column, which is quicker."""
    return chain.from_iterable(_render_state(state, now_ns) for state in states)


def _render_state(state: SeriesState, now_ns: int) -> list[Cells]:
    rows = state.ready.columns
    source, customer, query = map(decode_text, state.series)
    counts = list(map(str, rows.record_counts))
    if NOT_SET in rows.record_counts:
        counts = [_NONE if count == _UNSET else count for count in counts]
    now_s = now_ns // 10**9
    hours = [(now_s - updated // 10**9) // 3600 for updated in rows.updated_at_ns]
    if hours and min(hours) >= 1 and NOT_SET not in rows.updated_at_ns:
        ages = list(map(_render_hours, hours))
    else:
        ages = [
            _NONE if updated == NOT_SET else _render_age(now_s - updated // 10**9) for updated in rows.updated_at_ns
        ]
    cells: list[Cells] = list(
        zip(
            repeat(PartitionStatus.READY._value_),
            repeat(source),
            repeat(customer),
            repeat(query),
            map(_render_date, rows.dates),
            _decode_all(rows.run_ids),
            counts,
            ages,
            repeat(""),
            strict=False,
        )
    )
    if not state.others:
        return cells
    found: list[Cells] = []
    begin = 0
    for row, shown in zip(state.others, render_rows(state.others, now_ns), strict=True):
        # A ready row stands before those of its date that are not ready.
        end = len(cells) if row.date is None else bisect_right(rows.dates, row.date, begin)
        found += cells[begin:end]
        found.append(shown)
        begin = end
    return found + cells[begin:]


def _decode_all(values: Sequence[bytes]) -> list[str]:
    """Return texts as `decode_text` does, all of them at once where none holds a line end."""
    found = decode_text(b"\n".join(values)).split("\n")
    return found if len(found) == len(values) else list(map(decode_text, values))


@lru_cache(maxsize=65536)
def _render_hours(hours: int) -> str:
    return _render_age(hours * 3600)


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
