"""Single cells and a few rows for whoever looks at a state store without loading it: what means nothing is left out."""

from __future__ import annotations

from collections.abc import Iterable

from readyfs.partition import NOT_SET, Partition, PartitionKey, SeriesKey
from readyfs.state.filters import Filters
from readyfs.state.rows.parser import Row
from readyfs.state.rows.values import BadValueError, parse_id, parse_logical_date, parse_updated_at


def parse_newest(cell: object) -> int | None:
    """Return an `updated_at` in nanoseconds since the epoch, None for NULL and for what is no time."""
    try:
        parsed = parse_updated_at(cell)
    except BadValueError:
        return None
    return None if parsed == NOT_SET else parsed


def parse_sample(rows: Iterable[Row], filters: Filters) -> list[Partition]:
    """Return the partitions of ready rows, cells in the order of `ROW_FIELDS`: those that the filters admit."""
    found = []
    first, last = filters.date_range
    for source, customer, query, date, _status, run, *_rest in rows:
        try:
            key = SeriesKey(parse_id(source), parse_id(customer), parse_id(query))
            partition = Partition(PartitionKey(key, parse_logical_date(date)), parse_id(run), NOT_SET, NOT_SET, None)
        except BadValueError:
            continue  # withheld by a mount, which counts and reports it
        if filters.admits(key) and first <= partition.key.date <= last:
            found.append(partition)
    return found
