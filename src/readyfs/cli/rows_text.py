"""Rows of a state table as people and programs see them: one line of a table, or one object."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from readyfs.cli.table import Column
from readyfs.partition import NOT_SET, PartitionStatus, render_date, render_time
from readyfs.state.reader import StateRow
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
_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "m"))
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
    for row in rows:
        series, updated = row.series, row.updated_at_ns
        yield {
            "source": decode_text(series.source),
            "customer_id": decode_text(series.customer_id),
            "query_name": decode_text(series.query_name),
            "logical_date": None if row.date is None else render_date(row.date).decode(),
            "status": row.status.value,
            "run_id": decode_text(row.run_id) or None,
            "record_count": None if row.record_count == NOT_SET else row.record_count,
            "schema_version": None if row.schema_version is None else decode_text(row.schema_version),
            "updated_at": None if updated == NOT_SET else render_time(updated).decode(),
            "age_seconds": None if updated == NOT_SET else (now_ns - updated) // 1_000_000 / 1000,
            "state_status": row.word or None,
            "attempt_count": None if row.attempt_count == NOT_SET else row.attempt_count,
            "error_message": row.error_message,
            "reason": None if row.withheld is None else row.withheld.value,
            "detail": row.detail or None,
        }


def render_rows(rows: Iterable[StateRow], now_ns: int) -> Iterator[tuple[str, ...]]:
    """Yield the cells of `COLUMNS` for each row."""
    names: tuple[str, ...] = ()
    series = None
    render_age = _age_renderer(now_ns)
    for row in rows:
        if row.series is not series:
            series = row.series
            names = tuple(map(decode_text, series))
        yield (
            row.status.value,
            *names,
            _NONE if row.date is None else render_date(row.date).decode(),
            decode_text(row.run_id) or _NONE,
            _NONE if row.record_count == NOT_SET else str(row.record_count),
            _NONE if row.updated_at_ns == NOT_SET else render_age(row.updated_at_ns),
            row.detail or (row.error_message or "" if row.status is PartitionStatus.FAILED else ""),
        )


def _age_renderer(now_ns: int) -> Callable[[int], str]:
    now_s = now_ns // 10**9

    def render(time_ns: int) -> str:
        """Return an age in its largest unit; of what lies in the future, by a clock that is wrong, `0s`."""
        seconds = now_s - time_ns // 10**9
        for unit, letter in _UNITS:
            if seconds >= unit:
                return f"{seconds // unit}{letter}"
        return f"{max(0, seconds)}s"

    return render
