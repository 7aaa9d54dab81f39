from __future__ import annotations

import sys
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readyfs.catalog.digests import hash_parts
from readyfs.catalog.series import build_series
from readyfs.partition import NOT_SET, SeriesKey
from readyfs.series_rows import SeriesRows
from tests.catalog.rows import JUNE_1, Row, as_series

KEY = SeriesKey(b"s", b"c", b"q")


@given(st.lists(st.binary(max_size=6), max_size=5), st.lists(st.binary(max_size=6), max_size=5))
def test_hash_of_different_sequences_differs(one: list[bytes], other: list[bytes]) -> None:
    assert (hash_parts(b"k", one) == hash_parts(b"k", other)) == (one == other)


def test_hash_of_one_kind_is_never_that_of_another() -> None:
    assert len({hash_parts(kind, [b"x"]) for kind in (b"series", b"branch", b"dates", b"catalog")}) == 4


def test_find_answers_every_date_and_no_other() -> None:
    rows = [Row(date=JUNE_1 + day, run=b"r%d" % day) for day in (0, 2, 5)]
    series = build_series(KEY, as_series(rows)[KEY])
    for row in rows:
        assert series.find(row.date) == row.partition
    for day in (-1, 1, 3, 4, 6):
        assert series.find(JUNE_1 + day) is None


def test_newest_is_the_latest_update_and_not_set_where_all_are_null() -> None:
    known = [Row(updated_at_ns=9), Row(date=JUNE_1 + 1, updated_at_ns=NOT_SET), Row(date=JUNE_1 + 2, updated_at_ns=3)]
    assert build_series(KEY, as_series(known)[KEY]).newest_ns == 9
    assert build_series(KEY, as_series([Row(updated_at_ns=NOT_SET)])[KEY]).newest_ns == NOT_SET
    assert build_series(KEY, SeriesRows.of(())).newest_ns == NOT_SET


def test_dates_that_stand_twice_are_set_apart_wherever_they_stand() -> None:
    for days in product(range(3), repeat=4):
        series = build_series(KEY, as_series([Row(date=JUNE_1 + day) for day in days])[KEY])
        twice = {JUNE_1 + day for day in days if days.count(day) > 1}
        assert set(series.ambiguous) == twice
        assert set(series.dates) == {JUNE_1 + day for day in days} - twice


def test_digest_is_the_same_on_a_machine_of_the_other_byte_order(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [Row(date=JUNE_1 + day, run=b"run" * day) for day in range(3)]
    here = build_series(KEY, as_series(rows)[KEY])
    swapped = as_series(rows)[KEY]
    monkeypatch.setattr(sys, "byteorder", "big" if sys.byteorder == "little" else "little")
    there = build_series(KEY, swapped)
    assert there.digest != here.digest  # it swapped what was in the native order
    assert list(there.dates) == list(here.dates)  # and only while hashing
