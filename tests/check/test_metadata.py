from __future__ import annotations

import json

import pytest

from readyfs.check.metadata import InvalidMetadataError, compare_metadata
from readyfs.partition import NOT_SET, Partition, PartitionKey, SeriesKey, parse_date

ROW = {"source": "s", "customer_id": "001", "query_name": "q", "logical_date": "2024-06-01", "run_id": "r1"}


def row(customer: bytes = b"001", count: int = 3, version: bytes | None = b"2") -> Partition:
    date = parse_date(b"2024-06-01")
    assert date is not None
    return Partition(PartitionKey(SeriesKey(b"s", customer, b"q"), date), b"r1", NOT_SET, count, version)


def faults(partition: Partition | None = None, /, **changes: object) -> tuple[str, ...]:
    content = json.dumps({**ROW, **changes}).encode()
    return compare_metadata(content, partition or row()).faults


def test_metadata_of_the_row_have_no_fault() -> None:
    assert faults(schema_version="2", record_count=3, anything="else") == ()


@pytest.mark.parametrize("field", ROW)
def test_each_part_of_the_key_and_the_run_id_must_be_there_and_the_rows(field: str) -> None:
    without = {name: value for name, value in ROW.items() if name != field}
    assert compare_metadata(json.dumps(without).encode(), row()).faults == (f"{field} is missing",)
    other = "2024-06-02" if field == "logical_date" else "other"
    (fault,) = faults(**{field: other})
    assert fault == f"{field} is '{other}', the row says '{ROW[field]}'"
    (fault,) = faults(**{field: None})
    assert fault.startswith(f"{field} ")


@pytest.mark.parametrize(("name", "value"), [("schema_version", "3"), ("record_count", 4)])
def test_version_and_count_are_compared_where_both_sides_have_them(name: str, value: object) -> None:
    assert len(faults(**{name: value})) == 1
    assert faults(**{name: None}) == ()
    assert faults(row(count=NOT_SET, version=None), **{name: value}) == ()


def test_values_are_read_as_cells_of_the_table_are() -> None:
    assert faults(row(customer=b"12"), customer_id=12, schema_version=2, record_count="3") == ()
    assert faults(logical_date="20240601") == ()
    assert faults(logical_date=20240601) == ()


def test_a_count_that_is_none_is_a_fault() -> None:
    (fault,) = faults(record_count=True)
    assert fault.startswith("record_count ")


def test_a_value_of_the_row_that_is_not_utf8_is_not_compared() -> None:
    assert faults(row(customer=b"\xff"), customer_id="?") == ()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"a": 1} {}', b"[]", b"null", b"1", b"true", b'"x"'])
def test_what_is_no_json_object_is_invalid(content: bytes) -> None:
    with pytest.raises(InvalidMetadataError):
        compare_metadata(content, row())


def test_faults_are_printable() -> None:
    (fault,) = faults(run_id="a\x1b[31m\n")
    assert fault.isprintable()
