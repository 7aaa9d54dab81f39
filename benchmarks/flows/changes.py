"""What it costs to tell the changes between two large catalogs, in this process.

`python -m benchmarks.flows.changes` prints the figures alone.
"""

from __future__ import annotations

import gc
import statistics
import time
from typing import Final, NamedTuple

from readyfs.catalog.build import CatalogBuilder, CatalogShape
from readyfs.catalog.tree import Catalog
from readyfs.consumer.changes import Difference
from readyfs.layout import MountLayout, RawLayout
from readyfs.partition import SeriesKey
from readyfs.series_rows import SeriesRows

BAR_S: Final = 0.2
SERIES: Final = 2_000
DATES: Final = 500
DIFFERING: Final = 1_000
ROUNDS: Final = 5
_FIRST: Final = 738_000


class ChangesCost(NamedTuple):
    """Seconds of the processor for all changes between two catalogs, the median of some rounds."""

    partitions: int
    changes: int
    cpu_s: float


def measure_changes(series: int = SERIES, dates: int = DATES, differing: int = DIFFERING) -> ChangesCost:
    """Measure with `series` times `dates` partitions, of which `differing` have another run in the second catalog."""
    old, new = make_catalogs(series, dates, differing)
    gc.freeze()
    costs: list[float] = []
    changes = 0
    for _ in range(ROUNDS):
        began_s = time.process_time()
        changes = sum(1 for _ in Difference(old, new).changes())
        costs.append(time.process_time() - began_s)
    return ChangesCost(new.partitions, changes, statistics.median(costs))


def make_catalogs(series: int, dates: int, differing: int) -> tuple[Catalog, Catalog]:
    """Return two catalogs as a mount has them: the second made from the first, by a refresh of what changed."""
    keys = [
        SeriesKey(b"source", b"customer-%05d" % (number // 10), b"query-%d" % (number % 10)) for number in range(series)
    ]
    days = range(_FIRST, _FIRST + dates)
    rows = {
        key: SeriesRows.of((day, b"2024-06-02T04:05:06.789Z", 10**18 + day, 100, b"v1") for day in days) for key in keys
    }
    builder = CatalogBuilder(CatalogShape(MountLayout.parse(), RawLayout.parse()))
    old, _ = builder.build(rows, None, 1)
    changed: dict[SeriesKey, set[int]] = {}
    for index in range(differing):
        place = index * series * dates // differing
        changed.setdefault(keys[place // dates], set()).add(_FIRST + place % dates)
    for key, some in changed.items():
        patch = SeriesRows.of((day, b"2024-06-03T04:05:06.789Z", 10**18, 101, b"v1") for day in sorted(some))
        rows[key] = rows[key].patched(patch, set())
    new, _ = builder.build(rows, old, 2, changed)
    return old, new


if __name__ == "__main__":
    found = measure_changes()
    verdict = "within" if found.cpu_s <= BAR_S else "above"
    print(
        f"{found.changes:,} changes between catalogs of {found.partitions:,} partitions: {found.cpu_s:.3f} s of CPU, "
        f"{verdict} the bar of {BAR_S} s"
    )
