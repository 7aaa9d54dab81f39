"""What changed from one catalog to another: the net change of every key, in the order of keys.

What went there and back in between is nothing. A key whose path two ready rows claim is not shown (V13), so it is
retracted when that begins. Series that did not change are never looked into.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from enum import StrEnum
from itertools import compress
from operator import is_not
from typing import Final, NamedTuple

from readyfs.catalog.delta import differing_dates
from readyfs.catalog.series import Series
from readyfs.catalog.tree import Catalog, SeriesGroup
from readyfs.partition import Partition, PartitionKey, SeriesKey


class ChangeKind(StrEnum):
    """What happened to a partition; the value is the word that consumers read."""

    APPEARED = "appeared"
    SWITCHED = "switched"
    TOUCHED = "touched"
    RETRACTED = "retracted"


class Change(NamedTuple):
    """The net change of one key: what is shown now, and what was before; at least one of them is there."""

    key: PartitionKey
    was: Partition | None
    now: Partition | None

    @property
    def kind(self) -> ChangeKind:
        """What happened."""
        if self.was is None:
            return ChangeKind.APPEARED
        if self.now is None:
            return ChangeKind.RETRACTED
        return ChangeKind.TOUCHED if self.was.run_id == self.now.run_id else ChangeKind.SWITCHED


class Difference:
    """What leads from one catalog, or from nothing, to another of the same layout. Never changes once made.

    To make one costs a look at each series that is in either; what differs in them is found as it is asked for.
    """

    def __init__(self, old: Catalog | None, new: Catalog) -> None:
        self.old = old
        self.new = new
        self._series = sorted(_differing_series(old, new))

    def __bool__(self) -> bool:
        return next(self.changes(), None) is not None

    def changes(self, after: PartitionKey | None = None) -> Iterator[Change]:
        """Yield every change in the order of keys, from the first or from behind a key on."""
        begin = 0 if after is None else bisect_left(self._series, after.series)
        for key in self._series[begin:]:
            was, now = _Shown.of(self.old, key), _Shown.of(self.new, key)
            dates = sorted(was.differing(now))
            if after is not None and key == after.series:
                dates = [date for date in dates if date > after.date]
            for date in dates:
                change = Change(PartitionKey(key, date), was.find(date), now.find(date))
                if change.was != change.now:
                    yield change


class _Shown(NamedTuple):
    """What a catalog shows of a series: all but the dates at which another ready row claims the path."""

    series: Series | None
    ambiguous: frozenset[int]

    @classmethod
    def of(cls, catalog: Catalog | None, key: SeriesKey) -> _Shown:
        if catalog is None:
            return _NOTHING
        group = _shared_group(catalog, key)
        return cls(catalog.by_key.get(key), frozenset() if group is None else group.ambiguous)

    def find(self, date: int) -> Partition | None:
        return None if self.series is None or date in self.ambiguous else self.series.find(date)

    def differing(self, other: _Shown) -> Iterable[int]:
        """Return every date at which the two may differ."""
        claimed = self.ambiguous ^ other.ambiguous
        if self.series is None or other.series is None:
            some = self.series or other.series
            return claimed if some is None else claimed.union(some.dates)
        if self.series.digest == other.series.digest:
            return claimed
        return claimed.union(differing_dates(self.series, other.series))


_NOTHING: Final = _Shown(None, frozenset())


def _differing_series(old: Catalog | None, new: Catalog) -> Iterable[SeriesKey]:
    """Return the series that may differ in what is shown of them, those among them that another one claims paths of."""
    if old is None:
        return new.by_key
    before, after = old.by_key, new.by_key
    found: set[SeriesKey] = set()
    appeared = 0
    # Column by column, because most series are the same object in both, and there may be many.
    replaced = compress(after.items(), map(is_not, map(before.get, after), after.values()))
    for key, series in replaced:
        was = before.get(key)
        appeared += was is None
        if was is None or was.digest != series.digest:
            found.add(key)
    if len(before) != len(after) - appeared:
        found.update(before.keys() - after.keys())
    if not new.layout.shows_source:
        for key in list(found):
            for group in (_shared_group(old, key), _shared_group(new, key)):
                found.update(() if group is None else (one.key for one in group.series))
    return found


def _shared_group(catalog: Catalog, key: SeriesKey) -> SeriesGroup | None:
    """Return the series whose paths are those of this one, None if no other series can have them."""
    return None if catalog.layout.shows_source else catalog.tree.group(key)
