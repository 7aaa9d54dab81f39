from __future__ import annotations

import sys
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readyfs.catalog.digests import hash_parts
from readyfs.catalog.series import build_series, patch_series
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


SPREAD_ROWS = st.dictionaries(
    st.integers(1, 400),  # some seven blocks
    st.tuples(
        st.sampled_from([b"r1", b"r2", b""]),
        st.sampled_from([NOT_SET, 3, 9]),
        st.sampled_from([NOT_SET, 0, 7]),
        st.sampled_from([None, b"", b"v1"]),
    ),
    max_size=12,
)


@given(SPREAD_ROWS, SPREAD_ROWS, st.sets(st.integers(1, 400), max_size=3))
def test_series_that_is_patched_is_the_one_that_is_made_of_all_rows(
    old: dict[int, tuple[bytes, int, int, bytes | None]],
    changes: dict[int, tuple[bytes, int, int, bytes | None]],
    gone: set[int],
) -> None:
    """V4: its digest, too, whichever blocks come, go or change."""

    def rows_of(rows: dict[int, tuple[bytes, int, int, bytes | None]]) -> SeriesRows:
        return SeriesRows.of((date, *rows[date]) for date in sorted(rows))

    before = rows_of(old)
    now = {date: row for date, row in (old | changes).items() if date not in gone or date in changes}
    after = before.patched(rows_of(changes), gone - changes.keys())
    if not now:
        return
    made = build_series(KEY, rows_of(now))
    patched = patch_series(build_series(KEY, before), after, changes.keys() | gone)
    assert patched.digest == made.digest
    assert patched.newest_ns == made.newest_ns
    assert [(block.number, block.digest) for block in patched.blocks] == [(b.number, b.digest) for b in made.blocks]
    assert list(zip(patched.dates, patched.run_ids, patched.updated_at_ns, patched.record_counts, strict=True)) == list(
        zip(made.dates, made.run_ids, made.updated_at_ns, made.record_counts, strict=True)
    )
    assert patched.schema_versions == made.schema_versions
    assert [patched.find(date) for date in now] == [made.find(date) for date in now]
    assert len(patched) == len(made)
