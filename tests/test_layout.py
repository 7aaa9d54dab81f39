from __future__ import annotations

import datetime
import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from readyfs.errors import UsageError
from readyfs.layout import (
    DEFAULT_MOUNT_LAYOUT,
    DEFAULT_RAW_LAYOUT,
    NAMED_LAYOUTS,
    MountLayout,
    RawEncoding,
    RawLayout,
    UnusableNameError,
    hive_escape,
)
from readyfs.partition import Partition, PartitionKey, SeriesKey

JUNE_1 = datetime.date(2024, 6, 1).toordinal()


def values(min_size: int) -> st.SearchStrategy[bytes]:
    # Short values over the characters that matter find more than long random ones.
    tricky = st.sampled_from(
        [b".", b"%", b"2", b"E", b"/", b"\0", b"\x7f", b"readyfs", b"=", b"\xff", b" ", b"a", b":"]
    )
    return st.one_of(
        st.lists(tricky, min_size=min_size, max_size=4).map(b"".join),
        st.binary(min_size=min_size, max_size=20),
        st.text(min_size=min_size, max_size=20).map(str.encode),
    )


VALUES = values(0)
USABLE_KEYS = st.tuples(*[values(1)] * 3)
"""Only an empty value has no name, and none of these is long enough to have too long a one."""
TEMPLATES = st.sampled_from(
    [
        DEFAULT_MOUNT_LAYOUT,
        "{source}/{customer_id}/{query_name}/{logical_date}",
        "customer={customer_id}/all/query={query_name}/date={logical_date}",
        ".{customer_id}/{query_name}.d/{logical_date}",
        "{query_name}-/{customer_id}/x{logical_date}x",
    ]
)


def partition(source: bytes = b"s", customer: bytes = b"c", query: bytes = b"q", run: bytes = b"r") -> Partition:
    return Partition(PartitionKey(SeriesKey(source, customer, query), JUNE_1), run, 0, 0, None)


# ---- below the mount point ----------------------------------------------------------------------------------------


@given(TEMPLATES, USABLE_KEYS, USABLE_KEYS)
@example(DEFAULT_MOUNT_LAYOUT, (b"", b"c", b"q"), (b"s", b"c", b"q"))
@example(DEFAULT_MOUNT_LAYOUT, (b"s", b".", b"q"), (b"s", b"%2E", b"q"))
@example(DEFAULT_MOUNT_LAYOUT, (b"s", b".readyfs", b"q"), (b"s", b"%2Ereadyfs", b"q"))
@example(DEFAULT_MOUNT_LAYOUT, (b"s", b"a/b", b"q"), (b"s", b"a%2Fb", b"q"))
@example(DEFAULT_MOUNT_LAYOUT, (b"s", b"a", b"b/c"), (b"s", b"a/b", b"c"))
def test_different_values_never_share_a_path(
    template: str, one: tuple[bytes, bytes, bytes], other: tuple[bytes, bytes, bytes]
) -> None:
    """V12: the map from values to names is injective."""
    layout = MountLayout.parse(template)
    left, right = SeriesKey(*one), SeriesKey(*other)
    paths = layout.directory_of(left), layout.directory_of(right)
    same = left == right if layout.shows_source else left[1:] == right[1:]
    assert (paths[0] == paths[1]) == same


@given(TEMPLATES, VALUES, VALUES, VALUES)
def test_every_name_is_one_safe_path_component(template: str, source: bytes, customer: bytes, query: bytes) -> None:
    """V12: what Hive escapes, `.`, `..` and the reserved name never stand in a path of the mount."""
    layout = MountLayout.parse(template)
    series = SeriesKey(source, customer, query)
    try:
        names = layout.directory_of(series)
    except UnusableNameError:
        return
    assert len(names) == len(layout.above)
    for name, part in zip(names, template.split("/"), strict=False):
        literal = re.sub(r"\{.*\}", "", part).encode()
        assert 0 < len(name) <= 255
        assert name not in (b".", b"..", b".readyfs")
        forbidden = set(b"/:*?\"'\\#{}[]^\x7f\0") | set(range(32)) | (set(b"=") - set(literal))
        assert not forbidden & set(name)


