"""What a kernel must forget after a refresh."""

from __future__ import annotations

from readyfs.catalog.delta import compare
from readyfs.vfs.inode_number import ROOT_INODE, InodeNumber, above_inode, date_inode
from readyfs.vfs.invalidation import Invalidation, plan_invalidations, plan_names, plan_root_invalidation
from tests.catalog.rows import JUNE_1, Row
from tests.vfs.place import DAY_1, Place


def plan(place: Place, *rows: Row) -> list[Invalidation]:
    """Return what the kernel is told before a catalog of these rows is in force, and what once it is."""
    before = place.fs.in_force.catalog
    place.publish(*rows)
    delta = compare(before, place.fs.in_force.catalog)
    return [*plan_names(delta, place.fs.inodes), *plan_invalidations(delta, place.fs.inodes)]


def told(directory: InodeNumber, *names: bytes) -> list[Invalidation]:
    """Return what tells of names: all before they change, one in front of the listing."""
    return [Invalidation(directory, names, listing=False), Invalidation(directory, names[:1])]


def test_directory_that_the_kernel_never_saw_costs_nothing(place: Place) -> None:
    place.publish(Row())
    assert plan(place, Row(), Row(date=JUNE_1 + 1)) == []


def test_changed_names_of_a_known_directory_are_forgotten(place: Place) -> None:
    """V3: what came (it may be remembered as absent), what went, and what means another run."""
    place.publish(Row(), Row(date=JUNE_1 + 1), Row(date=JUNE_1 + 2))
    place.inode(b"c", b"q")
    found = plan(place, Row(run=b"r2"), Row(date=JUNE_1 + 1), Row(date=JUNE_1 + 3))
    assert found == told(above_inode((b"c", b"q")), DAY_1, b"2024-06-03", b"2024-06-04")


def test_known_directory_of_another_series_is_left_alone(place: Place) -> None:
    place.publish(Row(), Row(query=b"q2"))
    place.inode(b"c", b"q2")
    assert plan(place, Row(run=b"r2"), Row(query=b"q2")) == []


def test_root_is_always_known(place: Place) -> None:
    assert plan(place, Row()) == told(ROOT_INODE, b"c")


def test_held_directory_that_went_and_comes_back_is_told_both_times(place: Place) -> None:
    """V6."""
    place.publish(Row())
    query = place.inode(b"c", b"q")
    for found in (plan(place), plan(place, Row())):
        assert [one for one in found if one.directory == query] == told(query, DAY_1)


def test_touched_partition_loses_its_attributes_if_the_kernel_holds_it(place: Place) -> None:
    """V9."""
    place.publish(Row(), Row(date=JUNE_1 + 1))
    day = place.day()
    found = plan(place, Row(updated_at_ns=5), Row(date=JUNE_1 + 1, updated_at_ns=5))
    assert found == [Invalidation(above_inode((b"c", b"q")), (), (day,), listing=False)]
    assert day == date_inode(Row().partition)


def test_stale_root_forgets_every_top_name() -> None:
    """V11."""
    assert plan_root_invalidation((b"a", b"b")) == Invalidation(ROOT_INODE, (b"a", b"b"))


def test_listing_of_a_stale_root_that_is_empty_is_dropped_too() -> None:
    """V11: cached, it would go on saying that nothing is ready."""
    assert plan_root_invalidation(()).listing
