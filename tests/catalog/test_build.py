from __future__ import annotations

import hashlib
import struct
import tracemalloc
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readyfs.catalog.build import CatalogBuilder, CatalogShape
from readyfs.catalog.tree import AMBIGUOUS, Branch, DateDirectory, PartitionDirectory
from readyfs.layout import RawLayout
from readyfs.partition import NOT_SET, SeriesKey, WithheldReason
from readyfs.series_rows import SeriesRows
from tests.catalog.rows import (
    HIVE_RAW,
    JUNE_1,
    ROWS,
    SHAPES,
    SHOWN_SOURCE,
    Row,
    build,
    contents,
    date_directory,
    meaning_at,
    model,
    report,
    shape,
    usable,
)


@given(ROWS, SHAPES)
def test_catalog_holds_what_the_naive_model_holds(rows: list[Row], of: CatalogShape) -> None:
    """V1, V13: exactly the usable rows, and a path that two rows claim is ambiguous."""
    catalog, found = report(rows, of=of)
    expected = model(rows, of)
    assert contents(catalog) == expected
    ready = sum(meaning is not AMBIGUOUS for meaning in expected.values())
    assert catalog.partitions == ready
    counts = found.withheld.counts
    assert counts.get(WithheldReason.AMBIGUOUS_PATH, 0) == len(expected) - ready
    unusable = counts.get(WithheldReason.UNUSABLE_NAME, 0) + counts.get(WithheldReason.UNUSABLE_RAW_PATH, 0)
    assert unusable == sum(not usable(row) for row in rows)


@given(ROWS, ROWS, SHAPES)
def test_catalog_built_upon_another_is_the_one_built_alone(old: list[Row], new: list[Row], of: CatalogShape) -> None:
    """V4: what is taken over from the catalog before changes nothing that a reader sees."""
    upon = build(new, build(old, of=of), of=of)
    alone = build(new, of=of)
    assert contents(upon) == contents(alone) == model(new, of)
    assert upon.fingerprint == alone.fingerprint
    assert upon.partitions == alone.partitions
    assert {key: series.digest for key, series in upon.by_key.items()} == {
        key: series.digest for key, series in alone.by_key.items()
    }


@given(ROWS, ROWS, SHAPES)
def test_unchanged_directories_and_series_are_the_same_objects(
    old: list[Row], new: list[Row], of: CatalogShape
) -> None:
    before = build(old, of=of)
    after = build(new, before, of=of)
    for key, series in after.by_key.items():
        known = before.by_key.get(key)
        assert known is None or (known is series) == (known.digest == series.digest)

    def walk(path: tuple[bytes, ...]) -> None:
        directory, known = after.directory(path), before.directory(path)
        assert directory is not None
        if isinstance(directory, PartitionDirectory):
            assert not isinstance(known, PartitionDirectory) or (
                (known.kept is directory.kept) == (known.kept == directory.kept)
            )
        elif of.layout.has_date_last:
            assert (
                known is None
                or not isinstance(known, Branch | DateDirectory)
                or ((known is directory) == (known.digest == directory.digest))
            )
        if isinstance(directory, Branch):
            for name in directory.children:
                walk((*path, name))

    walk(())


@pytest.mark.parametrize("layout", ["plain", "by-date", "{year}/{customer_id}/{query_name}/{month}-{day}"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([Row()], [Row(record_count=8)]),
        ([Row()], [Row(schema_version=b"v2")]),
        ([Row(), Row(), Row(date=JUNE_1 + 1)], [Row(date=JUNE_1 + 1)]),
        ([Row(date=JUNE_1 + 1)], [Row(), Row(), Row(date=JUNE_1 + 1)]),
    ],
)
def test_change_that_no_directory_or_column_of_dates_shows_is_one(
    layout: str, before: list[Row], after: list[Row]
) -> None:
    """V4, V13: a row that is touched in one cell alone, and a date that was or is ambiguous by its own rows."""
    of = shape(layout)
    first = build(before, of=of)
    assert contents(build(after, first, of=of)) == model(after, of)
    assert build(after, first, of=of).fingerprint == build(after, of=of).fingerprint != first.fingerprint


