"""Loading: from a state store to a catalog, in one blocking call.

Used by the refresh, by the daemon's start and by `readyfs config check`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from readyfs.catalog.build import BuildReport, CatalogBuilder, CatalogShape
from readyfs.catalog.tree import Catalog
from readyfs.errors import AmbiguousPathsError, StateError
from readyfs.partition import WithheldReason, WithheldTally
from readyfs.refresh.emptiness import Emptiness, EmptinessWatch
from readyfs.state.store import StateStore

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A catalog fresh from the state store; `lock_ms` and `left_log` are as in `StateLoad`.

    `emptiness` says why the catalog is empty although the table is not.
    """

    catalog: Catalog
    report: BuildReport
    lock_ms: float
    left_log: bool = False
    emptiness: Emptiness | None = None


class CatalogLoader:
    """Reads the state store and builds catalogs. Blocking; called by one thread at a time."""

    def __init__(
        self,
        store: StateStore,
        shape: CatalogShape,
        wall_ns: Callable[[], int] = time.time_ns,
        emptiness: EmptinessWatch | None = None,
    ) -> None:
        self._store = store
        self._emptiness = emptiness
        self._builder = CatalogBuilder(shape)
        self._wall_ns = wall_ns
        self._token: Hashable | None = None
        self._expected = False
        self.is_busy = False
        """Whether a call is inside the state store; while it is, nobody else may touch the store."""

    def load_first(self) -> Loaded:
        """Load the catalog to start with.

        Raises `StateError`, or `AmbiguousPathsError` if two ready rows claim one path (V13).
        """
        loaded = self._load(None)
        if loaded.report.withheld.counts.get(WithheldReason.AMBIGUOUS_PATH):
            first = next(e for e in loaded.report.withheld.examples if e.reason is WithheldReason.AMBIGUOUS_PATH)
            raise AmbiguousPathsError(
                f"path {first.subject} is {first.detail}",
                "choose one source with --source NAME, or show it in the path with "
                "--layout '{source}/{customer_id}/{query_name}/{logical_date}', or mend the rows",
            )
        return loaded

    def load_if_changed(self, previous: Catalog, *, force: bool) -> Loaded | None:
        """Load the state unless a probe shows that it is as it was; raise `StateError` on an outage.

        With `force` it is loaded anyway, and no change is missed, whatever the store relies on otherwise. `previous` is
        the catalog in force, which is not what was loaded last while that is held back.
        """
        if not force and self._token is not None and self._inside_store(self._store.probe) == self._token:
            return None
        if force and not self._store.is_exact:
            self._expected = True
        return self._load(previous)

    def expect_change(self) -> None:
        """Make the next `load_if_changed` load, whatever the probe says, and everything."""
        self._token = None
        self._expected = True

    def _load(self, previous: Catalog | None) -> Loaded:
        if self._expected:
            self._store.start_over()
        # Until the catalog stands: what the store believes to be known by now may be in none.
        expected, self._expected = self._expected, True
        try:
            load = self._inside_store(self._store.load)
        except StateError:
            # The load is still owed, and the store knows what it knew: only what changed since need be read.
            self._token, self._expected = None, expected
            raise
        catalog, report = self._builder.build(load.series, previous, self._wall_ns(), load.changed)
        withheld = WithheldTally()
        withheld.merge(load.withheld)
        withheld.merge(report.withheld)
        self._token = load.token
        self._expected = False
        emptiness = None
        if self._emptiness is not None:
            explain = partial(self._emptiness.explain, catalog.partitions, load.rows, withheld)
            emptiness = self._inside_store(explain)
        return Loaded(catalog, replace(report, withheld=withheld), load.lock_ms, load.left_log, emptiness)

    def _inside_store(self, call: Callable[[], T]) -> T:
        self.is_busy = True
        try:
            return call()
        finally:
            self.is_busy = False
