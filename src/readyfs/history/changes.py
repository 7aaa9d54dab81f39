"""What differs between two catalogs, by series: what a catalog is, if one knows the one before.

The state after is enough, so nothing of the state before is written down. A whole catalog is what differs from nothing.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from readyfs.catalog.delta import differing_dates
from readyfs.catalog.series import Series
from readyfs.catalog.tree import Catalog
from readyfs.partition import NOT_SET, ChangedDates, SeriesKey
from readyfs.series_rows import Row, SeriesRows
from readyfs.series_rows.blocks import join_blocks
from readyfs.series_rows.columns import Columns

NO_ROWS: Final = Columns.of(())
_SOME_RUN: Final = b"ambiguous"
"""Stands for the runs of rows that claim one date: a catalog does not say which they are."""


@dataclass(frozen=True, slots=True)
class SeriesChange:
    """The rows of a series that differ, and the dates that are gone.

    If `is_whole`, these rows and ambiguous dates are all that there is of the series. Only then has it ambiguous dates.
    """

    key: SeriesKey
    rows: Columns
    gone: array[int]
    ambiguous: array[int]
    is_whole: bool


def find_changes(old: Catalog | None, new: Catalog, changed: ChangedDates | None = None) -> Iterator[SeriesChange]:
    """Yield what leads from one catalog to another; `changed` names the dates that may differ, None stands for all."""
    before = {} if old is None else old.by_key
    after = new.by_key
    keys: Iterable[SeriesKey] = changed if changed is not None else [*after, *(before.keys() - after.keys())]
    for key in keys:
        was, now = before.get(key), after.get(key)
        if was is now or (was is not None and now is not None and was.digest == now.digest):
            continue
        if now is None:
            yield SeriesChange(key, NO_ROWS, array("i"), array("i"), True)
        elif was is None or was.ambiguous or now.ambiguous:
            yield SeriesChange(key, join_blocks(now.blocks), array("i"), array("i", now.ambiguous), True)
        else:
            dates = sorted(differing_dates(was, now) if changed is None else changed[key])
            yield _change(now, dates)


class Rows:
    """The rows of one catalog after another, as changes are added to them."""

    def __init__(self) -> None:
        self._whole: dict[SeriesKey, SeriesChange] = {}
        # Patched into the rows at the end: a series may have changed many times.
        self._since: dict[SeriesKey, dict[int, tuple[Columns, int] | None]] = {}

    def add(self, change: SeriesChange) -> None:
        """Add a change; raise `KeyError` if it is to a series that there is not."""
        if change.is_whole:
            self._since.pop(change.key, None)
            self._whole[change.key] = change
            return
        if change.key not in self._whole:
            raise KeyError(change.key)
        since = self._since.setdefault(change.key, {})
        since.update(dict.fromkeys(change.gone))
        since.update((date, (change.rows, index)) for index, date in enumerate(change.rows.dates))

    def by_series(self) -> dict[SeriesKey, SeriesRows]:
        """Return the rows as a state store would hand them over."""
        found = {key: self._rows(change) for key, change in self._whole.items()}
        return {key: rows for key, rows in found.items() if len(rows)}

    def _rows(self, change: SeriesChange) -> SeriesRows:
        rows = SeriesRows.of_columns(change.rows, True)
        since = self._since.get(change.key)
        if since:
            came = sorted((date, place) for date, place in since.items() if place is not None)
            gone = {date for date, place in since.items() if place is None}
            rows = rows.patched(SeriesRows.of(columns.row(index) for _, (columns, index) in came), gone)
        if change.ambiguous:
            claims = [(date, _SOME_RUN, NOT_SET, NOT_SET, None) for date in change.ambiguous]
            rows = SeriesRows.of([*rows.columns, *claims, *claims])
        return rows


def _change(now: Series, dates: Iterable[int]) -> SeriesChange:
    rows: list[Row] = []
    gone = array("i")
    for date in dates:
        row = now.row(date)
        if row is None:
            gone.append(date)
        else:
            rows.append(row)
    return SeriesChange(now.key, Columns.of(rows), gone, array("i"), False)
