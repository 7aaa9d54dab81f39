"""Catalogs that are made from the one before and the series that changed, beside ones that are made whole."""

from __future__ import annotations

from collections import defaultdict
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from readyfs.catalog.build import CatalogBuilder, CatalogShape
from readyfs.catalog.delta import compare
from readyfs.catalog.tree import Catalog, Path
from readyfs.partition import ChangedDates, SeriesKey
from readyfs.series_rows import SeriesRows
from tests.catalog.rows import (
    JUNE_1,
    NOW_NS,
    ROWS,
    SHAPES,
    Row,
    as_series,
    build,
    contents,
    model,
    newest,
    shape,
    times,
)

SORTED_ROWS = ROWS.map(lambda rows: sorted(rows, key=lambda row: row.date))


@given(SHAPES, st.lists(SORTED_ROWS, min_size=1, max_size=5))
def test_catalog_made_from_changes_is_the_one_made_from_all_rows(of: CatalogShape, states: list[list[Row]]) -> None:
    """V4: whichever way it came about, content, fingerprint, times and report are the same."""
    whole, stepwise = CatalogBuilder(of), CatalogBuilder(of)
    expected: Catalog | None = None
    made: Catalog | None = None
    before: list[Row] = []
    for step, rows in enumerate(states):
        now_ns = NOW_NS + step
        series = as_series(rows)
        changed = _changed(before, rows) if step else None
        older = made
        expected, expected_report = whole.build(series, expected, now_ns)
        made, report = stepwise.build(series, made, now_ns, changed)
        assert made.fingerprint == expected.fingerprint
        assert contents(made) == contents(expected) == model(rows, of)
        assert made.partitions == expected.partitions
        assert times(made) == times(expected)
        assert newest(made) == newest(expected) == newest(build(rows, of=of))
        assert made.by_key.keys() == expected.by_key.keys()
        assert report.withheld.counts == expected_report.withheld.counts
        assert sorted(report.withheld.examples) == sorted(expected_report.withheld.examples)
        assert report.ignored_by_spark == expected_report.ignored_by_spark
        assert report.read_as_null == expected_report.read_as_null
        if older is not None:
            assert bool(compare(older, made)) == (contents(older) != contents(made) or _names(older) != _names(made))
            assert compare(older, made, changed=report.changed) == compare(older, made)
        before = rows


def _names(catalog: Catalog) -> set[Path]:
    return set(times(catalog))


def _changed(before: list[Row], after: list[Row]) -> dict[SeriesKey, set[int]]:
    changed: dict[SeriesKey, set[int]] = defaultdict(set)
    for row in (*before, *after):
        if before.count(row) != after.count(row):
            changed[row.series].add(row.date)
    return changed


def test_what_did_not_change_is_shared() -> None:
    rows = [Row(customer=b"c%d" % c, query=b"q%d" % q) for c in range(3) for q in range(3)]
    builder = CatalogBuilder(shape())
    first, _ = builder.build(as_series(rows), None, NOW_NS)
    rows[0] = rows[0]._replace(run=b"r2")
    second, _ = builder.build(as_series(rows), first, NOW_NS + 1, {rows[0].series: {JUNE_1}})
    assert second.directory((b"c1",)) is first.directory((b"c1",))
    assert second.directory((b"c0", b"q1")) is first.directory((b"c0", b"q1"))
    assert second.directory((b"c0", b"q0")) is not first.directory((b"c0", b"q0"))


def test_changes_to_another_catalog_than_the_last_are_not_trusted() -> None:
    builder = CatalogBuilder(shape())
    first, _ = builder.build(as_series([Row()]), None, NOW_NS)
    lost = [Row(customer=b"c2")]
    gone_and_came = {Row().series: [JUNE_1], lost[0].series: [JUNE_1]}
    builder.build(as_series(lost), first, NOW_NS + 1, gone_and_came)  # never put into force
    changed = {Row(customer=b"c3").series: [JUNE_1]}
    again, report = builder.build(as_series([*lost, Row(customer=b"c3")]), first, NOW_NS + 2, changed)
    assert report.changed is None
    assert set(contents(again)) == {(b"c2", b"q", b"2024-06-01"), (b"c3", b"q", b"2024-06-01")}


DAYS = st.lists(
    st.tuples(st.integers(1, 9), st.sampled_from([b"r1", b"r2"]), st.integers(0, 3), st.just(1), st.just(b"v")),
    unique_by=lambda row: row[0],
).map(sorted)


@given(DAYS, DAYS, st.sets(st.integers(1, 9)))
def test_patched_rows_are_those_of_a_dictionary_that_was_updated(
    old: list[tuple[int, bytes, int, int, bytes]], new: list[tuple[int, bytes, int, int, bytes]], gone: set[int]
) -> None:
    gone -= {row[0] for row in new}
    expected = {row[0]: row for row in old if row[0] not in gone} | {row[0]: row for row in new}
    patched = SeriesRows.of(old).patched(SeriesRows.of(new), gone)
    columns = (patched.dates, patched.run_ids, patched.updated_at_ns, patched.record_counts, patched.schema_versions)
    assert list(zip(*columns, strict=True)) == [expected[date] for date in sorted(expected)]
    assert list(SeriesRows.of(old).dates) == [row[0] for row in old]


@given(DAYS, DAYS)
def test_rows_differ_from_others_where_these_are_not_there_or_not_equal(
    held: list[tuple[int, bytes, int, int, bytes]], asked: list[tuple[int, bytes, int, int, bytes]]
) -> None:
    differing = SeriesRows.of(held).differing(SeriesRows.of(asked))
    assert [asked[index] for index in differing] == [row for row in asked if row not in held]


@given(st.integers(1, 9), st.integers(0, 9), st.integers(1, 9), st.integers(0, 9), st.randoms(), st.booleans())
def test_so_they_do_where_the_dates_of_both_are_without_gaps(
    held_from: int, held_size: int, asked_from: int, asked_size: int, random: Random, shuffled: bool
) -> None:
    """So dates are most often, and then rows are compared column by column. Those that are asked for need no order."""
    held, asked = (
        [(date, b"r%d" % random.choice([1, 1, 2]), 1, 2, b"v") for date in range(begin, begin + size)]
        for begin, size in ((held_from, held_size), (asked_from, asked_size))
    )
    if shuffled:
        random.shuffle(asked)
    differing = SeriesRows.of(held).differing(SeriesRows.of(asked))
    assert [asked[index] for index in differing] == [row for row in asked if row not in held]


def test_changes_that_nobody_can_see_leave_the_catalog_itself_in_force() -> None:
    """What begins with the catalog in force can then go on from it, in proportion to what changed."""
    builder = CatalogBuilder(shape())
    first, _ = builder.build(as_series([Row()]), None, NOW_NS)
    some: ChangedDates = {Row().series: [JUNE_1], Row(customer=b"unknown").series: [JUNE_1]}
    for changed in (some, {}, None):
        again, _ = builder.build(as_series([Row()]), first, NOW_NS + 1, changed)
        assert again is first