@given(ROWS, SHAPES)
def test_same_rows_share_the_whole_tree(rows: list[Row], of: CatalogShape) -> None:
    first = build(rows, of=of)
    assert build(rows, first, of=of).root is first.root


def test_one_changed_series_leaves_the_others_shared() -> None:
    rows = [Row(customer=customer, query=query) for customer in (b"c1", b"c2") for query in (b"q1", b"q2")]
    before = build(rows)
    after = build([*rows[1:], rows[0]._replace(run=b"r2")], before)
    assert after.root is not before.root
    assert after.directory((b"c1",)) is not before.directory((b"c1",))
    assert after.directory((b"c1", b"q1")) is not before.directory((b"c1", b"q1"))
    assert after.directory((b"c1", b"q2")) is before.directory((b"c1", b"q2"))
    assert after.directory((b"c2",)) is before.directory((b"c2",))


def test_empty_state_is_an_empty_root() -> None:
    catalog = build([])
    assert contents(catalog) == {}
    assert catalog.partitions == 0
    assert catalog.directory((b"c",)) is None


def test_directory_exists_only_while_something_ready_lies_below() -> None:
    """V1: a customer whose last partition went is gone."""
    before = build([Row(), Row(customer=b"c2")])
    after = build([Row()], before)
    assert before.directory((b"c2",)) is not None
    assert after.directory((b"c2",)) is None
    assert after.directory((b"c2", b"q")) is None


def test_path_beyond_the_dates_is_nothing() -> None:
    catalog = build([Row()])
    assert catalog.directory((b"c", b"q", b"2024-06-01")) is None
    assert meaning_at(catalog, (b"c",), JUNE_1) is None
    assert meaning_at(catalog, (b"c", b"x"), JUNE_1) is None
    assert meaning_at(catalog, (b"c", b"q"), JUNE_1 + 1) is None


@given(st.permutations([JUNE_1 + day for day in range(6)]))
def test_dates_in_any_order_become_sorted_with_their_own_runs(dates: list[int]) -> None:
    """V2: sorting must not mix columns of different rows."""
    rows = [
        Row(date=date, run=b"run %d" % date, updated_at_ns=date, record_count=date + 1, schema_version=b"v%d" % date)
        for date in dates
    ]
    catalog = build(rows)
    assert list(date_directory(catalog, b"c", b"q").dates) == sorted(dates)
    for row in rows:
        assert meaning_at(catalog, (b"c", b"q"), row.date) == row.partition


def test_schema_versions_that_differ_stay_with_their_dates() -> None:
    rows = [Row(date=JUNE_1, schema_version=None), Row(date=JUNE_1 + 1, schema_version=b"")]
    catalog = build(rows)
    for row in rows:
        assert meaning_at(catalog, (b"c", b"q"), row.date) == row.partition


# ---- what is withheld ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (Row(customer=b""), WithheldReason.UNUSABLE_NAME),
        (Row(query=b"/" * 86), WithheldReason.UNUSABLE_NAME),
        (Row(customer=b"a/b"), WithheldReason.UNUSABLE_RAW_PATH),
        (Row(source=b".."), WithheldReason.UNUSABLE_RAW_PATH),
        (Row(run=b"../../etc"), WithheldReason.UNUSABLE_RAW_PATH),
        (Row(run=b"x" * 250), WithheldReason.UNUSABLE_RAW_PATH),
    ],
)
def test_row_without_a_usable_path_is_withheld_alone(row: Row, reason: WithheldReason) -> None:
    """V12, V15: counted with an example; its neighbours are served."""
    neighbour = Row(date=JUNE_1 + 1)
    catalog, found = report([row, neighbour])
    assert contents(catalog) == {(b"c", b"q", b"2024-06-02"): neighbour.partition}
    assert found.withheld.counts == {reason: 1}
    (example,) = found.withheld.examples
    assert example.reason is reason
    assert example.subject.endswith("/2024-06-01")
    assert example.detail


