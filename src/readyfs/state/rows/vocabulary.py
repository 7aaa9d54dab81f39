"""Numbers for the values that repeat in a state table: series, runs, schema versions, dates and minutes.

Kept by a store from load to load and by a parser for one load. Looking a value up is one dictionary access, which a
whole column of values does without a line of Python in between.
"""

from __future__ import annotations

import datetime
from typing import Final, Generic, TypeVar

from readyfs.partition import SeriesKey
from readyfs.state.filters import Filters
from readyfs.state.rows.values import parse_logical_date

KEPT: Final = 1_000_000
"""So many values are remembered of a kind before that begins anew."""
KEPT_MINUTES: Final = 100_000
"""Those of two months. They are quick to find anew."""

_EPOCH_DAY: Final = datetime.date(1970, 1, 1).toordinal()
_MINUTE_NS: Final = 60 * 1_000_000_000

V = TypeVar("V")


class Numbers(dict[V, int], Generic[V]):
    """Gives each new key the next number; `values_by_number` leads back."""

    def __init__(self) -> None:
        super().__init__()
        self.by_number: list[V] = []

    def __missing__(self, key: V) -> int:
        number = self[key] = len(self.by_number)
        self.by_number.append(key)
        return number


class DateOrdinals(dict[bytes, int]):
    """Ordinals by the text of a date; raises `BadValueError` for a text that is none.

    `has_synonyms` tells whether two texts were of one date, so that two keys of the table may be one partition.
    """

    def __init__(self) -> None:
        super().__init__()
        self._ordinals: set[int] = set()
        self.has_synonyms = False

    def __missing__(self, text: bytes) -> int:
        ordinal = self[text] = parse_logical_date(text)
        self.has_synonyms = self.has_synonyms or ordinal in self._ordinals
        self._ordinals.add(ordinal)
        return ordinal


class Minutes(dict[int, int]):
    """Nanoseconds since the epoch at the beginning of a minute, by its digits as a number after a 1.

    2024-06-02 05:07 is 1202406020507. Raises ValueError for digits that are no minute of the calendar.
    """

    def __missing__(self, digits: int) -> int:
        day, minute = divmod(digits - 10**12, 10_000)
        hour, minute = divmod(minute, 100)
        if hour > 23 or minute > 59:
            raise ValueError("no minute of a day")
        ordinal = datetime.date(day // 10_000, day // 100 % 100, day % 100).toordinal()
        value = self[digits] = ((ordinal - _EPOCH_DAY) * 1440 + hour * 60 + minute) * _MINUTE_NS
        return value


class SeriesNumbers(dict[tuple[bytes, bytes, bytes], int]):
    """Numbers of the series, and whether the filters want them."""

    def __init__(self, filters: Filters) -> None:
        super().__init__()
        self._filters = filters
        self._parts: dict[bytes, bytes] = {}
        self.keys_by_number: list[SeriesKey] = []
        self.admitted = bytearray()

    def __missing__(self, key: tuple[bytes, bytes, bytes]) -> int:
        series = SeriesKey(*(self._parts.setdefault(part, part) for part in key))
        number = self[series] = len(self.keys_by_number)
        self.keys_by_number.append(series)
        self.admitted.append(self._filters.admits(series))
        return number


class Vocabulary:
    """All that a store knows by number. The numbers of series hold for ever, the others for one load."""

    def __init__(self, filters: Filters) -> None:
        self.first_date, self.last_date = filters.date_range
        self.admits_all = filters == Filters()
        self.series = SeriesNumbers(filters)
        self.dates = DateOrdinals()
        self.minutes = Minutes()
        self.runs: Numbers[bytes] = Numbers()
        self.versions: Numbers[bytes | None] = Numbers()

    def prune(self) -> None:
        """Begin anew with what grows for as long as the producer invents new values; only between loads."""
        if len(self.runs) > KEPT:
            self.runs = Numbers()
        if len(self.versions) > KEPT:
            self.versions = Numbers()
        if len(self.dates) > KEPT:
            self.dates = DateOrdinals()
        if len(self.minutes) > KEPT_MINUTES:
            self.minutes = Minutes()
