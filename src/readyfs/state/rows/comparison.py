"""Comparing rows that were read anew with those remembered, and patching the series that differ.

Used by the stores of PostgreSQL and of any other database; SQLite's compares chunks (`sqlite.chunk_memory`). What the
database gives, and how it proves that nothing else changed, is theirs. The values themselves are compared by
`SeriesRows.differing`. Everything is collected first, so that nothing is changed by halves.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from typing import Final

from readyfs.partition import ChangedDates, SeriesKey, WithheldExample, WithheldTally
from readyfs.series_rows import SeriesRows
from readyfs.state.rows.parser import RawKey, RowParser
from readyfs.state.rows.vocabulary import Vocabulary

MANY_ODD_ROWS: Final = 10_000
"""More rows than this that are ready and cannot be served are only counted, and nothing can be patched."""
NULL_IN_KEY: Final = "rows without a key are not told apart"

NO_ROWS: Final = SeriesRows.of(())


class CannotPatchError(Exception):
    """What changed cannot be told; the text says why."""


def has_null_keys(odd: Mapping[RawKey, WithheldExample]) -> bool:
    """Tell whether a withheld row has NULL in its key, of which a unique index lets in as many as come."""
    return any(None in key for key in odd)


class Comparison:
    """Remembered series beside rows that were read anew: `compare` finds those that differ, `finish` patches them.

    `rows` counts the rows that can be served, `odd` has those that are ready and withheld, both as found so far.
    `replaced` are the series that differ, with the rows that they have now; `changed` are the dates at which they do.
    `unremembered` are the dates that came and were not among the rows remembered, whatever they are now, and `unready`
    those that came and are not ready now.
    """

    def __init__(
        self,
        series: dict[SeriesKey, SeriesRows],
        rows: int,
        odd: Mapping[RawKey, WithheldExample],
        vocabulary: Vocabulary,
        ready: str,
    ) -> None:
        vocabulary.prune()
        self.vocabulary = vocabulary
        self.rows = rows
        self.odd: dict[RawKey, WithheldExample] = dict(odd)
        self.replaced: dict[SeriesKey, SeriesRows] = {}
        self.changed: defaultdict[SeriesKey, set[int]] = defaultdict(set)
        self.unready: dict[SeriesKey, set[int]] = {}
        self.unremembered: dict[SeriesKey, set[int]] = {}
        self._series = series
        self._ready = ready
        self._gone: defaultdict[SeriesKey, set[int]] = defaultdict(set)
        self.parser = self.new_parser()
        """Takes the rows that came and are ready, until `compare`."""

    def new_parser(self) -> RowParser:
        """Return a parser for rows of the same table."""
        return RowParser(self._ready, self.vocabulary, odd_rows_kept=MANY_ODD_ROWS + 1)

    def known_keys(self) -> set[tuple[bytes, ...]]:
        """Return the keys of all series that have rows, and of those that lost them."""
        return {*self._series, *self.replaced}

    def current(self, key: SeriesKey) -> SeriesRows:
        """Return the rows of a series as found so far."""
        rows = self.replaced.get(key)
        return self._series.get(key, NO_ROWS) if rows is None else rows

    def drop_odd(self, keys: Iterable[RawKey]) -> None:
        """Take it that these rows are not withheld, before `compare` says which are."""
        for key in keys:
            self.odd.pop(key, None)

    def take_gone(self, series: tuple[bytes, bytes, bytes], date: int) -> None:
        """Take it that this partition is not ready, unless a row that came says that it is."""
        self._gone[self.vocabulary.series.keys_by_number[self.vocabulary.series[series]]].add(date)

    def compare(self) -> None:
        """Compare all that was taken with what is remembered, and keep the series that differ."""
        fresh = self.take_series(self.parser)
        for key in fresh.keys() | self._gone.keys():
            before, came = self.current(key), fresh.get(key, NO_ROWS)
            differing = before.differing(came)
            unready = self._gone[key].difference(came.dates)
            gone = {date for date in unready if before.holds(date)}
            strange = (unready - gone).union(
                date for date in map(came.dates.__getitem__, differing) if not before.holds(date)
            )
            if strange:
                self.unremembered[key] = strange
            if unready:
                self.unready[key] = unready
            if gone or differing:
                self._patch(key, came if len(differing) == len(came) else came.take(differing), gone)

    def take_series(self, parser: RowParser) -> dict[SeriesKey, SeriesRows]:
        """Return the series of what a parser was fed, and take what it withheld."""
        series = parser.series()
        if parser.has_duplicates:
            raise CannotPatchError("a partition stands twice")
        if parser.withheld.total() != len(parser.odd):
            raise CannotPatchError("too many rows are withheld")
        self.odd.update(parser.odd)
        return series

    def replace(self, key: SeriesKey, rows: SeriesRows) -> None:
        """Put these rows in place of all rows of a series."""
        before = self.current(key)
        differing = rows.take(before.differing(rows))
        self._patch(key, differing, set(before.dates).difference(rows.dates))

    def take_away(self, key: SeriesKey, gone: Set[int]) -> None:
        """Take it that these dates of a series, all of which it has, are not ready."""
        self._patch(key, NO_ROWS, gone)

    def _patch(self, key: SeriesKey, rows: SeriesRows, gone: Set[int]) -> None:
        before = self.current(key)
        self.replaced[key] = after = before.patched(rows, gone)
        self.rows += len(after) - len(before)
        self.changed[key].update(rows.dates, gone)

    def check(self, total: int) -> None:
        """Raise `CannotPatchError` if the ready rows are not as many, or their number proves nothing."""
        if self.rows + len(self.odd) != total:
            raise CannotPatchError("the number of rows does not follow from what changed")
        self.check_keys()

    def check_keys(self) -> None:
        """Raise `CannotPatchError` if what was taken cannot be told apart, so that a number of rows proves nothing."""
        if len(self.odd) > MANY_ODD_ROWS:
            raise CannotPatchError("too many rows are withheld")
        if has_null_keys(self.odd):
            raise CannotPatchError(NULL_IN_KEY)
        if self.vocabulary.dates.has_synonyms:
            # The count proves nothing then: one row came where another one was served, and a third one went.
            raise CannotPatchError("two texts mean one date")

    def changed_dates(self) -> ChangedDates:
        """Return the dates at which series differ, in a form that may be kept."""
        return {key: array("i", sorted(dates)) for key, dates in self.changed.items()}

    def finish(self) -> WithheldTally:
        """Patch what is remembered, in place; return the tally of what is withheld."""
        for key, rows in self.replaced.items():
            if len(rows):
                self._series[key] = rows
            else:
                self._series.pop(key, None)
        withheld = WithheldTally()
        for example in self.odd.values():
            withheld.add(*example)
        return withheld
