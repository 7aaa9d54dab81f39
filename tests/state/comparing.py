"""A reader that takes in only what a load says has changed, compared with one that has never read before."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from types import TracebackType
from typing import Self, TypeAlias

from readyfs.partition import SeriesKey
from readyfs.series_rows import Row, SeriesRows
from readyfs.state.filters import Filters
from readyfs.state.open import open_state
from readyfs.state.store import StateLoad, StateTable

Contents: TypeAlias = dict[SeriesKey, list[Row]]


def contents_of(series: Mapping[SeriesKey, SeriesRows]) -> Contents:
    """Return series as plain values; rows of the same date in an order of their own."""
    return {key: rows_of(rows) for key, rows in series.items()}


def rows_of(rows: SeriesRows) -> list[Row]:
    """Return rows as plain values."""
    columns = (rows.dates, rows.run_ids, rows.updated_at_ns, rows.record_counts, rows.schema_versions)
    return sorted(zip(*columns, strict=True), key=repr)


class Follower:
    """A store that is kept open, and what a catalog would hold that heeds its `changed`.

    `after` applies to the fresh store that each load is compared with, too.
    """

    def __init__(
        self, url: str, table: StateTable | None = None, filters: Filters | None = None, timeout_s: float = 10
    ) -> None:
        self._arguments = (url, table or StateTable(), filters or Filters(), timeout_s)
        self.store = open_state(*self._arguments)
        self.held: Contents = {}
        self._token: object = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.store.close()

    def fresh(self) -> StateLoad:
        """Load what a store finds that is opened now."""
        with closing(open_state(*self._arguments)) as store:
            return store.load()

    def follow(self) -> StateLoad:
        """Load if a probe sees any reason to, as a refresh does, and take in what changed; return the load."""
        load = self.store.load()
        if load.changed is None:
            self.held = contents_of(load.series)
        else:
            for key, dates in load.changed.items():
                rows = rows_of(load.series.get(key, SeriesRows.of(())))
                left = [row for row in self.held.pop(key, ()) if row[0] not in dates]
                left += [row for row in rows if row[0] in dates]
                if left:
                    self.held[key] = sorted(left, key=repr)
        return load

    def check(self, *, patched: bool | None = None) -> StateLoad:
        """Follow and compare with a fresh store; `patched` says whether reading by changes is expected."""
        probed = self.store.probe()
        if probed is not None and probed == self._token:
            load = None
        else:
            load = self.follow()
            self._token = load.token
        fresh = self.fresh()
        assert self.held == contents_of(fresh.series)
        if load is None:
            assert not patched, "nothing was read"
            return fresh
        assert contents_of(load.series) == contents_of(fresh.series)
        assert (load.withheld.counts, load.rows) == (fresh.withheld.counts, fresh.rows)
        if patched is not None:
            assert (load.changed is not None) == patched, (
                "read by changes" if load.changed is not None else "read whole"
            )
        return load
