"""What of a catalog lies below a directory: which series, and which of their dates.

In a layout with the date last a directory holds whole series. In any other it may tell parts of the date, and then it
holds of each series the dates that have these parts.
"""

from __future__ import annotations

import datetime
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Final, NamedTuple

from readyfs.catalog.series import Series
from readyfs.catalog.tree import Catalog, Path, SeriesGroup
from readyfs.layout import read_mount_name
from readyfs.partition import NOT_SET, SeriesKey
from readyfs.series_rows.blocks import BLOCK_BITS, join_blocks
from readyfs.series_rows.columns import Columns
from readyfs.template import DateComponent

_DECEMBER: Final = 12


class Rows(NamedTuple):
    """Some rows of a series; or, where they are `ambiguous`, dates that more than one row claims (V13)."""

    key: SeriesKey
    columns: Columns
    ambiguous: bool


@dataclass(frozen=True, slots=True)
class Dates:
    """The dates that have some parts, of which None is any."""

    year: int | None
    month: int | None
    day: int | None

    @classmethod
    def of(cls, parts: Mapping[str, bytes]) -> Dates:
        """Return the dates that have the parts which names tell."""
        year, month, day = (int(parts[part]) if part in parts else None for part in ("year", "month", "day"))
        return cls(year, month, day)

    @property
    def are_a_range(self) -> bool:
        """Whether all dates between the `bounds` are among them."""
        return self.year is not None and (self.month is not None or self.day is None)

    def bounds(self) -> tuple[int, int]:
        """Return the first of the dates, or one before it, and the last, or one after it."""
        if self.year is None:
            return datetime.date.min.toordinal(), datetime.date.max.toordinal()
        if self.month is None:
            return datetime.date(self.year, 1, 1).toordinal(), datetime.date(self.year, _DECEMBER, 31).toordinal()
        first = datetime.date(self.year, self.month, 1).toordinal()
        if self.day is not None:
            return first + self.day - 1, first + self.day - 1
        if self.month == _DECEMBER:
            return first, datetime.date(self.year, _DECEMBER, 31).toordinal()
        return first, datetime.date(self.year, self.month + 1, 1).toordinal() - 1

    def __contains__(self, date: object) -> bool:
        assert isinstance(date, int)
        day = datetime.date.fromordinal(date)
        return self.year in (None, day.year) and self.month in (None, day.month) and self.day in (None, day.day)


@dataclass(frozen=True, slots=True)
class Selection:
    """The groups of series below a directory, in order; `dates` is None where they have all of theirs there."""

    groups: Sequence[SeriesGroup]
    dates: Dates | None

    def rows(self, group: SeriesGroup) -> Iterable[Rows]:
        """Return the rows of a group: series by series in order of their dates, what is ambiguous last."""
        if self.dates is None and len(group.series) == 1 and not group.ambiguous:
            (series,) = group.series  # as most are, and of some catalogs there are very many
            return (Rows(series.key, join_blocks(series.blocks), False),)
        return self._rows(group)

    def _rows(self, group: SeriesGroup) -> Iterator[Rows]:
        ambiguous = group.ambiguous
        for series in group.series:
            columns = self._columns(series)
            if ambiguous and len(group.series) > 1:
                columns = _left(columns, ambiguous)
            if columns:
                yield Rows(series.key, columns, False)
        if ambiguous:
            dates = array("i", sorted(date for date in ambiguous if self.dates is None or date in self.dates))
            if dates:
                yield Rows(group.series[0].key, _nothing_known(dates), True)

    def _columns(self, series: Series) -> Columns:
        if self.dates is None:
            return join_blocks(series.blocks)
        first, last = self.dates.bounds()
        some = tuple(block for block in series.blocks if first >> BLOCK_BITS <= block.number <= last >> BLOCK_BITS)
        columns = join_blocks(some)
        if self.dates.are_a_range:
            return columns.cut(bisect_left(columns.dates, first), bisect_right(columns.dates, last))
        return columns.take([index for index, date in enumerate(columns.dates) if date in self.dates])


def select(catalog: Catalog, path: Path) -> Selection | None:
    """Return what lies below a directory of a catalog, None if there is no such directory."""
    tree = catalog.tree
    if tree.directory(path) is None:
        return None
    if tree.layout.has_date_last:
        return Selection(list(tree.series_groups(path)), None)
    wanted: dict[str, bytes | None] = {}
    parts: dict[str, bytes] = {}
    for name, component in zip(path, tree.layout.components, strict=False):
        if isinstance(component, DateComponent):
            parts |= component.parts_of(name) or {}
        elif component.field is not None:
            wanted[component.field] = read_mount_name(component, name)
    # A component with the whole date tells its parts as well.
    groups = [
        group
        for shown, group in tree.groups.items()
        if not wanted or all(getattr(shown, field) == value for field, value in wanted.items())
    ]
    return Selection(groups, Dates.of(parts) if parts else None)


def _left(columns: Columns, without: Collection[int]) -> Columns:
    return columns.take([index for index, date in enumerate(columns.dates) if date not in without])


def _nothing_known(dates: array[int]) -> Columns:
    """Return rows of which nothing but the date is known."""
    unknown = array("q", repeat(NOT_SET, len(dates)))
    return Columns(dates, (b"",) * len(dates), unknown, unknown, (None,))
