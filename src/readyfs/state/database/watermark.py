"""Telling what changed in any other database by `updated_at`, because it has no row versions.

Read are the rows of any status whose `updated_at` is at most `OVERLAP_S` older than the newest that was seen, and the
ready rows are counted. What neither shows (a row that was changed and kept its `updated_at`, one of a transaction that
was committed more than the overlap late, a clock set back by more than it; and as many rows that came as went) is found
when everything is compared, which the store does from time to time. A row from the future must not put an end to this,
so that the newest is never later than our own clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from readyfs.partition import ChangedDates, SeriesKey, WithheldExample, WithheldTally
from readyfs.series_rows import SeriesRows
from readyfs.state.database.plan import DatabasePlan
from readyfs.state.filters import Filters
from readyfs.state.rows.comparison import MANY_ODD_ROWS, Comparison, has_null_keys
from readyfs.state.rows.parser import RawKey, Row, RowParser, raw_key
from readyfs.state.rows.values import BadValueError, parse_id, parse_logical_date, parse_updated_at
from readyfs.state.rows.vocabulary import Vocabulary

OVERLAP_S: Final = 300
_OVERLAP_NS: Final = OVERLAP_S * 10**9

_UPDATED_AT: Final = 6


@dataclass(frozen=True, slots=True)
class Remembered:
    """The ready rows of a table as of one load.

    `newest_ns` is the newest `updated_at` seen, None for none. `obstacle` says why the next load has to be whole, if it
    has to. `changed` are the dates that differ from the load before, None for all.
    """

    plan: DatabasePlan
    series: dict[SeriesKey, SeriesRows]
    rows: int
    odd: dict[RawKey, WithheldExample]
    withheld: WithheldTally
    vocabulary: Vocabulary
    newest_ns: int | None
    obstacle: str | None
    changed: ChangedDates | None

    @classmethod
    def of(
        cls, plan: DatabasePlan, chunks: Iterable[list[Row]], ready: str, filters: Filters, now_ns: int
    ) -> Remembered:
        """Return the rows of the whole table; `now_ns` is when they began to be read."""
        vocabulary = Vocabulary(filters)
        parser = RowParser(ready, vocabulary, odd_rows_kept=MANY_ODD_ROWS + 1)
        fetched = 0
        for rows in chunks:
            fetched += len(rows)
            parser.feed(rows)
        series = parser.series()
        newest_ns = max((max(rows.updated_at_ns) for rows in series.values()), default=-1)
        odd_rows = parser.withheld.total()
        if plan.time_type is None:
            obstacle = "updated_at is no column of date and time"
        elif parser.has_duplicates:
            obstacle = "a partition stands twice"
        elif odd_rows != len(parser.odd) or odd_rows > MANY_ODD_ROWS or has_null_keys(parser.odd):
            obstacle = "rows that are withheld cannot be told apart"
        elif parser.rows != fetched:
            obstacle = "the database takes more rows for wanted or ready than the filters and the status say"
        else:
            obstacle = None
        return cls(
            plan=plan,
            series=series,
            rows=parser.rows - odd_rows,
            odd=parser.odd,
            withheld=parser.withheld,
            vocabulary=vocabulary,
            newest_ns=None if newest_ns < 0 else min(newest_ns, now_ns),
            obstacle=obstacle,
            changed=None,
        )

    @property
    def since_ns(self) -> int | None:
        """From which `updated_at` on rows are to be read next; None if nothing was seen."""
        return None if self.newest_ns is None else max(0, self.newest_ns - _OVERLAP_NS)


class Changes:
    """The rows since the watermark, put in order within the transaction and taken over after it."""

    def __init__(self, known: Remembered, chunks: Iterable[list[Row]], total: int, ready: str, now_ns: int) -> None:
        """Take the rows and the number of ready rows; raise `CannotPatchError` if they do not fit what is known."""
        self._known = known
        self._comparison = Comparison(known.series, known.rows, known.odd, known.vocabulary, ready)
        newest_ns = -1
        for rows in chunks:
            self._comparison.drop_odd(map(raw_key, rows))
            self._comparison.parser.feed(rows)
            for row in rows:
                newest_ns = max(newest_ns, _time_of(row))
                self._take_gone(row)
        self._comparison.compare()
        self._comparison.check(total)
        self._newest_ns = known.newest_ns if newest_ns < 0 else min(newest_ns, now_ns)

    def finish(self, plan: DatabasePlan) -> Remembered:
        """Change what is remembered, in place."""
        withheld = self._comparison.finish()
        return Remembered(
            plan=plan,
            series=self._known.series,
            rows=self._comparison.rows,
            odd=self._comparison.odd,
            withheld=withheld,
            vocabulary=self._comparison.vocabulary,
            newest_ns=self._newest_ns,
            obstacle=None,
            changed=self._comparison.changed_dates(),
        )

    def _take_gone(self, row: Row) -> None:
        """Take it that a row is not served unless it was fed and can be: it may be unready by now, or withheld."""
        source, customer, query, date = row[:4]
        try:
            series = parse_id(source), parse_id(customer), parse_id(query)
            ordinal = parse_logical_date(date)
        except BadValueError:
            return  # it was never served
        self._comparison.take_gone(series, ordinal)


def _time_of(row: Row) -> int:
    try:
        return parse_updated_at(row[_UPDATED_AT])
    except BadValueError:
        return -1
