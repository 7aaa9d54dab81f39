"""Paths of runs: what the layout makes, made once."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readyfs.layout import RawEncoding, RawLayout, UnusableNameError
from readyfs.partition import NOT_SET, Partition, PartitionKey, SeriesKey
from readyfs.raw.places import Places

VALUES = st.sampled_from([b"a", b"b:c", b"%", b"\xff", b"x" * 200, b"", b".", b"..", b"/", b"a/b", b"a\0"])
PARTITIONS = st.builds(
    lambda source, customer, query, date, run_id: Partition(
        PartitionKey(SeriesKey(source, customer, query), date), run_id, NOT_SET, NOT_SET, None
    ),
    *(VALUES, VALUES, VALUES, st.integers(1, 3_652_059), VALUES),
)
LAYOUTS = [
    RawLayout.parse(),
    RawLayout.parse(encoding=RawEncoding.HIVE),
    RawLayout.parse("fixed/{logical_date}/{run_id}.d/{source}-x/{query_name}/{customer_id}"),
]


def path_of(layout: RawLayout, partition: Partition) -> bytes | type[Exception]:
    try:
        return b"/".join(layout.directory_of(partition))
    except UnusableNameError as error:
        return type(error)


@pytest.mark.parametrize("layout", LAYOUTS, ids=range(len(LAYOUTS)))
@given(partitions=st.lists(PARTITIONS, min_size=1, max_size=6))
def test_paths_are_those_of_the_layout_asked_once_or_twice(layout: RawLayout, partitions: list[Partition]) -> None:
    places = Places(layout)
    for partition in partitions * 2:
        expected = path_of(layout, partition)
        if isinstance(expected, bytes):
            assert places.of_run(partition) == expected
            assert places.of_path(partition, (b"x", b"y")) == expected + b"/x/y"
        else:
            with pytest.raises(expected):
                places.of_run(partition)


@pytest.mark.parametrize("part", [b"..", b".", b"", b"a/b", b"a\0"])
def test_a_part_within_a_run_that_is_no_single_name_is_refused(partition: Partition, part: bytes) -> None:
    """V12: no value can lead upwards, or further down than one name."""
    places = Places(RawLayout.parse())
    for relpath in ((part,), (b"a", part), (part, b"a")):
        with pytest.raises(OSError) as caught:
            places.of_path(partition, relpath)
        assert caught.value.errno == errno.EINVAL
