"""The meaning of one cell."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readyfs.partition import NOT_SET, render_date
from readyfs.state.rows.values import (
    BadValueError,
    OddCell,
    parse_id,
    parse_logical_date,
    parse_record_count,
    parse_schema_version,
    parse_truth,
    parse_updated_at,
    quote_value,
    show_value,
)
from tests.state.state_files import UPDATED, UPDATED_NS

EAST = datetime.timezone(datetime.timedelta(hours=2))
JUNE_1 = datetime.date(2024, 6, 1).toordinal()

CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.text(st.characters()),
    st.binary(),
    st.binary().map(lambda stored: memoryview(stored)),
    st.dates(),
    st.datetimes(timezones=st.none() | st.timezones()),
    st.times(),
    st.uuids(),
    st.lists(st.integers()),
    st.from_regex(rb"[0-9]{4}-?[0-9]{2}-?[0-9]{2}([T ][0-9:.,]*(Z|[+-][0-9:]*)?)?", fullmatch=True),
    st.from_regex(rb"[0-9.+-]{0,30}", fullmatch=True),
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"001", b"001"),
        (b"\xff\x00/", b"\xff\x00/"),
        ("kürbis", "kürbis".encode()),
        ("\udcff", b"\xff"),
        ("", b""),
        (1234567890, b"1234567890"),
        (-5, b"-5"),
        (Decimal(42), b"42"),
        (Decimal("42.000"), b"42"),
        (Decimal("1E+3"), b"1000"),
        (memoryview(b"\xfe"), b"\xfe"),
        (bytearray(b"ab"), b"ab"),
        (UUID(int=1), b"00000000-0000-0000-0000-000000000001"),
        (datetime.date(2024, 6, 1), b"2024-06-01"),
        (datetime.datetime(2024, 6, 2, 4, 5, 6, 789000, datetime.UTC), b"2024-06-02T04:05:06.789Z"),
        (datetime.datetime(2024, 6, 2, 6, 5, 6, 789001, EAST), b"2024-06-02T04:05:06.789001Z"),
        (datetime.datetime(2024, 6, 2, 4, 5, 6), b"2024-06-02T04:05:06.000"),  # noqa: DTZ001 - as drivers give it
    ],
)
def test_id_is_as_stored(value: object, expected: bytes) -> None:
    assert parse_id(value) == expected


@pytest.mark.parametrize(
    "value", [None, True, 1.0, math.nan, Decimal("1.5"), Decimal("NaN"), Decimal("1E+99999"), 10**400, [], "\ud800"]
)
def test_id_without_one_spelling_is_refused(value: object) -> None:
    with pytest.raises(BadValueError):
        parse_id(value)


@pytest.mark.parametrize(
    "value",
    [
        b"2024-06-01",
        "2024-06-01",
        b"20240601",
        20240601,
        Decimal(20240601),
        datetime.date(2024, 6, 1),
        datetime.datetime(2024, 6, 1),  # noqa: DTZ001 - as drivers give it
        datetime.datetime(2024, 6, 1, 2, tzinfo=EAST),
        b"2024-06-01 00:00:00",
        b"2024-06-01T00:00:00.000000Z",
        b"2024-06-01T02:00:00+02:00",
        b"2024-06-01 00:00:00+00",
    ],
)
def test_date_in_any_unambiguous_form_is_its_day(value: object) -> None:
    assert parse_logical_date(value) == JUNE_1


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b" 2024-06-01",
        b"2024-06-01 ",
        b"2024-6-1",
        b"2024-02-30",
        b"2024-W22-6",
        b"0000-01-01",
        b"01.06.2024",
        b"infinity",
        b"\xff\xff",
        "٢٠٢٤-٠٦-٠١",
        2024061,
        -20240601,
        1.5,
        True,
        Decimal("NaN"),
        b"2024-06-01T00:00:01Z",
        b"2024-06-01T00:00:00+02:00",
        datetime.datetime(2024, 6, 1, tzinfo=EAST),
        datetime.datetime(1, 1, 1, tzinfo=EAST),
        datetime.time(0, 0),
    ],
)
def test_date_that_is_no_day_is_refused(value: object) -> None:
    with pytest.raises(BadValueError):
        parse_logical_date(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, NOT_SET),
        (UPDATED.encode(), UPDATED_NS),
        (UPDATED, UPDATED_NS),
        (b"2024-06-02 05:00:00.123456", UPDATED_NS),
        (b"2024-06-02T07:00:00.123456+02:00", UPDATED_NS),
        (b"2024-06-02T05:00:00.123456Z", UPDATED_NS),
        (b"2024-06-02T05:00:00.123456789Z", UPDATED_NS),
        (datetime.datetime(2024, 6, 2, 7, 0, 0, 123456, EAST), UPDATED_NS),
        (datetime.datetime(2024, 6, 2, 5, 0, 0, 123456), UPDATED_NS),  # noqa: DTZ001 - as drivers give it
        (datetime.date(1970, 1, 2), 86_400 * 10**9),
        (b"1970-01-02", 86_400 * 10**9),
        (0, 0),
        (1_717_304_400, 1_717_304_400 * 10**9),
        (b"1717304400", 1_717_304_400 * 10**9),
        (1_717_304_400.123456, UPDATED_NS),
        (b"1717304400.123456", UPDATED_NS),
        (Decimal("1717304400.123456"), UPDATED_NS),
        (1_717_304_400_123, 1_717_304_400_123 * 10**6),
        (1_717_304_400_123_456, UPDATED_NS),
        (UPDATED_NS, UPDATED_NS),
        (2**63 - 1, 2**63 - 1),
        (b"2262-04-11T23:47:16.854775Z", 9_223_372_036_854_775_000),
    ],
)
def test_updated_at_is_utc_nanoseconds(value: object, expected: int) -> None:
    assert parse_updated_at(value) == expected


def test_odd_cell_is_refused_with_what_it_is_and_shown_by_its_text() -> None:
    cell = OddCell("an array", b"{a,\n}")
    for parse, meaning in ((parse_id, "an identifier"), (parse_logical_date, "a date"), (parse_updated_at, "a time")):
        with pytest.raises(BadValueError, match=f"^is an array, not {meaning}$"):
            parse(cell)
    assert quote_value(cell) == r"'{a,\n}'"


@pytest.mark.parametrize(
    ("word", "truth"),
    [
        ("true", True),
        ("T", True),
        ("on", True),
        ("1", True),
        ("No", False),
        ("0", False),
        ("success", None),
        ("", None),
    ],
)
def test_word_says_what_a_boolean_is_or_nothing(word: str, truth: bool | None) -> None:
    assert parse_truth(word) is truth


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"yesterday",
        b"2024-06-02x05:00:00",
        b"2024-06-02T25:00:00",
        b"\xff",
        math.nan,
        Decimal("sNaN"),
        True,
        datetime.timedelta(1),
    ],
)
def test_updated_at_that_is_no_time_is_refused(value: object) -> None:
    with pytest.raises(BadValueError):
        parse_updated_at(value)


@pytest.mark.parametrize(
    "value",
    [
        b"0001-01-01T00:00:00Z",
        b"1969-12-31T23:59:59Z",
        b"1900-01-01",
        b"-infinity",
        b"0044-03-15 BC",
        b"0044-03-15 04:05:06.789+00 BC",
        b"-5",
        b"-0.5",
        datetime.datetime(1, 1, 1, tzinfo=EAST),
        -1,
        -0.5,
        -math.inf,
        Decimal("-1E+999999"),
    ],
)
def test_updated_at_before_what_can_be_shown_is_the_earliest(value: object) -> None:
    """V15: a time that is only shown withholds no ready partition."""
    assert parse_updated_at(value) == 0


@pytest.mark.parametrize(
    "value",
    [
        b"2262-04-11T23:47:16.854776Z",
        b"9999-12-31T23:59:59Z",
        b"9999-12-31",
        b"infinity",
        datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC),
        2**63,
        10**400,
        math.inf,
        Decimal("1E+999999"),
    ],
)
def test_updated_at_after_what_can_be_shown_is_the_latest(value: object) -> None:
    """V15."""
    assert parse_updated_at(value) == 2**63 - 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, NOT_SET), (0, 0), (b"12", 12), ("12", 12), (Decimal("12.0"), 12), (12.0, 12), (2**63 - 1, 2**63 - 1)],
)
def test_record_count_is_a_whole_number(value: object, expected: int) -> None:
    assert parse_record_count(value) == expected


@pytest.mark.parametrize(
    "value", [-1, b"-1", b"", b"1.5", 1.5, 2**63, "١٢", b"twelve", True, math.inf, Decimal("NaN"), []]
)
def test_record_count_that_is_no_count_is_refused(value: object) -> None:
    with pytest.raises(BadValueError):
        parse_record_count(value)


def test_schema_version_null_is_none() -> None:
    assert parse_schema_version(None) is None
    assert parse_schema_version(3) == b"3"


@pytest.mark.parametrize(
    "parse", [parse_id, parse_logical_date, parse_updated_at, parse_record_count, parse_schema_version, show_value]
)
@given(cell=CELLS)
def test_no_cell_raises_anything_but_bad_value(parse: Callable[[object], object], cell: object) -> None:
    """V15: a value that cannot be parsed never fails a load."""
    try:
        parse(cell)
    except BadValueError as error:
        assert str(error)


@given(st.binary())
def test_bytes_are_their_own_id(stored: bytes) -> None:
    assert parse_id(stored) == stored
    assert parse_id(stored.decode("utf-8", "surrogateescape")) == stored


@given(st.dates(min_value=datetime.date(1000, 1, 1)))
def test_date_is_the_same_in_every_form(day: datetime.date) -> None:
    ordinal = day.toordinal()
    for form in (day, day.isoformat(), render_date(ordinal), int(day.strftime("%Y%m%d")), day.strftime("%Y%m%d")):
        assert parse_logical_date(form) == ordinal


@given(st.datetimes(datetime.datetime(1970, 1, 1), datetime.datetime(2262, 4, 11)))  # noqa: DTZ001 - Hypothesis wants it
def test_time_is_the_same_as_text_and_as_datetime(moment: datetime.datetime) -> None:
    aware = moment.replace(tzinfo=datetime.UTC)
    expected = parse_updated_at(aware)
    assert parse_updated_at(aware.isoformat().encode()) == expected
    assert parse_updated_at(aware.astimezone(EAST).isoformat(" ")) == expected


@given(CELLS)
def test_shown_value_is_short_and_printable(cell: object) -> None:
    shown = show_value(cell)
    assert len(shown) <= 80
    assert shown.isprintable()