def test_only_the_rows_of_an_unusable_run_are_withheld_from_a_series() -> None:
    rows = [Row(date=JUNE_1 + day, run=run) for day, run in enumerate([b"r1", b"a/b", b"r3", b"a/b"])]
    catalog, found = report(rows)
    assert list(date_directory(catalog, b"c", b"q").dates) == [JUNE_1, JUNE_1 + 2]
    assert meaning_at(catalog, (b"c", b"q"), JUNE_1 + 2) == rows[2].partition
    assert found.withheld.counts == {WithheldReason.UNUSABLE_RAW_PATH: 2}


def test_hive_encoding_makes_a_slash_usable() -> None:
    catalog, found = report([Row(customer=b"a/b", run=b"r/1")], of=shape(raw=HIVE_RAW))
    assert list(contents(catalog)) == [(b"a%2Fb", b"q", b"2024-06-01")]
    assert not found.withheld.counts


def test_withheld_row_that_would_have_made_a_path_ambiguous_does_not() -> None:
    row = Row(source=b"s1")
    catalog = build([row, Row(source=b"s2", run=b"a/b")])
    assert contents(catalog) == {(b"c", b"q", b"2024-06-01"): row.partition}


def test_names_that_spark_ignores_are_served_and_counted() -> None:
    """V12: a leading dot or underscore, and the end of a name that Hadoop's shell copies to."""
    rows = [Row(customer=b".c"), Row(query=b"_q"), Row(customer=b"c_"), Row(customer=b".c", date=JUNE_1 + 1)]
    catalog, found = report([*rows, Row(customer=b"c._COPYING_")])
    assert catalog.partitions == 5
    assert found.ignored_by_spark == 4
    assert not found.withheld.counts


@pytest.mark.parametrize(
    "layout", ["{customer_id}/{query_name}/_{logical_date}", ".{year}/{customer_id}/{query_name}/{month}{day}"]
)
def test_dates_in_names_that_spark_ignores_count_every_partition(layout: str) -> None:
    """V12: whatever makes the name begin so."""
    _, found = report([Row(), Row(date=JUNE_1 + 1), Row(customer=b"c2")], of=shape(layout))
    assert found.ignored_by_spark == 3


@pytest.mark.parametrize(
    ("layout", "counted"), [("customer_id={customer_id}/{query_name}/{logical_date}", 2), (None, 0)]
)
def test_values_that_hive_readers_take_for_null_are_served_and_counted(layout: str | None, counted: int) -> None:
    """V12: only as the value of a name KEY=VALUE; by itself the name begins with an underscore, and is counted so."""
    null = b"__HIVE_DEFAULT_PARTITION__"
    rows = [Row(customer=null), Row(customer=null, date=JUNE_1 + 1), Row(customer=b"x" + null), Row(customer=b"c")]
    catalog, found = report(rows, of=shape() if layout is None else shape(layout))
    assert catalog.partitions == 4
    assert found.read_as_null == counted
    assert found.ignored_by_spark == 2 - counted
    assert not found.withheld.counts


# ---- two rows for one path ----------------------------------------------------------------------------------------


def test_two_sources_for_one_path_are_ambiguous_and_both_named() -> None:
    """V13: not counted as a partition, and reported with both rows."""
    catalog, found = report([Row(source=b"s1"), Row(source=b"s2"), Row(source=b"s2", date=JUNE_1 + 1)])
    assert meaning_at(catalog, (b"c", b"q"), JUNE_1) is AMBIGUOUS
    assert catalog.partitions == 1
    (example,) = found.withheld.examples
    assert example.reason is WithheldReason.AMBIGUOUS_PATH
    assert example.subject == "c/q/2024-06-01"
    assert "s1/c/q/2024-06-01" in example.detail
    assert "s2/c/q/2024-06-01" in example.detail
    assert list(date_directory(catalog, b"c", b"q").claims()) == [
        (JUNE_1, (SeriesKey(b"s1", b"c", b"q"), SeriesKey(b"s2", b"c", b"q")))
    ]


