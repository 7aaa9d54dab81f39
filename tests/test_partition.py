from __future__ import annotations

import datetime
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readyfs.partition import (
    PartitionKey,
    SeriesKey,
    WithheldReason,
    WithheldTally,
    parse_date,
    render_date,
    render_time,
    show_moment,
)
from readyfs.series_rows import SeriesRows
from readyfs.text import escape_text

FIRST, LAST = datetime.date.min.toordinal(), datetime.date.max.toordinal()


@given(st.integers(FIRST, LAST))
def test_date_round_trips_through_its_text(date: int) -> None:
    text = render_date(date)
    assert text.decode() == datetime.date.fromordinal(date).isoformat()
    assert parse_date(text) == date


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"2024-6-1",
        b"20240601",
        b"2024-06-01 ",
        b" 2024-06-01",
        b"2024-06-01\n",
        b"2024-06-01T00:00:00",
        b"2024-W22-6",
        b"2024-02-30",
        b"2023-02-29",
        b"0000-01-01",
        b"12024-06-01",
        b"+024-06-01",
        b"2024-13-01",
        "2024-06-0\u0661".encode(),
        b"2024-06-0\xff",
    ],
)
def test_text_that_is_not_exactly_a_date_is_none(text: bytes) -> None:
    assert parse_date(text) is None


@given(st.binary(max_size=12))
def test_bytes_that_parse_as_a_date_are_its_only_spelling(text: bytes) -> None:
    date = parse_date(text)
    assert date is None or render_date(date) == text


@given(st.one_of(st.text(), st.binary()))
def test_escaped_text_is_printable(value: str | bytes) -> None:
    """V12: no value can move a terminal's cursor or break a log line."""
    escaped = escape_text(value)
    assert escaped.isprintable()
    assert not any(unicodedata.category(char).startswith("C") for char in escaped)


@given(st.text())
def test_printable_text_is_left_as_it_is(text: str) -> None:
    if text.isprintable():
        assert escape_text(text) == text
        assert escape_text(text.encode()) == text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"a\nb", "a\\nb"),
        (b"\x1b[31m", "\\x1b[31m"),
        (b"\xff", "\\xff"),
        ("\udcff", "\\udcff"),
        ("\u202eabc", "\\u202eabc"),
        (b"\0", "\\x00"),
    ],
)
def test_what_is_not_printable_becomes_an_escape(value: str | bytes, shown: str) -> None:
    assert escape_text(value) == shown


def test_key_as_text_is_one_escaped_line() -> None:
    key = PartitionKey(SeriesKey(b"s", b"c\n1", b"\xff"), render_ordinal("2024-06-01"))
    assert str(key) == "s/c\\n1/\\xff/2024-06-01"


def render_ordinal(text: str) -> int:
    return datetime.date.fromisoformat(text).toordinal()


def test_rows_keep_the_order_in_which_they_were_read() -> None:
    rows = SeriesRows.of([(5, b"r5", 50, 500, b"v5"), (3, b"r3", 30, 300, None), (5, b"r6", 60, 600, b"v6")])
    assert len(rows) == 3
    assert list(rows.dates) == [5, 3, 5]
    assert rows.run_ids == (b"r5", b"r3", b"r6")
    assert list(rows.updated_at_ns) == [50, 30, 60]
    assert list(rows.record_counts) == [500, 300, 600]
    assert rows.schema_versions == (b"v5", None, b"v6")


def test_tally_counts_all_and_keeps_few_examples_of_each_reason() -> None:
    tally = WithheldTally(examples_per_reason=2)
    for number in range(5):
        tally.add(WithheldReason.BAD_ROW, f"row {number}", "bad")
    tally.add(WithheldReason.NO_RUN_ID, "row 9", "none")
    assert tally.counts == {WithheldReason.BAD_ROW: 5, WithheldReason.NO_RUN_ID: 1}
    assert [example.subject for example in tally.examples] == ["row 0", "row 1", "row 9"]
    assert tally.total() == 6
    assert tally.total([WithheldReason.BAD_ROW, WithheldReason.AMBIGUOUS_PATH]) == 5


def test_merged_tally_holds_what_both_counted() -> None:
    one, other = WithheldTally(), WithheldTally()
    one.add(WithheldReason.BAD_ROW, "a", "")
    other.add(WithheldReason.BAD_ROW, "b", "")
    other.add(WithheldReason.UNUSABLE_NAME, "c", "")
    one.merge(other)
    assert one.counts == {WithheldReason.BAD_ROW: 2, WithheldReason.UNUSABLE_NAME: 1}
    assert [example.subject for example in one.examples] == ["a", "b", "c"]
    assert other.counts[WithheldReason.BAD_ROW] == 1


@given(st.integers((FIRST - 719_163) * 86_400 * 10**9, (LAST - 719_162) * 86_400 * 10**9 - 1))
def test_time_is_what_a_datetime_says_of_it(time_ns: int) -> None:
    moment = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(microseconds=time_ns // 1000)
    assert render_time(time_ns).decode() == moment.isoformat(timespec="microseconds")


def test_time_for_people_is_utc_to_the_second() -> None:
    time_ns = 1_717_304_700_999_999_999
    assert show_moment(time_ns) == show_moment(render_time(time_ns).decode()) == "2024-06-02 05:05:00Z"
