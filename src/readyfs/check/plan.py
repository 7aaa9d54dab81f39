"""What is to be checked: the ready partitions as a mount would show them, and the rows that it would withhold."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from readyfs.catalog.build import CatalogBuilder, CatalogShape
from readyfs.catalog.series import Series
from readyfs.catalog.tree import Catalog
from readyfs.check.view import read_view
from readyfs.partition import Partition, WithheldTally
from readyfs.state.store import StateStore

SLICE_PARTITIONS: Final = 64
"""How many partitions a thread takes at a time."""


class Slice(NamedTuple):
    """Positions `start` to `stop` of a series; `order` counts the partitions of all slices before it."""

    order: int
    series: Series
    start: int
    stop: int
    skipped: frozenset[int]

    def partition(self, place: int) -> Partition | None:
        """Return the partition at a position of the series, or None if its path is ambiguous."""
        partition = self.series.at(place)
        return None if partition.key.date in self.skipped else partition

    def after(self, place: int) -> Slice:
        """Return what is left behind a position."""
        return self._replace(order=self.order + place + 1 - self.start, start=place + 1)


@dataclass(frozen=True, slots=True)
class Plan:
    """A catalog as of one transaction, and what was withheld from it."""

    catalog: Catalog
    withheld: WithheldTally

    def slices(self) -> Iterator[Slice]:
        """Yield every ready partition, series by series."""
        order = 0
        for group in self.catalog.tree.series_groups():
            for series in group.series:
                for start in range(0, len(series), SLICE_PARTITIONS):
                    stop = min(start + SLICE_PARTITIONS, len(series))
                    yield Slice(order, series, start, stop, group.ambiguous)
                    order += stop - start


def make_plan(store: StateStore, shape: CatalogShape) -> Plan:
    """Read the state store once; raise `StateError` if it cannot be read. Ambiguous paths are withheld."""
    rows = store.load()
    catalog, report = CatalogBuilder(shape).build(rows.series, None, time.time_ns())
    withheld = WithheldTally()
    withheld.merge(rows.withheld)
    withheld.merge(report.withheld)
    return Plan(catalog, withheld)


def make_plan_of_view(view: Path, shape: CatalogShape) -> Plan:
    """Read the rows of a view; raise `UsageError` if it is none."""
    rows, withheld = read_view(view)
    catalog, report = CatalogBuilder(shape).build(rows, None, time.time_ns())
    withheld.merge(report.withheld)
    return Plan(catalog, withheld)
