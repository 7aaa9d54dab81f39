"""What a reader of a state must say, by what a mount makes of the same table."""

from __future__ import annotations

from collections import Counter
from contextlib import closing

from readyfs.partition import NOT_SET, PartitionKey, PartitionStatus, WithheldReason
from readyfs.state.filters import Filters
from readyfs.state.open import open_reader, open_state
from readyfs.state.reader import StateRow
from readyfs.state.rows.reading import WAITING
from readyfs.state.store import StateTable
from tests.state.comparing import contents_of

ORDER_OF_NONE = 2**31


def rows_as_a_mount_reads_them(url: str, table: StateTable, filters: Filters | None = None) -> list[StateRow]:
    """Return all rows that a reader gives, checked against a load of the same table and against each other."""
    filters = filters or Filters()
    with closing(open_state(url, table, filters, 10)) as store:
        load = store.load()
        loaded, withheld = contents_of(load.series), dict(load.withheld.counts)
    with closing(open_reader(url, table, filters, 10)) as reader:
        rows = list(reader.rows())
        states = list(reader.by_series())
        days = list(reader.series())
        assert rows == sorted(rows, key=lambda row: (row.series, ORDER_OF_NONE if row.date is None else row.date))
        keys = [state.series for state in states]
        assert keys == sorted(set(keys)), "each series comes once, in order"
        twice = WithheldReason.AMBIGUOUS_PATH
        shown: dict[object, list[object]] = {}
        for row in rows:
            if row.status is PartitionStatus.READY or row.withheld is twice:
                cells = (row.date, row.run_id, row.updated_at_ns, row.record_count, row.schema_version)
                shown.setdefault(row.series, []).append(cells)
        assert {key: sorted(some, key=repr) for key, some in shown.items()} == loaded
        reasons = Counter(row.withheld for row in rows if row.withheld not in (None, twice))
        assert reasons == withheld
        assert [row for state in states for row in state.others] == [
            row for row in rows if row.status is not PartitionStatus.READY
        ]
        for state, day in zip(states, [one for one in days if one.series in keys], strict=True):
            assert (day.series, list(day.ready)) == (state.series, list(state.ready.dates))
            assert list(day.others) == [row for row in state.others if row.date is not None]
            assert day.newest_ns == max(state.ready.updated_at_ns, default=NOT_SET)
        for statuses in (WAITING, WAITING - {PartitionStatus.PENDING}, frozenset(PartitionStatus) - WAITING):
            assert list(reader.rows(statuses)) == [row for row in rows if row.status in statuses]
        for row in [row for row in rows if row.date is not None][::17]:
            assert row.date is not None
            found = reader.find(PartitionKey(row.series, row.date))
            assert sorted(map(repr, found)) == sorted(
                repr(_alone(one)) for one in rows if (one.series, one.date) == (row.series, row.date)
            )
            anywhere = row.series._replace(source=b"")
            found = reader.find(PartitionKey(anywhere, row.date))
            assert sorted(map(repr, found)) == sorted(
                repr(_alone(one)) for one in rows if (one.series[1:], one.date) == (row.series[1:], row.date)
            )
    return rows


def _alone(row: StateRow) -> StateRow:
    """Return a row as it is told by itself: that another one is of its date is no business of a row."""
    if row.withheld is not WithheldReason.AMBIGUOUS_PATH:
        return row
    return row._replace(status=PartitionStatus.READY, withheld=None, detail="")