@given(st.binary(min_size=1, max_size=60), st.binary(min_size=1, max_size=60))
@example(b".", b"..")
@example(b".readyfs", b"%2E")
def test_names_round_trip_through_percent_decoding(customer: bytes, query: bytes) -> None:
    """V12: a reader that decodes what Hive encodes gets the value back."""
    names = MountLayout.parse().directory_of(SeriesKey(b"s", customer, query))
    assert tuple(map(unquote_to_bytes, names)) == (customer, query)


@given(st.binary())
def test_hive_escape_round_trips(value: bytes) -> None:
    assert unquote_to_bytes(hive_escape(value)) == value


def test_hive_escape_encodes_exactly_what_hive_does() -> None:
    """V12: the set of FileUtils.escapePathName, in upper-case hexadecimal."""
    escaped = {byte for byte in range(256) if hive_escape(bytes([byte])) != bytes([byte])}
    assert escaped == {*range(1, 32), 0, 127, *b"\"#%'*/:=?\\{[]^}"}
    assert hive_escape(b"a/b\x7f\x1f") == b"a%2Fb%7F%1F"


@pytest.mark.parametrize("value", [b"_x", b".x", b"\xff\xfe", "ünï".encode(), b"a b", b"a&b;c", b"..."])
def test_ordinary_value_is_its_own_name(value: bytes) -> None:
    """V12: bytes that are not UTF-8 pass through, a leading dot or underscore is served."""
    assert MountLayout.parse().directory_of(SeriesKey(b"s", value, b"q")) == (value, b"q")


@pytest.mark.parametrize(("value", "name"), [(b".", b"%2E"), (b"..", b"%2E."), (b".readyfs", b"%2Ereadyfs")])
@pytest.mark.parametrize("place", [0, 1])
def test_name_with_a_meaning_of_its_own_is_encoded(value: bytes, name: bytes, place: int) -> None:
    """V12: `.`, `..` and the reserved name, at any depth."""
    values = [b"c", b"q"]
    values[place] = value
    assert MountLayout.parse().directory_of(SeriesKey(b"s", *values))[place] == name


def test_literal_text_may_complete_a_reserved_name_and_is_encoded_too() -> None:
    layout = MountLayout.parse(".{customer_id}/{query_name}/{logical_date}")
    assert layout.directory_of(SeriesKey(b"s", b"readyfs", b"q"))[0] == b"%2Ereadyfs"
    assert layout.directory_of(SeriesKey(b"s", b".", b"q"))[0] == b"%2E."


@pytest.mark.parametrize("series", [SeriesKey(b"s", b"", b"q"), SeriesKey(b"s", b"c", b"")])
def test_empty_value_is_unusable_even_beside_literal_text(series: SeriesKey) -> None:
    """V12: a part that would be empty is withheld."""
    for template in (DEFAULT_MOUNT_LAYOUT, "c-{customer_id}/q-{query_name}/{logical_date}"):
        with pytest.raises(UnusableNameError, match="is empty"):
            MountLayout.parse(template).directory_of(series)


def test_source_that_is_not_shown_may_be_anything() -> None:
    assert MountLayout.parse().directory_of(SeriesKey(b"", b"c", b"q")) == (b"c", b"q")


@pytest.mark.parametrize(
    ("value", "usable"), [(b"a" * 255, True), (b"a" * 256, False), (b"/" * 85, True), (b"/" * 86, False)]
)
def test_length_is_that_of_the_encoded_name(value: bytes, usable: bool) -> None:
    """V12: NAME_MAX counts the bytes of the name, not of the value."""
    series = SeriesKey(b"s", value, b"q")
    if usable:
        assert len(MountLayout.parse().directory_of(series)[0]) == 255
    else:
        with pytest.raises(UnusableNameError, match="more than 255"):
            MountLayout.parse().directory_of(series)


