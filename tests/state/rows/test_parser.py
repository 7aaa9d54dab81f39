"""From rows to series."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readyfs.partition import NOT_SET, SeriesKey, WithheldReason
from readyfs.state.filters import Filters
from readyfs.state.rows.parser import ROW_FIELDS, RowParser
from readyfs.state.rows.vocabulary import Vocabulary
from tests.state.rows.test_values import CELLS, JUNE_1
from tests.state.state_files import KEY, RUN, UPDATED_NS, contract_row


def stored(**changes: object) -> tuple[object, ...]:
    """Return a ready row's cells as the SQLite driver gives them."""
    cells = contract_row(**changes)
    return tuple(
        value.encode() if isinstance(value, str) else value for value in (cells[field] for field in ROW_FIELDS)
    )


def parse(*rows: tuple[object, ...], filters: Filters | None = None) -> RowParser:
    parser = RowParser("success", Vocabulary(filters or Filters()))
    parser.feed(rows)
    return parser


def test_ready_row_becomes_a_row_of_its_series() -> None:
    parser = parse(stored())
    rows = parser.series()[KEY]
    assert parser.rows == 1
    assert list(rows.dates) == [JUNE_1]
    assert rows.run_ids == (RUN.encode(),)
    assert list(rows.updated_at_ns) == [UPDATED_NS]
    assert list(rows.record_counts) == [7]
    assert rows.schema_versions == (b"v1",)


def test_null_in_optional_columns_is_not_set() -> None:
    rows = parse(stored(updated_at=None, record_count=None, schema_version=None)).series()[KEY]
    assert list(rows.updated_at_ns) == [NOT_SET]
    assert list(rows.record_counts) == [NOT_SET]
    assert rows.schema_versions == (None,)


@pytest.mark.parametrize("status", ["SUCCESS", "success ", "pending", "failed", "", None, 1, 1.0, b"\xff"])
def test_status_that_is_not_exactly_ready_is_no_row(status: object) -> None:
    """V1: whatever collation the database compares with."""
    parser = parse(stored(status=status))
    assert parser.rows == 0
    assert not parser.series()
    assert not parser.withheld.counts


def test_blanks_that_fill_a_status_of_fixed_width_are_not_part_of_it() -> None:
    parser = RowParser("success", Vocabulary(Filters()))
    cells = stored()
    for status in ("success   ", "success  \t", " success", "SUCCESS   ", "suc cess", "failed    ", "          "):
        parser.feed([(*cells[:4], status, *cells[5:])])
    assert parser.rows == 1


def test_status_may_be_of_any_type_that_spells_the_word() -> None:
    parser = RowParser("1", Vocabulary(Filters()))
    parser.feed([stored(status=1), stored(status="1"), stored(status=memoryview(b"1"))])
    assert parser.rows == 3


@pytest.mark.parametrize("run_id", [None, "", b""])
def test_ready_row_without_run_id_is_withheld(run_id: object) -> None:
    """V1: success with an empty run id is not servable, and reported."""
    parser = parse(stored(current_run_id=run_id))
    assert not parser.series()
    assert parser.rows == 1
    assert parser.withheld.counts == {WithheldReason.NO_RUN_ID: 1}
    assert parser.withheld.examples[0].subject == "ads/001/daily/2024-06-01"


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("source", None),
        ("customer_id", 1.5),
        ("query_name", True),
        ("logical_date", "2024-02-30"),
        ("current_run_id", 2.5),
        ("updated_at", "yesterday"),
        ("record_count", -1),
        ("record_count", 2**63),
        ("schema_version", 1.25),
        ("logical_date", ["unhashable"]),
        ("source", {"unhashable": 1}),
    ],
)
def test_bad_cell_withholds_its_row_alone(column: str, value: object) -> None:
    """V15: one bad row is one bad row."""
    parser = parse(stored(logical_date="2024-05-31"), stored(**{column: value}), stored(logical_date="2024-06-02"))
    assert [len(rows) for rows in parser.series().values()] == [2]
    assert parser.rows == 3
    assert parser.withheld.counts == {WithheldReason.BAD_ROW: 1}
    assert parser.withheld.examples[0].detail.startswith(column)


def test_largest_record_count_is_kept() -> None:
    assert list(parse(stored(record_count=2**63 - 1)).series()[KEY].record_counts) == [2**63 - 1]


