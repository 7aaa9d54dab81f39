"""Blocks: whatever led to some rows, they are the same, and what did not change is the same object."""

from __future__ import annotations

import time
import tracemalloc
from array import array
from collections.abc import Mapping
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.views.memory import Pattern, choose, make_rows, measure, new_rows
from readyfs.catalog.build import CatalogBuilder
from readyfs.catalog.delta import compare, differing_dates
from readyfs.catalog.memory import memory_added
from readyfs.catalog.series import build_series, patch_series
from readyfs.catalog.tree import Catalog
from readyfs.partition import NOT_SET, SeriesKey
from readyfs.series_rows import Row, SeriesRows
from tests.catalog.rows import contents, shape

KEY = SeriesKey(b"s", b"c", b"q")
LAST_DAY = 300  # some five blocks
DAYS = st.integers(1, LAST_DAY)
VALUES = st.tuples(
    st.sampled_from([b"r1", b"r2", b""]),
    st.sampled_from([NOT_SET, 3, 9]),
    st.sampled_from([NOT_SET, 0, 7]),
    st.sampled_from([None, b"", b"v1"]),
)
STEPS = st.lists(st.tuples(st.dictionaries(DAYS, VALUES, max_size=20), st.sets(DAYS, max_size=4)), max_size=4)


def rows_of(rows: Mapping[int, tuple[bytes, int, int, bytes | None]]) -> SeriesRows:
    return SeriesRows.of((date, *rows[date]) for date in sorted(rows))


def in_rows(rows: SeriesRows) -> list[Row]:
    columns = (rows.dates, rows.run_ids, rows.updated_at_ns, rows.record_counts, rows.schema_versions)
    return list(zip(*columns, strict=True))


@settings(deadline=None)
@given(st.dictionaries(DAYS, VALUES, min_size=1, max_size=200), STEPS)
def test_dates_that_differ_are_found_whatever_is_shared(
    first: dict[int, tuple[bytes, int, int, bytes | None]],
    steps: list[tuple[dict[int, tuple[bytes, int, int, bytes | None]], set[int]]],
) -> None:
    was = now = dict(first)
    before = series = build_series(KEY, rows_of(first))
    rows = rows_of(first)
    for came, gone in steps:
        gone = gone - came.keys()
        now = {date: row for date, row in (now | came).items() if date not in gone}
        if not now:
            return
        rows = rows.patched(rows_of(came), gone)
        series = build_series(KEY, rows)
        differing = {date for date in was.keys() | now.keys() if was.get(date) != now.get(date)}
        assert differing_dates(before, series) == differing_dates(series, before) == differing
        assert differing_dates(build_series(KEY, rows_of(was)), series) == differing


@settings(deadline=None)
@given(st.dictionaries(DAYS, VALUES, min_size=1, max_size=200), STEPS)
def test_rows_patched_again_and_again_are_those_made_at_once(
    first: dict[int, tuple[bytes, int, int, bytes | None]],
    steps: list[tuple[dict[int, tuple[bytes, int, int, bytes | None]], set[int]]],
) -> None:
    """V4: content, digests and every way of reading; blocks without a change are the same objects."""
    now, patched = dict(first), rows_of(first)
    series = build_series(KEY, patched)
    for came, gone in steps:
        gone = gone - came.keys()
        now = {date: row for date, row in (now | came).items() if date not in gone}
        before, patched = patched, patched.patched(rows_of(came), gone)
        if not now:
            assert not patched.blocks
            return
        whole = rows_of(now)
        assert in_rows(patched) == in_rows(whole)
        assert [(block.number, block.digest) for block in patched.blocks] == [
            (block.number, block.digest) for block in whole.blocks
        ]
        assert [patched.row(date) for date in range(LAST_DAY + 2)] == [whole.row(date) for date in range(LAST_DAY + 2)]
        assert patched.differing(whole) == whole.differing(patched) == []
        assert patched.differing(before) == rows_of(now).differing(before)
        touched = {date >> 6 for date in (*came, *gone)}
        bases = {block.base for block in patched.blocks}
        for block in before.blocks:
            if block.number not in touched and block.base in bases:
                assert block in patched.blocks, "it is the same object, if its columns are still in use"
        series, older = patch_series(series, patched, [*came, *gone]), series
        made = build_series(KEY, whole)
        assert (series.digest, series.newest_ns) == (made.digest, made.newest_ns)
        assert [series.at(index) for index in range(len(series))] == [made.at(index) for index in range(len(made))]
        differing = {row[0] for row in {*in_rows(before)} ^ {*in_rows(patched)}}
        assert differing_dates(older, series) == differing_dates(series, older) == differing
        assert differing_dates(older, made) == differing
        assert series.has_runs_of(older) == (
            list(series.dates) == list(older.dates) and series.run_ids == older.run_ids
        )
        assert [list(series.meanings_from(index)) for index in (0, 1, 70)] == [
            list(made.meanings_from(index)) for index in (0, 1, 70)
        ]


