"""V22: changes as lines that every program reads, in pages, and the places where these end."""

from __future__ import annotations

import json
import os

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from readyfs.catalog.build import CatalogShape
from readyfs.consumer import change_lines
from readyfs.consumer.change_lines import ChangeRenderer, make_page, make_printable, parse_place, render_place
from readyfs.consumer.changes import Change, Difference
from readyfs.layout import MountLayout
from readyfs.partition import NOT_SET, Partition, PartitionKey, SeriesKey
from tests.catalog.rows import JUNE_1, ROWS, SHAPES, Row, build

DAY = "2024-06-01"


def rendered(row: Row, layout: str = "plain") -> dict[str, object]:
    (change,) = Difference(None, build([row])).changes()
    line = ChangeRenderer(MountLayout.parse(layout)).render(change)
    assert line.endswith("\n") and line.count("\n") == 1
    found = json.loads(line)
    assert isinstance(found, dict)
    return found


def test_line_has_all_of_a_row() -> None:
    row = Row(customer=b"a:b", run=b"2024-06-02T04:05:06Z", updated_at_ns=1_717_300_800_123_456_789)
    assert rendered(row) == {
        "type": "appeared",
        "source": "s",
        "customer_id": "a:b",
        "query_name": "q",
        "logical_date": DAY,
        "run_id": "2024-06-02T04:05:06Z",
        "old_run_id": None,
        "path": f"a%3Ab/q/{DAY}",
        "updated_at": "2024-06-02T04:00:00.123456+00:00",
        "record_count": 7,
        "schema_version": "v1",
    }


def test_what_a_row_does_not_say_is_null() -> None:
    found = rendered(Row(updated_at_ns=NOT_SET, record_count=NOT_SET, schema_version=None))
    assert [found[name] for name in ("updated_at", "record_count", "schema_version")] == [None] * 3


@pytest.mark.parametrize("customer", [b"\xff\xfe", b"line\n\x1b[31m", "käse".encode(), b'"\\'])
def test_path_leads_to_the_partition_whatever_its_bytes(customer: bytes) -> None:
    path = rendered(Row(customer=customer))["path"]
    assert isinstance(path, str)
    assert os.fsencode(path).split(b"/") == list(
        MountLayout.parse("plain").path_of(Row(customer=customer).series, JUNE_1)
    )


@given(st.one_of(st.binary(min_size=1), st.sampled_from([b"\\ud", "\U0001f600".encode() + b"\xff", b"\\udcff"])))
def test_printed_line_is_json_that_strict_programs_read_whatever_the_bytes(customer: bytes) -> None:
    row = Row(customer=customer)
    changes = list(Difference(None, build([row])).changes())
    assume(changes)  # it is a name that can be shown
    (change,), path = changes, MountLayout.parse("plain").path_of(row.series, JUNE_1)
    line = make_printable(ChangeRenderer(MountLayout.parse("plain")).render(change))
    assert line.endswith("\n") and line.count("\n") == 1
    found = orjson.loads(line)
    assert found["path"] == b"/".join(path).decode("utf-8", "backslashreplace")
    assert found["customer_id"] == customer.decode("utf-8", "backslashreplace")
    assert list(found) == list(rendered(Row()))


@given(ROWS, ROWS, SHAPES)
def test_pages_are_the_lines_that_each_change_has_alone(old: list[Row], new: list[Row], of: CatalogShape) -> None:
    """What a renderer remembers of the one before never shows."""
    before = build(old, of=of)
    difference = Difference(before, build(new, before, of=of))
    lines = [ChangeRenderer(of.layout).render(change) for change in difference.changes()]
    assert make_page(difference.changes(), of.layout) == ("".join(lines), None)
    with pytest.MonkeyPatch.context() as small:
        small.setattr(change_lines, "PAGE_BYTES", 400)
        pages, after = [make_page(difference.changes(), of.layout)], None
        while (after := pages[-1].after) is not None:
            pages.append(make_page(difference.changes(after), of.layout))
    assert "".join(page.lines for page in pages) == "".join(lines)
    assert all(page.lines for page in pages[1:]), "a page that is asked for holds something"


@given(st.builds(PartitionKey, st.builds(SeriesKey, st.binary(), st.binary(), st.binary()), st.integers(1, 3_652_059)))
def test_place_is_read_back(key: PartitionKey) -> None:
    assert parse_place(render_place(key)) == key


@pytest.mark.parametrize("text", ["", "1", "61/62/1", "61/62/63/x", "6/62/63/1", "61/62/63/64/1", "zz/62/63/1"])
def test_place_of_nonsense_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_place(text)


def test_kinds_are_told_by_what_was_and_is() -> None:
    one, other = (Partition(PartitionKey(SeriesKey(b"s", b"c", b"q"), JUNE_1), run, 1, 1, None) for run in (b"a", b"b"))
    render = ChangeRenderer(MountLayout.parse("plain")).render
    told = [
        (found["type"], found["old_run_id"], found["run_id"])
        for found in (
            json.loads(render(Change(one.key, was, now)))
            for was, now in ((None, one), (one, other), (one, one._replace(record_count=2)), (one, None))
        )
    ]
    assert told == [("appeared", None, "a"), ("switched", "a", "b"), ("touched", "a", "a"), ("retracted", "a", None)]
