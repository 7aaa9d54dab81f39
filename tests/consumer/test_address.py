"""What people name, and why it can never be there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readyfs.consumer.address import Address, ImpossibleAddressError, ViewName
from readyfs.consumer.address_key import render_key
from readyfs.consumer.address_text import parse_address
from readyfs.errors import UsageError
from readyfs.layout import NAMED_LAYOUTS, MountLayout, UnusableNameError
from readyfs.partition import PartitionKey, SeriesKey, parse_date
from readyfs.state.filters import Filters

PLACE = Path("/mnt/ready")
PLAIN = MountLayout.parse()
DATE = parse_date(b"2024-06-01") or 0
VALUES = st.binary(min_size=1, max_size=40).filter(lambda value: b"\0" not in value)


def parse(text: str, layout: str = "plain", source: str | None = None) -> Address:
    return parse_address(text, MountLayout.parse(layout), PLACE, source)


def refusal(text: str, layout: str = "plain", source: str | None = None) -> ImpossibleAddressError:
    with pytest.raises(ImpossibleAddressError) as caught:
        parse(text, layout, source)
    assert str(caught.value).isprintable()
    return caught.value


def test_name_of_a_list_may_stand_above_a_partition() -> None:
    """A customer may have such a name, and then it is that customer's."""
    assert parse("/mnt/ready/.manifest.jsonl/daily/2024-06-01").customer_id == b".manifest.jsonl"


@pytest.mark.parametrize("text", ["001/daily/2024-06-01", "/mnt/ready/001/daily/2024-06-01", "001/daily/2024-06-01/"])
def test_key_and_path_name_the_same_partition(text: str) -> None:
    address = parse(text, source="ads")
    assert address.key == PartitionKey(SeriesKey(b"ads", b"001", b"daily"), DATE)
    assert address.names_partition


@pytest.mark.parametrize("layout", [*NAMED_LAYOUTS, "{source}/{year}/{customer_id}/{month}-{day}/x/q-{query_name}"])
@given(customer=VALUES, query=VALUES, date=st.integers(1, 3_650_000))
def test_every_path_of_a_layout_is_read_back(layout: str, customer: bytes, query: bytes, date: int) -> None:
    parsed = MountLayout.parse(layout)
    try:
        names = parsed.path_of(SeriesKey(b"ads", customer, query), date)
    except UnusableNameError:
        return
    for file in ((), (b"payload.jsonl",), (b"a", b"b")):
        text = os.fsdecode(b"/".join((os.fsencode(PLACE), *names, *file)))
        address = parse_address(text, parsed, PLACE, "ads")
        assert address == Address(b"ads", customer, query, date, date, file=file)


@given(customer=VALUES, query=VALUES, date=st.integers(1, 3_650_000))
def test_every_key_is_read_back(customer: bytes, query: bytes, date: int) -> None:
    text = os.fsdecode(render_key(customer, query, date))
    assert parse(text) == Address(None, customer, query, date, date)


def test_beginning_of_a_key_names_all_below_it() -> None:
    assert parse("001") == Address(customer_id=b"001")
    assert parse("001/daily") == Address(customer_id=b"001", query_name=b"daily")
    assert not parse("001/daily").names_partition
    assert parse("001/daily/latest").is_latest
    assert parse("001/daily/latest").names_partition


def test_part_of_a_key_needs_no_escapes_but_for_what_a_key_is_made_of() -> None:
    assert parse("a:b=c/q?").customer_id == b"a:b=c"
    assert parse("a%3Ab/q").customer_id == b"a:b"
    assert parse("a%2Fb/50%25").query_name == b"50%"


def test_path_of_a_view_or_of_a_link_says_so() -> None:
    assert parse("/mnt/ready/.readyfs/at/~1/001").view == ViewName(b"at", b"~1")
    assert parse("/mnt/ready/.readyfs/views/c0ffee/001/daily").view == ViewName(b"views", b"c0ffee")
    assert parse("/mnt/ready/001/daily/latest/payload.jsonl") == Address(
        customer_id=b"001", query_name=b"daily", is_latest=True, file=(b"payload.jsonl",)
    )
    assert parse("/mnt/ready") == parse("/mnt/ready/.") == parse("/mnt/ready/001/..") == Address()


def test_directory_of_a_year_or_a_month_covers_its_dates() -> None:
    layout = "{year}/{month}/{customer_id}/{day}/{query_name}"
    year, month = parse("/mnt/ready/2024", layout), parse("/mnt/ready/2024/02/001", layout)
    assert (year.first, year.last) == (parse_date(b"2024-01-01"), parse_date(b"2024-12-31"))
    assert (month.first, month.last) == (parse_date(b"2024-02-01"), parse_date(b"2024-02-29"))
    assert (month.date, month.customer_id) == (None, b"001")


