"""V11: how old the catalog is, and what is refused when it is too old."""

from __future__ import annotations

import pytest

from readyfs.errors import StaleCatalogError
from readyfs.vfs.freshness import Freshness
from readyfs.vfs.inode_number import ROOT_INODE
from tests.catalog.rows import Row
from tests.vfs.place import DAY_1, PAYLOAD, Place


def test_there_is_no_age_before_the_first_success() -> None:
    freshness = Freshness(lambda: 5.0, lambda: 7)
    freshness.start()
    assert freshness.age_s() is None
    assert freshness.refreshed_at_ns is None


def test_age_counts_from_the_start_of_the_attempt_that_succeeded() -> None:
    """V11: what was committed while it ran may not have been seen."""
    moments = iter([10.0, 12.0, 17.0, 16.0])
    freshness = Freshness(lambda: next(moments), lambda: 99)
    began = freshness.start()
    later = freshness.start()
    freshness.succeeded(began)
    assert freshness.age_s() == 7.0
    freshness.succeeded(later)
    assert freshness.age_s() == 4.0
    assert freshness.refreshed_at_ns == 99


def test_attempt_that_failed_leaves_the_age_growing() -> None:
    moments = iter([10.0, 11.0, 20.0])
    freshness = Freshness(lambda: next(moments), lambda: 0)
    freshness.succeeded(freshness.start())
    freshness.start()
    assert freshness.age_s() == 10.0


def test_age_is_never_negative() -> None:
    moments = iter([10.0, 9.0])
    freshness = Freshness(lambda: next(moments), lambda: 0)
    freshness.succeeded(freshness.start())
    assert freshness.age_s() == 0.0


def test_stale_root_refuses_lookups_and_listings(place: Place) -> None:
    """V11: also of names that are not there, which nobody can know, and in the middle of a pass."""
    place.publish(Row())
    position = place.listed(ROOT_INODE)[0].next_position
    place.freshness.stale = True
    for name in (b"c", b"absent"):
        with pytest.raises(StaleCatalogError):
            place.fs.lookup(ROOT_INODE, name, may_block=False)
    for start in (0, position):
        with pytest.raises(StaleCatalogError):
            place.fs.read_directory(ROOT_INODE, start, may_block=False)


def test_process_below_a_stale_root_goes_on(place: Place) -> None:
    """V11: open files and held directories (V5, V6)."""
    place.serve(Row(), b"hello")
    day, query = place.day(), place.inode(b"c", b"q")
    handle = place.open(b"c", b"q", DAY_1, PAYLOAD)
    place.freshness.stale = True
    assert place.names(query) == [DAY_1]
    assert place.inode(DAY_1, start=query) == day
    assert place.fs.read(place.fs.open_file(place.inode(PAYLOAD, start=day)).handle, 0, 9) == b"hello"
    assert place.fs.read(handle, 0, 9) == b"hello"


def test_control_directory_of_a_stale_mount_is_reachable(place: Place) -> None:
    """V11: to say why."""
    place.freshness.stale = True
    assert place.names(place.inode(b".readyfs")) == [b"at", b"status.json", b"views"]
    place.open(b".readyfs", b"status.json")
    place.fs.getattr(ROOT_INODE)
    place.fs.getxattr(ROOT_INODE, b"user.readyfs.fingerprint")


def test_root_that_is_fresh_again_answers(place: Place) -> None:
    place.publish(Row())
    place.freshness.stale = True
    place.freshness.stale = False
    place.inode(b"c")
    assert place.names(ROOT_INODE) == [b"c"]