def test_literal_components_and_affixes_stand_in_the_path() -> None:
    layout = MountLayout.parse("all/c={customer_id}.d/{query_name}/date={logical_date}")
    assert layout.directory_of(SeriesKey(b"s", b"c1", b"q1")) == (b"all", b"c=c1.d", b"q1")
    assert layout.date_name(JUNE_1) == b"date=2024-06-01"
    assert not layout.shows_source
    assert MountLayout.parse("{source}/{customer_id}/{query_name}/{logical_date}").shows_source


@given(TEMPLATES, st.integers(1, datetime.date.max.toordinal()))
def test_date_name_round_trips(template: str, date: int) -> None:
    layout = MountLayout.parse(template)
    assert layout.parse_date_name(layout.date_name(date)) == date


# ---- reading back ---------------------------------------------------------------------------------------------------

IN_ANY_ORDER = st.sampled_from(
    [
        *NAMED_LAYOUTS,
        "{source}/{customer_id}/{query_name}/{logical_date}",
        "{query_name}/y{year}/{source}.d/all/{month}-{day}/{customer_id}",
        "{year}{month}{day}/2{source}/{customer_id}/{query_name}",
        "{day}.{month}/.{customer_id}/{query_name}/{year}",
        "{customer_id}/{query_name}/{logical_date}/x",
    ]
)


@given(IN_ANY_ORDER, USABLE_KEYS, st.integers(1, datetime.date.max.toordinal()))
@example("by-date", (b"s", b".readyfs", b".."), JUNE_1)
@example("by-date", (b"s", b"%2Ereadyfs", b"%2E."), JUNE_1)
@example("{day}.{month}/.{customer_id}/{query_name}/{year}", (b"s", b"readyfs", b"."), JUNE_1)
def test_every_path_is_read_back_into_its_values(template: str, values: tuple[bytes, bytes, bytes], date: int) -> None:
    """V12: wherever the fields stand, each name is one component and tells its value."""
    layout, series = MountLayout.parse(template), SeriesKey(*values)
    path = layout.path_of(series, date)
    assert layout.read(path) == (layout.shown(series), date)
    assert not {b"", b".", b"..", b".readyfs"}.intersection(path)
    assert not any(b"/" in name or b"\0" in name for name in path)


@given(IN_ANY_ORDER, st.lists(VALUES, min_size=3, max_size=6))
def test_what_is_read_is_written_so(template: str, path: list[bytes]) -> None:
    """V12: a path that is written in any other way stands for nothing."""
    layout = MountLayout.parse(template)
    found = layout.read(path)
    assert found is None or layout.path_of(*found) == tuple(path)


@pytest.mark.parametrize(
    "path",
    [
        (b"2024-06-01", b"c"),
        (b"2024-06-01", b"c", b"q", b"x"),
        (b"2024-6-01", b"c", b"q"),
        (b"2024-06-31", b"c", b"q"),
        (b"2024-06-01", b"a/b", b"q"),
        (b"2024-06-01", b"a%2fb", b"q"),
        (b"2024-06-01", b"%61", b"q"),
        (b"2024-06-01", b"%2Ex", b"q"),
        (b"2024-06-01", b"c", b"%"),
        (b"2024-06-01", b"c", b""),
        (b"2024-06-01", b".readyfs", b"q"),
    ],
)
def test_path_that_no_partition_has_is_read_as_nothing(path: tuple[bytes, ...]) -> None:
    """V12: one spelling of every value and date."""
    assert MountLayout.parse("by-date").read(path) is None
    assert MountLayout.parse("by-date").read((b"2024-06-01", b"a%2Fb", b"%2Ereadyfs")) is not None


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("hive", b"customer_id=c/query_name=q/logical_date=2024-06-01"),
        ("by-date", b"2024-06-01/c/q"),
        ("1{year}{month}2/{day}3/{customer_id}/{query_name}", b"12024062/013/c/q"),
        ("{customer_id}/{query_name}/{day}{month}{year}", b"c/q/01062024"),
    ],
)
def test_parts_of_the_date_have_a_fixed_width_whatever_stands_beside_them(template: str, path: bytes) -> None:
    layout, series = MountLayout.parse(template), SeriesKey(b"", b"c", b"q")
    assert layout.path_of(series, JUNE_1) == tuple(path.split(b"/"))
    assert layout.read(path.split(b"/")) == (series, JUNE_1)