def test_bad_row_is_described_escaped_and_short() -> None:
    """V15: what is logged of a bad row is escaped."""
    parser = parse(stored(customer_id="a\nb", logical_date=b"\x1b[31m\xff" * 100))
    example = parser.withheld.examples[0]
    assert example.subject.startswith("ads/a\\nb/daily/\\x1b[31m\\xff")
    assert (example.subject + example.detail).isprintable()
    assert len(example.detail) < 200


def test_bad_rows_beyond_the_examples_are_counted() -> None:
    parser = parse(*[stored(logical_date=f"day {number}") for number in range(250)])
    assert parser.rows == 250
    assert parser.withheld.counts == {WithheldReason.BAD_ROW: 250}
    assert len(parser.withheld.examples) == 100


def test_every_fault_of_a_row_is_named() -> None:
    detail = parse(stored(logical_date="x", record_count="y")).withheld.examples[0].detail
    assert "logical_date is not a date: 'x'" in detail
    assert "record_count is not a whole number: 'y'" in detail


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"logical_date": 3.5}, "logical_date is a float, not a date: float 3.5"),
        ({"logical_date": ""}, "logical_date is not a date: ''"),
        ({"updated_at": "2024-06-07 "}, "updated_at is not a time: '2024-06-07 '"),
        ({"source": True}, "source is a boolean, not an identifier: bool True"),
    ],
)
def test_fault_reads_as_a_sentence_and_shows_where_a_text_ends(cells: dict[str, object], words: str) -> None:
    assert parse(stored(**cells)).withheld.examples[0].detail == words


def test_ids_of_other_types_are_not_taken_for_one_another() -> None:
    parser = parse(stored(customer_id=1), stored(customer_id=True), stored(customer_id=1.0), stored(customer_id="1"))
    assert {key: len(rows) for key, rows in parser.series().items()} == {SeriesKey(b"ads", b"1", b"daily"): 2}
    assert parser.withheld.counts == {WithheldReason.BAD_ROW: 2}


def test_a_remembered_date_is_not_used_for_another_type() -> None:
    parser = parse(stored(logical_date=20240601), stored(logical_date=20240601.0), stored(logical_date=b"20240601"))
    assert parser.rows == 3
    assert parser.withheld.counts == {WithheldReason.BAD_ROW: 1}


def test_empty_key_parts_are_left_to_the_layout() -> None:
    assert list(parse(stored(source="", customer_id="", query_name="")).series()) == [SeriesKey(b"", b"", b"")]


def test_dates_are_sorted_and_duplicates_stay() -> None:
    rows = parse(*[stored(logical_date=day) for day in ("2024-06-02", "2024-06-01", "2024-06-01")]).series()[KEY]
    assert list(rows.dates) == [JUNE_1, JUNE_1, JUNE_1 + 1]


def test_repeated_run_ids_and_versions_are_kept_once() -> None:
    rows = parse(*[stored(current_run_id=bytes([65, 66]), schema_version=bytes([67, 68])) for _ in range(2)]).series()[
        KEY
    ]
    assert rows.run_ids[0] is rows.run_ids[1]
    assert rows.schema_versions[0] is rows.schema_versions[1]


def test_date_filter_is_inclusive() -> None:
    days = [stored(logical_date=datetime.date(2024, 6, day)) for day in range(1, 6)]
    parser = parse(*days, filters=Filters(since=JUNE_1 + 1, until=JUNE_1 + 3))
    assert list(parser.series()[KEY].dates) == [JUNE_1 + 1, JUNE_1 + 2, JUNE_1 + 3]
    assert parser.rows == 3


def test_rows_outside_the_filters_are_not_withheld() -> None:
    filters = Filters(customers=("other",), since=JUNE_1)
    parser = parse(stored(current_run_id=None), stored(logical_date="x"), filters=filters)
    assert parser.rows == 0
    assert not parser.withheld.counts


@given(st.lists(st.tuples(*[CELLS] * 4, st.sampled_from([b"success", "success"]), *[CELLS] * 4), max_size=8))
def test_no_row_fails_a_load(rows: list[tuple[object, ...]]) -> None:
    """V15: whatever the cells hold, each ready row is served or withheld."""
    parser = parse(*rows)
    assert parser.rows == len(rows)
    assert sum(len(group) for group in parser.series().values()) + parser.withheld.total() == len(rows)


@given(st.binary(), st.binary(), st.binary(), st.binary(min_size=1))
def test_bytes_of_ids_survive(source: bytes, customer: bytes, query: bytes, run: bytes) -> None:
    """V12: bytes that are not UTF-8 pass through."""
    parser = parse(stored(source=source, customer_id=customer, query_name=query, current_run_id=run))
    assert parser.series()[SeriesKey(source, customer, query)].run_ids == (run,)