def test_layout_with_the_source_has_a_path_for_each() -> None:
    catalog, found = report([Row(source=b"s1"), Row(source=b"s2")], of=shape(SHOWN_SOURCE))
    assert catalog.partitions == 2
    assert not found.withheld.counts


def test_one_row_twice_is_ambiguous_even_if_both_are_the_same() -> None:
    """V13: a table without a key may hold a partition twice; none of the two is chosen silently."""
    catalog, found = report([Row(), Row(), Row(date=JUNE_1 + 1)])
    assert meaning_at(catalog, (b"c", b"q"), JUNE_1) is AMBIGUOUS
    assert list(date_directory(catalog, b"c", b"q").dates) == [JUNE_1, JUNE_1 + 1]
    assert catalog.partitions == 1
    assert found.withheld.counts == {WithheldReason.AMBIGUOUS_PATH: 1}


def test_three_claims_by_two_series_are_one_ambiguous_path() -> None:
    catalog, found = report([Row(source=b"s1"), Row(source=b"s1"), Row(source=b"s2")])
    assert meaning_at(catalog, (b"c", b"q"), JUNE_1) is AMBIGUOUS
    assert catalog.partitions == 0
    assert found.withheld.counts == {WithheldReason.AMBIGUOUS_PATH: 1}


# ---- the fingerprint ----------------------------------------------------------------------------------------------


@given(ROWS.flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(rows))), SHAPES)
def test_fingerprint_is_the_same_in_any_order_of_rows(orders: tuple[list[Row], list[Row]], of: CatalogShape) -> None:
    one, other = (build(rows, of=of) for rows in orders)
    assert one.fingerprint == other.fingerprint


@given(ROWS, ROWS, SHAPES)
def test_fingerprint_differs_exactly_when_the_served_rows_do(
    one: list[Row], other: list[Row], of: CatalogShape
) -> None:
    def claims(rows: list[Row]) -> object:
        # Of rows that are ambiguous only the path and the claiming series are served, not their columns.
        served = list(filter(usable, rows))
        keys = [(row.series, row.date) for row in served]
        return {
            (row.series, row.date): row.partition if keys.count((row.series, row.date)) == 1 else None for row in served
        }

    assert (build(one, of=of).fingerprint == build(other, of=of).fingerprint) == (claims(one) == claims(other))


@pytest.mark.parametrize(
    "change",
    [
        {"source": b"s2"},
        {"customer": b"c2"},
        {"query": b"q2"},
        {"date": JUNE_1 + 1},
        {"run": b"r2"},
        {"updated_at_ns": 1_001},
        {"updated_at_ns": NOT_SET},
        {"record_count": 8},
        {"record_count": NOT_SET},
        {"schema_version": b"v2"},
        {"schema_version": b""},
        {"schema_version": None},
    ],
)
def test_fingerprint_moves_with_every_column(change: dict[str, object]) -> None:
    other = Row()._replace(**change)  # type: ignore[arg-type] # one column of its own type
    assert build([Row()]).fingerprint != build([other]).fingerprint


@pytest.mark.parametrize(
    "of",
    [
        shape("{query_name}/{customer_id}/{logical_date}"),
        shape(raw=RawLayout.parse("{source}/{customer_id}/{query_name}/{logical_date}/{run_id}")),
        shape(raw=HIVE_RAW),
        shape(files=("*.jsonl",)),
        shape(files=("payload.jsonl",)),
        shape(files=("payload.jsonl", "x")),
        shape(files=("",)),
        shape(required=("metadata.json",)),
        shape(required=()),
        shape(files=("payload.jsonl",), required=()),
    ],
)
def test_fingerprint_moves_with_every_setting_that_changes_what_paths_mean(of: CatalogShape) -> None:
    rows = [Row(customer=b"same", query=b"same")]
    assert build(rows, of=of).fingerprint != build(rows).fingerprint


