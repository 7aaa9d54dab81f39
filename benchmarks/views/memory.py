"""What a kept catalog adds to memory: catalogs are built one after the other, as refreshes do, and all are kept.

`python -m benchmarks.views.memory` prints both what Python counts and what the process has more in memory, for the
table of `benchmarks.state`: so many series of 500 dates.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import tracemalloc
from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from random import Random
from typing import Final

from benchmarks.state.shape import DATES, QUERIES
from readyfs.catalog.build import CatalogBuilder, CatalogShape
from readyfs.catalog.memory import memory_added
from readyfs.layout import MountLayout, RawLayout
from readyfs.partition import SeriesKey
from readyfs.series_rows import SeriesRows

FIRST_DAY: Final = 737_425
NEWEST: Final = 5
MB: Final = 1_000_000


class Pattern(StrEnum):
    """Which dates change: the newest of every series, new ones behind these, or as many rows anywhere."""

    NEWEST = "newest"
    APPENDED = "appended"
    SCATTERED = "scattered"


@dataclass(frozen=True, slots=True)
class Added:
    """What each kept catalog added, in bytes, on average: as Python counts, in the process, and as we estimate."""

    pattern: Pattern
    partitions: int
    changed: int
    counted: float
    resident: float
    estimated: float


def measure(pattern: Pattern, series: int, dates: int, catalogs: int) -> Added:
    """Build so many catalogs, one from the other, keep them, and see what they take."""
    rows = make_rows(series, dates)
    builder = CatalogBuilder(CatalogShape(MountLayout.parse(), RawLayout.parse()))
    catalog, _ = builder.build(rows, None, 1)
    kept = [catalog]
    partitions, changed, first, began = catalog.partitions, 0, 0, 0
    random = Random(1)
    for step in range(catalogs + 1):
        if step == 1:
            # The first one makes room for the others, and what is made only once.
            first, began = counted_bytes(), resident_bytes()
        changes = choose(pattern, list(rows), dates, step, random)
        changed = sum(map(len, changes.values()))
        for key, days in changes.items():
            rows[key] = rows[key].patched(SeriesRows.of(new_rows(days, step)), frozenset())
        catalog, _ = builder.build(rows, catalog, step + 2, changes)
        kept.append(catalog)
    del catalog
    gc.collect()
    counted, resident = counted_bytes() - first, resident_bytes() - began
    estimated = memory_added(kept[-2], [kept[-3], kept[-1]])
    return Added(pattern, partitions, changed, counted / catalogs, resident / catalogs, estimated)


def make_rows(series: int, dates: int) -> dict[SeriesKey, SeriesRows]:
    """Return the ready rows of all series, in columns of their own, and with run ids and versions that they share."""
    days = array("i", range(FIRST_DAY, FIRST_DAY + dates))
    runs = [b"2020-%05dT04:10:11.123Z" % day for day in days]
    versions = tuple(b"1" if day < dates // 2 else b"2" for day in range(dates))
    return {
        SeriesKey(b"google_ads", b"%d" % (1_000_000_000 + number // QUERIES), b"query_%02d" % (number % QUERIES)): (
            SeriesRows(
                days[:],
                tuple(iter(runs)),
                array("q", (10**18 + day * 86_400 * 10**9 + number * 1_000 for day in range(dates))),
                array("q", ((number + day) * 7919 % 5000 for day in range(dates))),
                versions,
                is_ordered=True,
            )
        )
        for number in range(series)
    }


def choose(
    pattern: Pattern, keys: Sequence[SeriesKey], dates: int, step: int, random: Random
) -> Mapping[SeriesKey, Sequence[int]]:
    """Return which dates of which series change in a step: five for each series, on average."""
    end = FIRST_DAY + dates
    match pattern:
        case Pattern.NEWEST:
            return dict.fromkeys(keys, range(end - NEWEST, end))
        case Pattern.APPENDED:
            return dict.fromkeys(keys, range(end + step * NEWEST, end + (step + 1) * NEWEST))
        case Pattern.SCATTERED:
            found: defaultdict[SeriesKey, set[int]] = defaultdict(set)
            for place in random.sample(range(len(keys) * dates), len(keys) * NEWEST):
                found[keys[place // dates]].add(FIRST_DAY + place % dates)
            return {key: sorted(days) for key, days in found.items()}


def new_rows(days: Sequence[int], step: int) -> Iterator[tuple[int, bytes, int, int, bytes]]:
    """Yield the rows of these dates as a step leaves them."""
    return ((day, _run(step), 2 * 10**18 + step * 10**9 + day, (day * 31 + step) % 5000, b"2") for day in days)


def counted_bytes() -> int:
    """Return what Python has allocated, 0 while nobody counts."""
    return tracemalloc.get_traced_memory()[0]


def resident_bytes() -> int:
    """Return what the process has in memory, once free memory was given back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096


_RUNS: Final[dict[int, bytes]] = {}


def _run(step: int) -> bytes:
    return _RUNS.setdefault(step, b"2024-%05dT04:10:11.123Z" % step)


def main() -> None:
    """Measure all patterns and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=2_000)
    parser.add_argument("--dates", type=int, default=DATES)
    parser.add_argument("--catalogs", type=int, default=20)
    parser.add_argument("--patterns", nargs="*", type=Pattern, default=list(Pattern))
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    parser.add_argument("--resident-only", action="store_true", help="leave Python's own count out, which costs time")
    arguments = parser.parse_args()
    for pattern in arguments.patterns:
        if not arguments.resident_only:
            tracemalloc.start()
        added = measure(pattern, arguments.series, arguments.dates, arguments.catalogs)
        tracemalloc.stop()
        if arguments.json:
            print(json.dumps(asdict(added)))
            continue
        print(
            f"{added.partitions:,} partitions, {added.changed:,} changed ({pattern}): each kept catalog adds "
            f"{added.counted / MB:.2f} MB counted, {added.resident / MB:.2f} MB resident, "
            f"{added.estimated / MB:.2f} MB estimated",
            flush=True,
        )


if __name__ == "__main__":
    main()