@pytest.mark.parametrize(
    ("template", "is_last"),
    [
        ("plain", True),
        ("hive", True),
        ("{source}/{customer_id}/{query_name}/{year}-{month}-{day}", True),
        ("by-date", False),
        ("{customer_id}/{query_name}/{year}/{month}-{day}", False),
        ("{customer_id}/{query_name}/{logical_date}/x", False),
    ],
)
def test_date_is_last_where_the_last_component_holds_all_of_it(template: str, is_last: bool) -> None:
    assert MountLayout.parse(template).has_date_last == is_last


@pytest.mark.parametrize("name", [b"2024-06-01", b"date=2024-06-01 ", b"date=2024-6-1", b"date=", b"d", b"xate=x"])
def test_name_that_is_not_a_date_of_the_layout_means_none(name: bytes) -> None:
    layout = MountLayout.parse("{customer_id}/{query_name}/date={logical_date}")
    assert layout.parse_date_name(name) is None


def test_affixes_that_overlap_in_a_short_name_mean_none() -> None:
    layout = MountLayout.parse("{customer_id}/{query_name}/aa{logical_date}aa")
    assert layout.parse_date_name(b"aa") is None
    assert layout.parse_date_name(b"aaa") is None


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("", "'' is not a name"),
        ("/{customer_id}/{query_name}/{logical_date}", "it begins with a slash"),
        ("{customer_id}//{query_name}/{logical_date}", "'' is not a name"),
        ("{customer_id}/{query_name}/{logical_date}/", "it ends with a slash"),
        ("./{customer_id}/{query_name}/{logical_date}", "'.' is not a name"),
        ("{customer_id}/../{query_name}/{logical_date}", "'..' is not a name"),
        ("{customer_id}{query_name}/{logical_date}", "could not be told apart"),
        ("{customer_id}-{year}/{query_name}/{month}/{day}", "could not be told apart"),
        ("{customer_id/{query_name}/{logical_date}", "at most one {field}"),
        ("customer_id}/{query_name}/{logical_date}", "at most one {field}"),
        ("{}/{customer_id}/{query_name}/{logical_date}", "at most one {field}"),
        ("{Customer_ID}/{query_name}/{logical_date}", "at most one {field}"),
        ("{customer}/{query_name}/{logical_date}", "unknown field {customer}"),
        ("{run_id}/{customer_id}/{query_name}/{logical_date}", "unknown field {run_id}"),
        ("{customer_id}/{customer_id}/{query_name}/{logical_date}", "field {customer_id} stands twice"),
        ("{query_name}/{logical_date}", "field {customer_id} is missing"),
        ("{customer_id}/{logical_date}", "field {query_name} is missing"),
        ("{customer_id}/{query_name}", "field {logical_date} is missing"),
        ("{customer_id}/{query_name}/{logical_date}/{logical_date}", "field {logical_date} stands twice"),
        ("{customer_id}/{query_name}/{logical_date}{logical_date}", "the date stands twice"),
        ("{customer_id}/{query_name}/{year}/{year}-{month}-{day}", "field {year} stands twice"),
        ("{customer_id}/{query_name}/{year}{month}{day}{month}", "the date stands twice"),
        ("{year}/{customer_id}/{query_name}/{logical_date}", "in {logical_date} and in {year}"),
        ("{year}/{month}/{customer_id}/{query_name}", "the date is not complete, {day} is missing"),
        ("{customer_id}/{query_name}/{month}-{day}", "the date is not complete, {year} is missing"),
        ("{customer_id}/{query_name}/{year}/{day}", "the date is not complete, {month} is missing"),
        ("bydate", "not the name of one, and no template"),
        ("by-date/", "it ends with a slash"),
        (".readyfs/{logical_date}/{customer_id}/{query_name}", "reserved name"),
        (".readyfs/{customer_id}/{query_name}/{logical_date}", "reserved name"),
        ("a\nb/{customer_id}/{query_name}/{logical_date}", "control character"),
        ("\udcff/{customer_id}/{query_name}/{logical_date}", "control character"),
        ("x" * 256 + "/{customer_id}/{query_name}/{logical_date}", "more than 255 bytes"),
        ("{customer_id}/{query_name}/" + "x" * 246 + "{logical_date}", "more than 255 bytes"),
        ("\u00fc" * 128 + "{customer_id}/{query_name}/{logical_date}", "more than 255 bytes"),
    ],
)
def test_bad_template_is_refused_with_what_is_wrong(template: str, problem: str) -> None:
    with pytest.raises(UsageError, match=re.escape(problem)) as caught:
        MountLayout.parse(template)
    assert caught.value.remedy
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("length", [245, 10])
def test_template_whose_names_can_fit_is_accepted(length: int) -> None:
    layout = MountLayout.parse("{customer_id}/{query_name}/" + "x" * length + "{logical_date}")
    assert len(layout.date_name(JUNE_1)) == length + 10