def test_change_makes_one_block_and_leaves_the_others() -> None:
    rows = rows_of(dict.fromkeys(range(1, LAST_DAY), (b"r1", 3, 7, b"v1")))
    patched = rows.patched(rows_of({100: (b"r2", 4, 7, b"v1")}), set())
    same = [old is new for old, new in zip(rows.blocks, patched.blocks, strict=True)]
    assert same == [True, False, True, True, True]
    (other,) = (new for old, new in zip(rows.blocks, patched.blocks, strict=True) if old is not new)
    assert other.patch is not None and len(other.patch) == 1, "the other 63 rows are not copied"


def test_rows_read_again_share_the_blocks_of_those_known() -> None:
    """A start over makes all rows anew; kept catalogs go on sharing what is equal."""
    content = dict.fromkeys(range(1, LAST_DAY), (b"r1", 3, 7, b"v1"))
    before = build_series(KEY, rows_of(content))
    again = build_series(KEY, rows_of({**content, 100: (b"r2", 4, 7, b"v1")}), before)
    assert [old is new for old, new in zip(before.blocks, again.blocks, strict=True)] == [True, False, True, True, True]


def test_columns_of_which_little_is_in_use_are_let_go() -> None:
    rows = rows_of(dict.fromkeys(range(64, 64 * 6), (b"r1", 3, 7, b"v1")))
    (base,) = {block.base for block in rows.blocks}
    for number in (1, 2, 3):
        days = range(number * 64, (number + 1) * 64)
        rows = rows.patched(rows_of(dict.fromkeys(days, (b"r2", 4, 7, b"v1"))), set())
    assert all(block.base is not base for block in rows.blocks)


def test_fingerprint_is_that_of_earlier_builds() -> None:
    """The way in which rows are kept is not part of what is hashed."""

    def row(series: int, day: int) -> Row:
        number = series * 1000 + day
        version = (b"1", b"2", None)[number % 7 % 3] if series % 2 else b"1"
        updated_at_ns = NOT_SET if number % 13 == 0 else number * 1_000_003
        return (738_000 + day * 3, b"run-%d" % (number % 11), updated_at_ns, number % 17 - 1, version)

    rows = {
        SeriesKey(b"s", b"c%d" % (n // 2), b"q%d" % (n % 2)): SeriesRows.of(row(n, day) for day in range(n * 40))
        for n in range(1, 7)
    }
    claims = [(738_001, b"a", 1, 2, None), (738_001, b"b", 1, 2, None), (738_002, b"c", 3, 4, b"")]
    rows[SeriesKey(b"s", b"twice", b"q")] = SeriesRows.of(claims)
    catalog, _ = CatalogBuilder(shape(required=())).build(rows, None, 1)
    assert catalog.fingerprint == "0121d06b7d29ae306e2ac93073fbec06"


def kept_catalogs(series: int, dates: int, count: int) -> list[Catalog]:
    rows = make_rows(series, dates)
    builder = CatalogBuilder(shape())
    kept = [builder.build(rows, None, 1)[0]]
    for step in range(count):
        changes = {
            key: array("i", days) for key, days in choose(Pattern.NEWEST, list(rows), dates, step, Random(1)).items()
        }
        for key, days in changes.items():
            rows[key] = rows[key].patched(SeriesRows.of(new_rows(days, step)), frozenset())
        kept.append(builder.build(rows, kept[-1], step + 2, changes)[0])
        assert compare(kept[-2], kept[-1], changed=changes).switched == sum(map(len, changes.values()))
    return kept


def test_kept_catalog_costs_what_differs() -> None:
    """At most 1,500 bytes for each series of which five dates changed, as Python counts them."""
    tracemalloc.start()
    try:
        for pattern in (Pattern.NEWEST, Pattern.APPENDED):
            added = measure(pattern, series=40, dates=500, catalogs=13)
            assert added.counted / 40 < 1_500, pattern
            assert added.estimated < 2 * added.counted, pattern
    finally:
        tracemalloc.stop()


def test_memory_added_is_that_of_objects_which_no_other_catalog_holds() -> None:
    first, second, third = kept_catalogs(series=20, dates=200, count=2)
    alone = memory_added(second, [])
    assert alone > 20 * 200 * 28
    assert memory_added(second, [first, third]) < alone / 3
    assert memory_added(second, [second]) == alone, "a catalog is not one of the others"
    began = time.process_time()
    memory_added(second, [first, third])
    assert time.process_time() - began < 0.05
    assert contents(first).keys() == contents(third).keys()
