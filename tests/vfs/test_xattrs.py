"""Lineage as extended attributes."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readyfs.errors import AttributesDisabledError, AttributesUnsupportedError, NoSuchAttributeError
from readyfs.partition import NOT_SET, render_time
from readyfs.vfs.attributes import Presentation
from readyfs.vfs.inode_number import ROOT_INODE
from readyfs.vfs.xattrs import PREFIX, row_lineage
from tests.catalog.rows import NOW_NS, Row
from tests.vfs.place import DAY_1, PAYLOAD, Place

EXPECTED = {
    b"user.readyfs.source": b"s",
    b"user.readyfs.customer_id": b"c",
    b"user.readyfs.query_name": b"q",
    b"user.readyfs.logical_date": b"2024-06-01",
    b"user.readyfs.run_id": b"r1",
    b"user.readyfs.updated_at": b"2024-06-01T12:30:00.000123+00:00",
    b"user.readyfs.record_count": b"7",
    b"user.readyfs.schema_version": b"v1",
}
OF_THE_ROW = (b"updated_at", b"record_count", b"schema_version")
OF_THE_RUN = {name: value for name, value in EXPECTED.items() if name.removeprefix(PREFIX) not in OF_THE_ROW}
ROW = Row(updated_at_ns=1_717_245_000_000_123_999)


def everything(place: Place, *names: bytes) -> dict[bytes, bytes]:
    inode = place.inode(*names) if names else ROOT_INODE
    return {name: place.fs.getxattr(inode, name) for name in place.fs.listxattr(inode)}


def test_date_directory_carries_the_lineage_and_what_lies_below_that_of_the_run(place: Place) -> None:
    """V9: a file is the same in every tree, and only what is true in each of them can be said of it."""
    place.serve(ROW, sub__f=b"")
    day = (b"c", b"q", DAY_1)
    assert everything(place, *day) == EXPECTED
    for names in ((*day, PAYLOAD), (*day, b"sub"), (*day, b"sub", b"f")):
        assert everything(place, *names) == OF_THE_RUN


def test_broken_file_carries_the_lineage_too(place: Place) -> None:
    """V10: so that one can see which run is meant."""
    place.publish(ROW)
    assert everything(place, b"c", b"q", DAY_1, PAYLOAD) == OF_THE_RUN


@pytest.mark.parametrize("is_whole", [True, False])
def test_lineage_follows_the_row_while_the_run_is_current(place: Place, is_whole: bool) -> None:
    """V9: on a directory that the kernel looked up long ago."""
    if is_whole:
        place.write(ROW, sub__f=b"")
    place.publish(ROW)
    held = place.inode(b"c", b"q", DAY_1)
    file = place.inode(b"c", b"q", DAY_1, PAYLOAD)
    place.publish(ROW._replace(record_count=8, schema_version=b"v2"))
    assert place.fs.getxattr(held, b"user.readyfs.record_count") == b"8"
    assert place.fs.getxattr(held, b"user.readyfs.schema_version") == b"v2"
    place.publish(ROW._replace(run=b"r2", record_count=9))
    assert place.fs.getxattr(held, b"user.readyfs.record_count") == b"8"
    for inode in (held, file):
        assert place.fs.getxattr(inode, b"user.readyfs.run_id") == b"r1"


def test_lineage_is_not_that_of_another_source_with_the_same_run_id(place: Place) -> None:
    """V2: a run is of one key."""
    place.serve(ROW)
    held = place.inode(b"c", b"q", DAY_1)
    place.publish(ROW._replace(source=b"other", record_count=9))
    assert place.fs.getxattr(held, b"user.readyfs.source") == b"s"
    assert place.fs.getxattr(held, b"user.readyfs.record_count") == b"7"


def test_null_columns_are_left_out() -> None:
    found = row_lineage(Row(updated_at_ns=NOT_SET, record_count=NOT_SET, schema_version=None).partition)
    assert found.keys() == {PREFIX + n for n in (b"source", b"customer_id", b"query_name", b"logical_date", b"run_id")}


def test_zero_is_a_value() -> None:
    found = row_lineage(Row(updated_at_ns=0, record_count=0, schema_version=b"").partition)
    assert found[PREFIX + b"updated_at"] == b"1970-01-01T00:00:00.000000+00:00"
    assert found[PREFIX + b"record_count"] == b"0"
    assert found[PREFIX + b"schema_version"] == b""


@given(st.integers(0, 2**63 - 1))
def test_time_is_rendered_to_the_microsecond_without_rounding(time_ns: int) -> None:
    moment = datetime.datetime.fromisoformat(render_time(time_ns).decode())
    since = moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    assert since // datetime.timedelta(microseconds=1) == time_ns // 1_000


def test_root_tells_revision_fingerprint_and_age(place: Place) -> None:
    place.publish(ROW)
    place.freshness.succeeded(place.freshness.start())
    place.clock.now_s += 2.5
    assert everything(place) == {
        b"user.readyfs.revision": b"2",
        b"user.readyfs.fingerprint": place.fs.in_force.catalog.fingerprint.encode(),
        b"user.readyfs.refreshed_at": render_time(NOW_NS + 100 * 10**9),
        b"user.readyfs.age_seconds": b"2.500",
    }


def test_root_has_no_age_before_the_first_success(place: Place) -> None:
    assert everything(place).keys() == {b"user.readyfs.revision", b"user.readyfs.fingerprint"}


@pytest.mark.parametrize("names", [(b"c",), (b"c", b"q"), (b".readyfs",), (b".readyfs", b"status.json")])
def test_other_nodes_have_none(place: Place, names: tuple[bytes, ...]) -> None:
    place.publish(ROW)
    assert everything(place, *names) == {}
    with pytest.raises(NoSuchAttributeError):
        place.fs.getxattr(place.inode(*names), b"user.readyfs.run_id")


@pytest.mark.parametrize("name", [b"user.other", b"user.readyfs.", b"user.readyfs.RUN_ID"])
def test_unknown_attribute_is_not_there(place: Place, name: bytes) -> None:
    place.publish(ROW)
    with pytest.raises(NoSuchAttributeError):
        place.fs.getxattr(place.day(), name)


@pytest.mark.parametrize("name", [b"security.capability", b"system.posix_acl_access", b"trusted.x", b"run_id", b""])
def test_other_namespaces_are_not_offered(place: Place, name: bytes) -> None:
    """Asked for by ls and cp on every file; they stop at ENOTSUP."""
    place.publish(ROW)
    with pytest.raises(AttributesUnsupportedError):
        place.fs.getxattr(place.day(), name)


def test_switched_off_attributes_are_off_for_every_name_and_none_is_listed(tmp_path: Path) -> None:
    place = Place(tmp_path / "raw", look=Presentation(0, 0, xattrs=False))
    place.publish(ROW)
    for name in (b"user.readyfs.run_id", b"security.capability"):
        with pytest.raises(AttributesDisabledError):
            place.fs.getxattr(place.day(), name)
    assert place.fs.listxattr(place.day()) == []


def test_attributes_need_no_raw_store(place: Place) -> None:
    place.serve(ROW)
    inode = place.inode(b"c", b"q", DAY_1, PAYLOAD)
    place.store.calls.clear()
    place.fs.getxattr(inode, b"user.readyfs.run_id")
    assert not place.store.calls