def test_reserved_name_below_the_top_is_an_ordinary_literal() -> None:
    layout = MountLayout.parse("{customer_id}/.readyfs/{query_name}/{logical_date}")
    assert layout.directory_of(SeriesKey(b"s", b"c", b"q")) == (b"c", b".readyfs", b"q")


# ---- below the raw root -------------------------------------------------------------------------------------------


def test_raw_path_uses_values_verbatim() -> None:
    """V12: towards the raw store a value is used as it is, whatever Hive would escape."""
    layout = RawLayout.parse()
    assert layout.directory_of(partition(b"s=1", b"c:%41", b"\xff q", b"r*?")) == (
        b"s=1",
        b"customer_id=c:%41",
        b"query_name=\xff q",
        b"logical_date=2024-06-01",
        b"run_id=r*?",
    )


def test_raw_path_is_escaped_when_told_so() -> None:
    layout = RawLayout.parse(DEFAULT_RAW_LAYOUT, RawEncoding.HIVE)
    assert layout.directory_of(partition(b"s/1", b"c:%41", b"q\0", b"r*")) == (
        b"s%2F1",
        b"customer_id=c%3A%2541",
        b"query_name=q%00",
        b"logical_date=2024-06-01",
        b"run_id=r%2A",
    )


@given(
    st.sampled_from(RawEncoding),
    st.tuples(VALUES, VALUES, VALUES, VALUES),
    st.sampled_from([DEFAULT_RAW_LAYOUT, "runs/{run_id}/{logical_date}/{query_name}/{customer_id}"]),
)
def test_raw_path_is_always_beneath_the_root(
    encoding: RawEncoding, values: tuple[bytes, bytes, bytes, bytes], template: str
) -> None:
    """V12: no value can name anything outside the raw root."""
    layout = RawLayout.parse(template, encoding)
    try:
        names = layout.directory_of(partition(*values))
    except UnusableNameError:
        return
    assert len(names) == template.count("/") + 1
    for name in names:
        assert name not in (b"", b".", b"..")
        assert b"/" not in name
        assert b"\0" not in name
        assert len(name) <= 255


@pytest.mark.parametrize("bad", [b"", b".", b"..", b"a/b", b"/", b"a\0b", b"x" * 256])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_series_with_a_value_that_is_no_component_is_unusable(place: int, bad: bytes) -> None:
    """V12: not a single path component is withheld, also beside literal text that would make it one."""
    values = [b"s", b"c", b"q"]
    values[place] = bad
    one = partition(*values)
    with pytest.raises(UnusableNameError):
        RawLayout.parse().check_series(one.key.series)
    with pytest.raises(UnusableNameError):
        RawLayout.parse().directory_of(one)


