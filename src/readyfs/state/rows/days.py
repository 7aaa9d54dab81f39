"""From the rows of a table to what they say of the dates of each series."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter

from readyfs.partition import NOT_SET, PartitionStatus
from readyfs.state.reader import SeriesDays, StateRow


def days_of(rows: Iterable[StateRow]) -> Iterator[SeriesDays]:
    """Yield each series of rows that come series by series, sorted by date; a date that stands twice comes once."""
    for series, some in groupby(rows, key=itemgetter(0)):
        ready = array("i")
        others: list[StateRow] = []
        newest_ns = NOT_SET
        for row in some:
            if row.date is None:
                continue
            if row.status is not PartitionStatus.READY:
                others.append(row)
                continue
            newest_ns = max(newest_ns, row.updated_at_ns)
            if not ready or ready[-1] != row.date:
                ready.append(row.date)
        yield SeriesDays(series, ready, others, newest_ns)
