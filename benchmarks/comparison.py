"""Two builds beside each other: what one costs as a multiple of the other, and how far the other is from itself.

The other build is measured twice in every round. It differs from itself only by chance, so a difference between the
builds that is not larger means nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Final, TypeVar

from benchmarks.results import RAW, Measured, Results
from benchmarks.tables import markdown_table
from benchmarks.works import Phase, Work

OTHER: Final = ", other"
AGAIN: Final = ", other again"
THIS: Final = ", this"
"""What ends the keys of the contenders of each build."""
_HEADER: Final = (
    *("way of reading", "ms of", "other", "other again", "this"),
    *("this / other", "other again / other", "lowest to highest"),
)

_MB: Final = 1 << 20

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Spread:
    """The ratios of two contenders, round by round."""

    lowest: float
    median: float
    highest: float


@dataclass(frozen=True, slots=True)
class Row:
    """One way of reading at one work: medians in seconds, of the clock ("wall") or the daemon's processor ("CPU").

    `change` is this build's multiple of the other, `control` the other's of itself. None where nothing was measured.
    """

    way: str
    clock: str
    other_s: float | None
    again_s: float | None
    this_s: float | None
    change: Spread | None
    control: Spread | None


def turn(contenders: Sequence[Item], number: int) -> list[Item]:
    """Return the order of a round: another begins each time, and every second round goes backwards."""
    start = number % len(contenders)
    order = [*contenders[start:], *contenders[:start]]
    return order[::-1] if number % 2 else order


def rows_of(results: Results, work: Work, phase: Phase, ways: Sequence[str]) -> Iterator[Row]:
    """Yield two rows for each way of reading that was measured of any build, and one of the raw tree."""
    row = results.times.get(work.key, {}).get(phase, {})
    if RAW in row:
        yield Row("raw tree", "wall", None, None, row[RAW].median_s, None, None)
    for way in ways:
        builds = [row.get(f"{way}{build}") for build in (OTHER, AGAIN, THIS)]
        if any(builds):
            yield _row(way, "wall", [one.seconds if one else [] for one in builds])
            yield _row(way, "CPU", [one.cpu_seconds if one else [] for one in builds])


def comparison_lines(results: Results, works: Sequence[Work], ways: Sequence[str]) -> Iterator[str]:
    """Yield a Markdown table for each work and phase."""
    for work in works:
        for phase in results.times.get(work.key, {}):
            yield from ("", f"### {work.title}, {phase.value}", "")
            yield from markdown_table(_HEADER, [_cells(row) for row in rows_of(results, work, phase, ways)])


def memory_lines(results: Results, sites: Sequence[str], ways: Sequence[str]) -> Iterator[str]:
    """Yield a Markdown table of how large the daemons were, each after the work that made it largest."""
    yield from ("", "### Memory of the daemon", "")
    rows = []
    for site in sites:
        for way in ways:
            sizes = [results.largest(site, f"{way}{build}") for build in (OTHER, AGAIN, THIS)]
            rows.append((site, way, *("-" if size is None else f"{size[1]['rss'] / _MB:.1f}" for size in sizes)))
    yield from markdown_table(("world", "way of reading", *(f"{build}, MB" for build in _HEADER[2:5])), rows)


def comparison_document(results: Results, works: Sequence[Work], ways: Sequence[str]) -> dict[str, object]:
    """Return the same as JSON can hold it, with every round."""
    return {
        f"{work.key}, {phase.value}": {
            "rows": [asdict(row) for row in rows_of(results, work, phase, ways)],
            "rounds": {key: _rounds(measured) for key, measured in row.items()},
        }
        for work in works
        for phase, row in results.times.get(work.key, {}).items()
    }


def _rounds(measured: Measured) -> dict[str, list[float]]:
    return {"seconds": measured.seconds, "cpu_seconds": measured.cpu_seconds}


def _row(way: str, clock: str, rounds: Sequence[Sequence[float]]) -> Row:
    other, again, this = rounds
    other_s, again_s, this_s = (median(one) if one else None for one in rounds)
    return Row(way, clock, other_s, again_s, this_s, _spread(this, other), _spread(again, other))


def _spread(ones: Sequence[float], others: Sequence[float]) -> Spread | None:
    """Compare what was measured in the same round; a round in which the other cost nothing says nothing."""
    ratios = [one / other for one, other in zip(ones, others, strict=False) if other]
    return Spread(min(ratios), median(ratios), max(ratios)) if ratios else None


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.way,
        row.clock,
        *("-" if seconds is None else f"{seconds * 1e3:,.1f}" for seconds in (row.other_s, row.again_s, row.this_s)),
        *("-" if spread is None else f"{spread.median:.2f}" for spread in (row.change, row.control)),
        "-" if row.control is None else f"{row.control.lowest:.2f} to {row.control.highest:.2f}",
    )
