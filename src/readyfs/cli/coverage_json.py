"""What is there of each series, as JSON objects: what `gaps` says of it, and all dates in ranges."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from readyfs.cli.gaps_text import describe_gaps
from readyfs.consumer.coverage import CELLS, SeriesCoverage
from readyfs.consumer.series_fields import show_date

_RANGE: Final = re.compile(rb"([^\0])\1*", re.DOTALL)


def describe_coverage(one: SeriesCoverage, now_ns: int, criteria: Mapping[str, object]) -> dict[str, object]:
    """Return a series with all its dates as a JSON object."""
    return {
        **describe_gaps(one.gaps, now_ns, criteria),
        "first_date": show_date(one.first) if one.cells else None,
        "last_date": show_date(one.first + len(one.cells) - 1) if one.cells else None,
        "ranges": list(_ranges(one)),
    }


def _ranges(one: SeriesCoverage) -> Iterator[dict[str, object]]:
    """Yield dates in a row that are alike; those of which nothing is expected and nothing is there are left out."""
    for found in _RANGE.finditer(one.cells):
        yield _describe_range(found[1][0], one.first + found.start(), one.first + found.end() - 1)


def _describe_range(code: int, first: int, last: int) -> dict[str, object]:
    cell = CELLS[code]
    return {
        "status": str(cell.status),
        "level": None if cell.level is None else str(cell.level),
        "expected": cell.is_expected if cell.level is None else None,
        "first_date": show_date(first),
        "last_date": show_date(last),
        "dates": last - first + 1,
    }