def test_fingerprint_tells_runs_apart_whose_texts_join_to_the_same() -> None:
    one = [Row(run=b"ab"), Row(date=JUNE_1 + 1, run=b"c")]
    other = [Row(run=b"a"), Row(date=JUNE_1 + 1, run=b"bc")]
    assert build(one).fingerprint != build(other).fingerprint


def test_fingerprint_is_a_merkle_hash_that_anyone_can_compute() -> None:
    """The same on every machine and in every release: written out here with nothing but hashlib and struct."""

    def hash_of(kind: bytes, *parts: bytes) -> bytes:
        text = b"".join(struct.pack("<I", len(part)) + part for part in parts)
        return hashlib.blake2b(text, digest_size=16, person=kind).digest()

    def block_of(text: bytes) -> bytes:
        return hashlib.blake2b(text, digest_size=16, person=b"block").digest()

    # A block holds the dates that are equal but for their lowest six bits.
    later = JUNE_1 // 64 * 64 + 64
    rows = [
        Row(date=JUNE_1 + 1, run=b"run2", schema_version=None, record_count=NOT_SET),
        Row(),
        Row(date=later),
        Row(customer=b"\xff"),
    ]
    of = shape(files=("a*", "b"), required=("a", "b"))
    two = block_of(
        struct.pack("<I2i2q2q2I", 2, JUNE_1, JUNE_1 + 1, 1_000, 1_000, 7, -1, 2, 4)
        + b"r1run2"
        + struct.pack("<3I", 2, 3, 0)
        + b"=v1"
    )

    def one(date: int) -> bytes:
        # A schema version that all rows of a block share stands there once.
        return block_of(struct.pack("<IiqqI", 1, date, 1_000, 7, 2) + b"r1" + struct.pack("<2I", 1, 3) + b"=v1")

    series = (
        hash_of(b"series", b"s", b"c", b"q", b"", two + one(later)),
        hash_of(b"series", b"s", b"\xff", b"q", b"", one(JUNE_1)),
    )
    customers = [hash_of(b"branch", b"q", hash_of(b"dates", digest)) for digest in series]
    root = hash_of(b"branch", b"c/\xff", b"".join(customers))
    settings = (
        of.layout.template.encode(),
        of.raw_layout.template.encode(),
        b"verbatim",
        b"2",
        b"a*",
        b"b",
        b"a",
        b"b",
    )
    # The first byte says the version, which is hashed as well.
    version = b"\x01"
    assert build(rows, of=of).fingerprint == (version + hash_of(b"catalog", version, *settings, root)[:15]).hex()


def test_file_pattern_that_is_not_utf8_is_hashed_like_any_other() -> None:
    """V12: the operating system hands over such a flag as surrogates."""
    assert build([Row()], of=shape(files=("\udcff*",))).fingerprint != build([Row()]).fingerprint


# ---- size ---------------------------------------------------------------------------------------------------------


def test_two_hundred_thousand_partitions_take_less_than_sixty_bytes_each() -> None:
    series, dates = 200, 1_000
    runs = [b"2024-06-01T00:00:00Z-%06d" % number for number in range(dates)]
    rows: dict[SeriesKey, SeriesRows] = {}
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(series):
            key = SeriesKey(b"s", b"c%d" % (number // 10), b"q%d" % number)
            rows[key] = SeriesRows.of((JUNE_1 + day, runs[day], number * day, day, b"v1") for day in range(dates))
        catalog, _ = CatalogBuilder(shape()).build(rows, None, 1)
        del rows
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert catalog.partitions == series * dates
    assert held / catalog.partitions < 60


def test_columns_stay_compact_arrays() -> None:
    (series,) = build([Row(date=JUNE_1 + day) for day in range(3)]).by_key.values()
    for column in (series.dates, series.updated_at_ns, series.record_counts):
        assert isinstance(column, array)
    assert series.schema_versions == (b"v1",)
