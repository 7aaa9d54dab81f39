"""Which part of the state table is served: exact names or globs for the key, an inclusive range for the date."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from readyfs.partition import SeriesKey


def _matches(value: bytes, patterns: Sequence[str]) -> bool:
    if not patterns:
        return True
    text = value.decode("utf-8", "surrogateescape")
    return any(text == pattern or fnmatchcase(text, pattern) for pattern in patterns)


@dataclass(frozen=True, slots=True)
class Filters:
    """Patterns (exact, or globs as in `fnmatch`, case-sensitive) and ordinals, inclusive; nothing set lets all pass."""

    sources: tuple[str, ...] = ()
    customers: tuple[str, ...] = ()
    queries: tuple[str, ...] = ()
    since: int | None = None
    until: int | None = None

    def admits(self, series: SeriesKey) -> bool:
        """Tell whether rows of the series are wanted."""
        return (
            _matches(series.source, self.sources)
            and _matches(series.customer_id, self.customers)
            and _matches(series.query_name, self.queries)
        )

    @property
    def date_range(self) -> tuple[int, int]:
        """The first and last wanted ordinal."""
        return (
            0 if self.since is None else self.since,
            sys.maxsize if self.until is None else self.until,
        )
