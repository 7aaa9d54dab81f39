"""Rows of a state table as people and programs see them: one line of a table, or one object."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import repeat
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
_KEPT_AGES: Final = 100_000

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
    """Yield the cells of `COLUMNS` for all rows of each series, by date: column by column, which is quicker."""
    now_s = now_ns // 10**9
    ages = _Ages()
    for state in states:
        rows = state.ready.columns
        source, customer, query = map(decode_text, state.series)
        seconds = [now_s - updated // 10**9 for updated in rows.updated_at_ns]
        counts: Iterable[str] = map(str, rows.record_counts)
        if NOT_SET in rows.record_counts:
            counts = (_NONE if count == NOT_SET else str(count) for count in rows.record_counts)
        shown_ages: Iterable[str] = map(ages.__getitem__, seconds)
        if NOT_SET in rows.updated_at_ns:
            times = zip(rows.updated_at_ns, seconds, strict=True)
            shown_ages = (_NONE if updated == NOT_SET else ages[age] for updated, age in times)
        ready: Iterable[Cells] = zip(
            repeat(PartitionStatus.READY._value_),
            repeat(source),
            repeat(customer),
            repeat(query),
            map(_render_date, rows.dates),
            map(decode_text, rows.run_ids),
            counts,
            shown_ages,
            repeat(""),
            strict=False,
        )
        if state.others:
            ready = _merge(list(ready), rows.dates, state.others, list(render_rows(state.others, now_ns)))
        yield from ready


def _merge(
    ready: Sequence[Cells], dates: Sequence[int], others: Sequence[StateRow], cells: Sequence[Cells]
) -> Iterator[Cells]:
    """Yield both by date, a ready row first of those of one date that are not ready."""
    begin = 0
    for row, shown in zip(others, cells, strict=True):
        end = len(dates) if row.date is None else bisect_right(dates, row.date, begin)
        yield from ready[begin:end]
        yield shown
        begin = end
    yield from ready[begin:]


class _Ages(dict[int, str]):
    """Ages by their seconds; rows that a pipeline wrote together have few of them."""

    def __missing__(self, seconds: int) -> str:
        if len(self) > _KEPT_AGES:
            self.clear()
        age = self[seconds] = _render_age(seconds)
        return age


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