@pytest.mark.parametrize(
    ("layout", "text", "reason", "nearest"),
    [
        ("plain", "001/daily/2024-6-1", "is no date", "001/daily/2024-06-01"),
        ("plain", "001/daily/20240601", "is no date", "001/daily/2024-06-01"),
        ("plain", "001/daily/2024-02-30", "is no date", None),
        ("plain", "001/daily/today", "is no date", None),
        ("plain", "50%/daily", "escapes nothing", "50%25/daily"),
        ("plain", "001//2024-06-01", "empty name", None),
        ("plain", "001//daily/2024-06-01", "empty name", "001/daily/2024-06-01"),
        ("plain", "ads/001/daily/2024-06-01", "four parts, and a path begins", "--source ads 001/daily/2024-06-01"),
        ("plain", "customer_id=001/query_name=daily/logical_date=2024-06-01", "is no date", "001/daily/2024-06-01"),
        ("plain", "a/b/c/d/e", "5 parts, and a path begins with ./ or /", None),
        ("plain", "001/daily/2024-06-01/payload.jsonl", "behind its date", "001/daily/2024-06-01"),
        ("plain", "/mnt/ready/a%3ab/daily", "otherwise", "/mnt/ready/a%3Ab/daily"),
        ("plain", "/mnt/ready/a:b/daily/2024-06-01/x", "otherwise", "/mnt/ready/a%3Ab/daily/2024-06-01/x"),
        ("plain", "/mnt/ready/001/daily/2024-6-1", "no date", "/mnt/ready/001/daily/2024-06-01"),
        ("plain", "/mnt/ready/001/daily/2024-02-30", "not in the calendar", None),
        ("plain", "/mnt/ready/001/daily/LATEST", "no date", None),
        ("hive", "/mnt/ready/001/daily/2024-06-01", "layout plain",
         "/mnt/ready/customer_id=001/query_name=daily/logical_date=2024-06-01"),
        ("plain", "/mnt/ready/customer_id=001/query_name=daily/logical_date=2024-06-01/x", "layout hive",
         "/mnt/ready/001/daily/2024-06-01/x"),
        ("by-date", "/mnt/ready/.readyfs/at/~1/001/daily/2024-06-01", "layout plain",
         "/mnt/ready/.readyfs/at/~1/2024-06-01/001/daily"),
        ("hive", "/mnt/ready/001", "cannot stand there", "/mnt/ready/customer_id=001"),
        ("x/{source}/{customer_id}/{query_name}/{logical_date}", "/mnt/ready/y", "cannot stand", "/mnt/ready/x"),
        ("{year}/{month}/{customer_id}/{day}/{query_name}", "/mnt/ready/2024/13", "not in the calendar", None),
        ("plain", "/mnt/ready/.readyfs", "reserved", None),
        ("plain", "/mnt/ready/.manifest.jsonl", "a list of what is ready", None),
        ("hive", "/mnt/ready/customer_id=001/.manifest.paths0", "a list of what is ready", None),
        ("plain", "/mnt/ready/.readyfs/status.json", "reserved", None),
        ("plain", "/mnt/other/001", "outside", None),
        ("plain", "/mnt/ready/../001", "outside", None),
        ("plain", "/mnt/ready/" + "x" * 256, "longer than 255", None),
    ],
)  # fmt: skip
def test_what_can_never_be_there_says_why_and_what_is_near(
    layout: str, text: str, reason: str, nearest: str | None
) -> None:
    error = refusal(text, layout)
    assert reason in error.reason
    assert error.nearest == (None if nearest is None else os.fsencode(nearest))
    if nearest is not None and not nearest.startswith("--"):
        parse(nearest, layout)


def test_path_of_another_source_is_impossible() -> None:
    layout = "{source}/{customer_id}/{query_name}/{logical_date}"
    assert "not of the source bing" in refusal("/mnt/ready/ads/001", layout, "bing").reason


def test_path_where_no_mount_is_and_nothing_at_all_are_mistakes() -> None:
    for text in ("/data/x", "", "/"):
        with pytest.raises(UsageError):
            parse_address(text, PLAIN)


def test_address_narrows_filters_to_itself_and_never_widens_them() -> None:
    filters = Filters(customers=("0*",), since=DATE - 1, until=DATE + 1)
    narrowed = parse("0*1/daily").narrow(filters)
    assert narrowed is not None
    assert narrowed.admits(SeriesKey(b"s", b"0*1", b"daily"))
    assert not narrowed.admits(SeriesKey(b"s", b"0x1", b"daily"))
    assert (narrowed.since, narrowed.until) == (DATE - 1, DATE + 1)
    assert parse("1/daily").narrow(filters) is None
    one = parse("0/daily/2024-06-01").narrow(filters)
    assert one is not None
    assert (one.since, one.until) == (DATE, DATE)
    assert parse("0/daily/2024-06-03").narrow(filters) is None
    assert Address().narrow(filters) == filters


@pytest.mark.parametrize("text", ["daily/2024-06-01", "2024-06-01", "2024-06-01/"])
def test_what_was_typed_in_a_directory_of_a_mount_is_no_key(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert "is read as customer" in caught.value.message
    assert "a path begins with ./ or /" in caught.value.remedy
    # Behind a dot the mount is found, and what `locate` makes of it is a path.
    assert parse("/mnt/ready/001/daily/2024-06-01").date == DATE


@pytest.mark.parametrize("text", ["001/daily/2024-02", "001/daily/202402", "/mnt/ready/001/daily/2024-02"])
def test_month_is_chosen_by_its_first_and_last_day(text: str) -> None:
    error = refusal(text)
    assert error.nearest is None
    assert "--since 2024-02-01 --until 2024-02-29" in error.remedy


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("001/daily/20240601", b"001/daily/2024-06-01"),
        ("001/daily/2024-11", None),
        ("001/daily/2024-13", None),
        ("001/daily/2024-1234", None),
    ],
)
def test_near_date_is_guessed_from_one_that_is_whole(text: str, nearest: bytes | None) -> None:
    assert refusal(text).nearest == nearest
