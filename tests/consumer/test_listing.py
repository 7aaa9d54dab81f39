"""Which rows a list shows, and which dates have none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter

import pytest

from readyfs.consumer.cadence import DAILY, parse_cadence
from readyfs.consumer.listing import IN_THE_TABLE, Listing, filters_of, goes_whole, list_partitions, list_series
from readyfs.partition import NOT_SET, Partition, PartitionKey, PartitionStatus, SeriesKey, WithheldReason
from readyfs.state.filters import Filters
from readyfs.state.reader import SeriesDays, SeriesState, StateRow
from readyfs.state.rows.series_state import rows_of, state_of

ONE, TWO = SeriesKey(b"ads", b"001", b"daily"), SeriesKey(b"ads", b"002", b"daily")
READY, FAILED, MISSING, BROKEN, WITHHELD = (
    PartitionStatus.READY,
    PartitionStatus.FAILED,
    PartitionStatus.MISSING,
    PartitionStatus.BROKEN,
    PartitionStatus.WITHHELD,
)
ALL = frozenset(PartitionStatus)


def row(series: SeriesKey, date: int | None, status: PartitionStatus = READY) -> StateRow:
    return StateRow(series, date, status, "", b"r1", NOT_SET, NOT_SET, None, None, NOT_SET)


class Reader:
    """Gives rows, and remembers what was asked for."""

    label = "rows"

    def __init__(self, *rows: StateRow) -> None:
        self._rows = rows
        self.asked: frozenset[PartitionStatus] | None = frozenset()
        self.read = 0

    def rows(self, statuses: frozenset[PartitionStatus] | None = None) -> Iterator[StateRow]:
        self.asked = statuses
        for one in self._rows:
            self.read += 1
            if statuses is None or one.status in statuses:
                yield one

    def by_series(self) -> Iterator[SeriesState]:
        for _, some in groupby(self._rows, key=itemgetter(0)):
            state = state_of(some)
            assert state is not None
            yield state

    def has_one_source(self) -> bool:
        return True

    def series(self) -> Iterator[SeriesDays]:
        raise NotImplementedError

    def find(self, key: PartitionKey) -> list[StateRow]:
        raise NotImplementedError

    def close(self) -> None:
        pass


def dates(
    reader: Reader, listing: Listing, filters: Filters | None = None
) -> list[tuple[SeriesKey, int | None, PartitionStatus]]:
    found = list_partitions(reader, listing, filters or Filters())
    return [(one.series, one.date, one.status) for one in found]


def test_all_rows_go_through_as_they_are() -> None:
    rows = [row(ONE, 3), row(ONE, None, WITHHELD), row(TWO, 2, FAILED)]
    reader = Reader(*rows)
    assert list(list_partitions(reader, Listing(), Filters())) == rows
    assert reader.asked is None


def test_only_the_wanted_statuses_are_read() -> None:
    reader = Reader(row(ONE, 3), row(TWO, 2, FAILED))
    assert dates(reader, Listing(frozenset({FAILED}))) == [(TWO, 2, FAILED)]
    assert reader.asked == frozenset({FAILED})


def test_missing_dates_stand_where_they_belong_from_the_first_date_to_the_last_expected() -> None:
    reader = Reader(row(ONE, 10), row(ONE, 12, FAILED), row(ONE, 12), row(ONE, None, WITHHELD), row(TWO, 13))
    assert dates(reader, Listing(ALL, DAILY, until=14)) == [
        (ONE, 10, READY),
        (ONE, 11, MISSING),
        (ONE, 12, FAILED),
        (ONE, 12, READY),
        (ONE, 13, MISSING),
        (ONE, 14, MISSING),
        (ONE, None, WITHHELD),
        (TWO, 13, READY),
        (TWO, 14, MISSING),
    ]


def test_cadence_says_which_dates_can_be_missing() -> None:
    # Ordinal 1 is a Monday.
    listing = Listing(frozenset({MISSING}), parse_cadence("weekly:MON"), until=22)
    assert dates(Reader(row(ONE, 1), row(ONE, 3)), listing) == [
        (ONE, 8, MISSING),
        (ONE, 15, MISSING),
        (ONE, 22, MISSING),
    ]


def test_what_is_missing_since_a_date_needs_no_row_after_it() -> None:
    filters = Filters(customers=("001",), since=20, until=22)
    listing = Listing(frozenset({MISSING}), DAILY, since=20, until=22)
    assert filters_of(listing, filters) == Filters(customers=("001",))
    assert dates(Reader(row(ONE, 1)), listing, filters) == [(ONE, 20, MISSING), (ONE, 21, MISSING), (ONE, 22, MISSING)]


def test_rows_out_of_the_range_of_dates_are_not_shown_beside_what_is_missing() -> None:
    listing = Listing(ALL, DAILY, since=2, until=3)
    assert dates(Reader(row(ONE, 1), row(ONE, 3), row(ONE, 4)), listing, Filters(since=2, until=3)) == [
        (ONE, 2, MISSING),
        (ONE, 3, READY),
    ]


def test_without_missing_dates_the_reader_filters_all_by_itself() -> None:
    filters = Filters(customers=("001",), since=20, until=22)
    assert filters_of(Listing(since=20), filters) is filters


def test_nothing_is_expected_of_a_series_without_dates() -> None:
    assert dates(Reader(row(ONE, None, WITHHELD)), Listing(ALL, DAILY, until=9)) == [(ONE, None, WITHHELD)]


def test_latest_is_the_newest_ready_date_of_each_series() -> None:
    reader = Reader(row(ONE, 1), row(ONE, 2), row(ONE, 3, FAILED), row(TWO, 1, FAILED))
    assert dates(reader, Listing(is_latest=True)) == [(ONE, 2, READY)]


def test_ready_rows_whose_runs_are_broken_are_shown_as_such() -> None:
    def find(partitions: Sequence[Partition]) -> Iterator[str]:
        asked.extend(partition.key.date for partition in partitions)
        return iter(["no such file" if partition.key.date % 2 else "" for partition in partitions])

    asked: list[int] = []
    rows = [row(ONE, date, READY if date != 5 else FAILED) for date in range(1, 1000)]
    found = list(list_partitions(Reader(*rows), Listing(frozenset({BROKEN})), Filters(), find))
    assert [one.date for one in found] == [date for date in range(1, 1000, 2) if date != 5]
    assert {(one.status, one.detail) for one in found} == {(BROKEN, "no such file")}
    assert asked == [date for date in range(1, 1000) if date != 5]


@pytest.mark.parametrize("cadence", [None, DAILY])
def test_rows_stream(cadence: object) -> None:
    reader = Reader(*(row(ONE, date) for date in range(1, 100_000)))
    listing = Listing(ALL if cadence is not None else IN_THE_TABLE, DAILY if cadence else None, until=100_000)
    found = list_partitions(reader, listing, Filters())
    assert [next(found).date for _ in range(3)] == [1, 2, 3]
    assert reader.read < 10


def test_withheld_rows_keep_their_reason() -> None:
    withheld = row(ONE, 3, WITHHELD)._replace(withheld=WithheldReason.NO_RUN_ID)
    assert list(list_partitions(Reader(withheld), Listing(frozenset({WITHHELD})), Filters())) == [withheld]


@pytest.mark.parametrize("statuses", [IN_THE_TABLE, ALL, frozenset({READY}), frozenset({READY, FAILED})])
def test_series_that_go_whole_hold_what_a_list_of_rows_holds(statuses: frozenset[PartitionStatus]) -> None:
    rows = [row(ONE, 1), row(ONE, 2, FAILED), row(ONE, 3), row(ONE, None, WITHHELD), row(TWO, 2, FAILED)]
    listing = Listing(statuses)
    assert goes_whole(listing)
    whole = [one for state in list_series(Reader(*rows), listing) for one in rows_of(state, "")]
    assert whole == list(list_partitions(Reader(*rows), listing, Filters()))


def test_what_takes_more_than_the_rows_does_not_go_whole() -> None:
    assert not goes_whole(Listing(frozenset({FAILED})))
    assert not goes_whole(Listing(ALL, DAILY))
    assert not goes_whole(Listing(is_latest=True))