@pytest.mark.parametrize("bad", [b"", b".", b"..", b"../x", b"a\0b", b"x" * 249])
def test_run_id_that_is_no_component_is_unusable(bad: bytes) -> None:
    layout = RawLayout.parse()
    with pytest.raises(UnusableNameError):
        layout.check_run_id(bad)
    with pytest.raises(UnusableNameError):
        layout.directory_of(partition(run=bad))


@given(st.sampled_from(RawEncoding), st.tuples(VALUES, VALUES, VALUES, VALUES))
def test_checks_accept_exactly_what_has_a_path(
    encoding: RawEncoding, values: tuple[bytes, bytes, bytes, bytes]
) -> None:
    layout = RawLayout.parse(encoding=encoding)
    one = partition(*values)

    def usable(check: object, argument: object) -> bool:
        assert callable(check)
        try:
            check(argument)
        except UnusableNameError:
            return False
        return True

    accepted = usable(layout.check_series, one.key.series) and usable(layout.check_run_id, one.run_id)
    assert accepted == usable(layout.directory_of, one)


RUN_IDS = st.lists(
    VALUES | st.sampled_from([b"", b".", b"..", b"a/b", b"a\0b"]) | st.integers(80, 260).map(b"x".__mul__)
)


@given(st.sampled_from([DEFAULT_RAW_LAYOUT, "{customer_id}/{query_name}/{logical_date}/{run_id}"]), RUN_IDS)
def test_many_run_ids_are_accepted_together_where_each_one_is(template: str, run_ids: list[bytes]) -> None:
    layout = RawLayout.parse(template)
    assert layout.takes_all(run_ids) == all(is_accepted(layout, run_id) for run_id in run_ids)


@given(RUN_IDS)
def test_together_no_run_id_is_accepted_whose_escaped_name_is_none(run_ids: list[bytes]) -> None:
    layout = RawLayout.parse(encoding=RawEncoding.HIVE)
    if layout.takes_all(run_ids):
        assert all(is_accepted(layout, run_id) for run_id in run_ids)


def test_usual_run_ids_are_accepted_together_where_names_are_escaped() -> None:
    layout = RawLayout.parse(encoding=RawEncoding.HIVE)
    assert not layout.takes_all([b"2020-01-01T04:10:11.123Z", b"x" * 240])  # each is looked at then
    assert layout.takes_all([b"2020-01-01T04:10:11.123Z", b"x" * 80])
    assert layout.takes_all([b"x" * 248])


def is_accepted(layout: RawLayout, run_id: bytes) -> bool:
    try:
        layout.check_run_id(run_id)
    except UnusableNameError:
        return False
    return True


def test_source_that_is_not_in_the_raw_path_may_be_anything() -> None:
    layout = RawLayout.parse("{customer_id}/{query_name}/{logical_date}/{run_id}")
    layout.check_series(SeriesKey(b"../x", b"c", b"q"))
    assert layout.directory_of(partition(source=b"../x"))[0] == b"c"


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{customer_id}/{query_name}/{logical_date}", "field {run_id} is missing"),
        ("{customer_id}/{query_name}/{run_id}", "field {logical_date} is missing"),
        ("/data/{customer_id}/{query_name}/{logical_date}/{run_id}", "it begins with a slash"),
        ("../{customer_id}/{query_name}/{logical_date}/{run_id}", "'..' is not a name"),
        ("{customer_id}-{query_name}/{logical_date}/{run_id}", "could not be told apart"),
        ("{customer_id}/{query_name}/{year}/{month}/{day}/{run_id}", "unknown field {year}"),
        ("{customer_id}/{query_name}/{logical_date}{logical_date}/{run_id}", "the date stands twice"),
    ],
)
def test_bad_raw_template_is_refused_with_what_is_wrong(template: str, problem: str) -> None:
    with pytest.raises(UsageError, match=re.escape(problem)) as caught:
        RawLayout.parse(template)
    assert "raw layout" in caught.value.message
    assert "{run_id}" in caught.value.remedy
