"""The rows of a PostgreSQL table that vanished: which of the remembered ones the table has no more.

A deletion leaves no row version. But it is known by then that every ready row of the table is remembered, or came and
was read: so what a series has more than the table are the rows that vanished. How many these are is counted by series
in one scan, which also sums up their days. The sums tell one or two of them without reading any row; of a series that
lost more, the rows are read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import isqrt
from operator import mul
from typing import Any, Final

from readyfs.partition import SeriesKey
from readyfs.series_rows import SeriesRows
from readyfs.state.postgres.connection import PostgresConnection
from readyfs.state.postgres.memory import feed
from readyfs.state.postgres.plan import TablePlan
from readyfs.state.rows.columns import SEPARATOR, Chunk
from readyfs.state.rows.comparison import NO_ROWS, CannotPatchError, Comparison

MANY_SERIES: Final = 2_000
"""Where rows of more series than this have to be read, reading everything is quicker."""


def take_vanished(connection: PostgresConnection, plan: TablePlan, comparison: Comparison) -> int:
    """Take away the rows that the table has no more; return how many ready rows it has."""
    counts: Counter[tuple[Any, ...]] = Counter()
    days: Counter[tuple[Any, ...]] = Counter()
    squares: Counter[tuple[Any, ...]] = Counter()
    without_days: set[tuple[Any, ...]] = set()
    for leaf in plan.leaves:
        for *parts, count, sum_of_days, sum_of_squares in connection.rows(plan.counts(leaf), plan.parameters):
            series = tuple(parts)
            counts[series] += count
            if sum_of_days is None or sum_of_squares is None:
                without_days.add(series)
            else:
                days[series] += int(sum_of_days)
                squares[series] += int(sum_of_squares)
    odd: Counter[tuple[Any, ...]] = Counter(key[:3] for key in comparison.odd)
    unclear: list[SeriesKey] = []
    for one in comparison.known_keys() | counts.keys() | odd.keys():
        key = SeriesKey(*one)
        rows = comparison.current(key)
        missing = len(rows) + odd[key] - counts[key]
        if not missing:
            continue
        gone = None
        if not counts[key]:
            gone = set(rows.dates)
        elif key not in without_days and not odd[key]:
            gone = _find_missing(rows, missing, days[key], squares[key])
        if gone is None or odd[key]:
            unclear.append(key)
        else:
            comparison.take_away(key, gone)
    _reread(connection, plan, comparison, unclear)
    return counts.total()


def _find_missing(rows: SeriesRows, missing: int, sum_of_days: int, sum_of_squares: int) -> set[int] | None:
    """Return which dates are missing if there are one or two, from the sums over all others; None if there are more."""
    days = [date - 1 for date in rows.dates]
    gone_sum = sum(days) - sum_of_days
    if missing == 1:
        found = {gone_sum}
    elif missing == 2:
        gone_squares = sum(map(mul, days, days)) - sum_of_squares
        # Of two numbers the sum and the sum of squares are known, so their difference is: its square is this.
        square = 2 * gone_squares - gone_sum * gone_sum
        difference = isqrt(max(square, 0))
        found = {(gone_sum - difference) // 2, (gone_sum + difference) // 2}
        if len(found) != missing or sum(found) != gone_sum or sum(map(mul, found, found)) != gone_squares:
            raise CannotPatchError("the days of the rows do not follow from what changed")
    else:
        return None
    gone = {day + 1 for day in found}
    if not all(map(rows.holds, gone)):
        raise CannotPatchError("the days of the rows do not follow from what changed")
    return gone


def _reread(connection: PostgresConnection, plan: TablePlan, comparison: Comparison, keys: list[SeriesKey]) -> None:
    """Take all rows of these series anew."""
    if not keys:
        return
    if len(keys) > MANY_SERIES:
        raise CannotPatchError("rows vanished from too many series")
    columns = list(_columns_of(keys))
    rows = [connection.row(plan.of_series(leaf), (*columns, *plan.parameters)) for leaf in plan.leaves]
    wanted = set(keys)
    comparison.odd = {key: example for key, example in comparison.odd.items() if key[:3] not in wanted}
    parser = comparison.new_parser()
    if not feed(parser, _joined(rows)):
        raise CannotPatchError("a value holds the separator")
    fresh = comparison.take_series(parser)
    for key in keys:
        comparison.replace(key, fresh.pop(key, NO_ROWS))
    if fresh:
        raise CannotPatchError("rows came that were not asked for")


def _columns_of(keys: list[SeriesKey]) -> Iterator[list[str]]:
    try:
        for column in zip(*keys, strict=True):
            yield [part.decode() for part in column]
    except (UnicodeDecodeError, AttributeError) as error:
        raise CannotPatchError("a key is no text") from error


def _joined(rows: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Return chunks of several relations as one."""
    full = [row for row in rows if row[0]]
    if not full:
        return (0, *(b"" for _ in Chunk._fields[1:]))
    columns = zip(*(row[1:] for row in full), strict=True)
    return (sum(row[0] for row in full), *map(SEPARATOR.join, columns))
