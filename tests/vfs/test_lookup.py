"""Names: what lookup and getattr answer, and how often the kernel holds what they gave."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from readyfs.catalog.delta import compare
from readyfs.errors import (
    BrokenRunError,
    NotADirectoryNodeError,
    StaleHandleError,
    WouldBlockError,
)
from readyfs.partition import NOT_SET
from readyfs.vfs import inode_number
from readyfs.vfs.attributes import FOREVER_S, NegativeEntry, Presentation
from readyfs.vfs.inode_number import ROOT_INODE, InodeNumber, NodeKind
from readyfs.vfs.inode_table import InodeCollisionError
from readyfs.vfs.invalidation import Invalidation
from tests.catalog.rows import JUNE_1, Row, build
from tests.vfs.place import DAY_1, METADATA, PAYLOAD, Place

DAY_NS = 1_717_200_000_000_000_000  # midnight UTC of 2024-06-01


# ---- what exists --------------------------------------------------------------------------------------------------


def test_ready_partition_is_found_down_to_its_files(place: Place) -> None:
    """V1."""
    place.serve(Row(), b"hello")
    entry = place.entry(b"c", b"q", DAY_1, PAYLOAD)
    assert entry.node.kind is NodeKind.RAW_FILE
    assert entry.attributes.size == 5


@pytest.mark.parametrize(
    "names",
    [
        (b"x",),
        (b"c", b"x"),
        (b"c", b"q", b"2024-06-02"),
        (b"c", b"q", b"2024-6-1"),
        (b"c", b"q", b"20240601"),
        (b"c", b"q", b"x"),
        (b"c", b"q", b"."),
        (b"c", b"q", b"\xff"),
    ],
)
def test_what_is_not_ready_is_absent_and_may_be_remembered_for_a_moment(place: Place, names: tuple[bytes, ...]) -> None:
    """V1."""
    place.serve(Row())
    assert place.find(*names) == NegativeEntry(2.0)


def test_negative_time_is_never_longer_than_the_name_time(tmp_path: Path) -> None:
    place = Place(tmp_path / "raw", look=Presentation(0, 0, name_timeout_s=0.5))
    assert place.find(b"x") == NegativeEntry(0.5)


def test_name_above_a_run_is_answered_without_the_raw_store(place: Place) -> None:
    """Down to and including the date directory there is no I/O: a hung raw store stops no `ls` of what is ready."""
    place.publish(Row())
    for names in ((b"c",), (b"c", b"q"), (b"c", b"q", DAY_1)):
        inode = ROOT_INODE
        for name in names:
            entry = place.fs.lookup(inode, name, may_block=False)
            assert not isinstance(entry, NegativeEntry)
            inode = entry.node.inode
            place.fs.getattr(inode)
    assert not place.store.calls


def test_name_in_a_run_needs_the_raw_store_once(place: Place) -> None:
    place.serve(Row())
    day = place.day()
    with pytest.raises(WouldBlockError):
        place.fs.lookup(day, PAYLOAD, may_block=False)
    assert not place.store.calls
    place.fs.lookup(day, PAYLOAD, may_block=True)
    place.fs.lookup(day, METADATA, may_block=False)
    place.fs.lookup(day, b"absent", may_block=False)


def test_lookup_that_would_block_counts_nothing(place: Place) -> None:
    place.serve(Row())
    day = place.day()
    before = len(place.fs.inodes)
    with pytest.raises(WouldBlockError):
        place.fs.lookup(day, PAYLOAD, may_block=False)
    assert len(place.fs.inodes) == before


def test_absent_name_in_a_sealed_run_is_remembered_like_any_name(place: Place) -> None:
    place.serve(Row())
    assert place.find(b"c", b"q", DAY_1, b"absent") == NegativeEntry(60.0)


def test_name_below_a_file_is_not_a_directory(place: Place) -> None:
    place.serve(Row())
    with pytest.raises(NotADirectoryNodeError):
        place.find(b"c", b"q", DAY_1, PAYLOAD, b"x")


def test_subdirectory_of_a_run_is_walked(place: Place) -> None:
    place.serve(Row(), sub__deep__f=b"123")
    assert place.entry(b"c", b"q", DAY_1, b"sub", b"deep", b"f").attributes.size == 3
    assert place.read(b"c", b"q", DAY_1, b"sub", b"deep", b"f") == b"123"
    assert isinstance(place.find(b"c", b"q", DAY_1, b"sub", b"absent"), NegativeEntry)


# ---- counts -------------------------------------------------------------------------------------------------------


def test_every_lookup_is_counted_and_forgotten_as_often(place: Place) -> None:
    place.serve(Row())
    first, second = place.entry(b"c"), place.entry(b"c")
    assert first.node.identity == second.node.identity
    place.fs.forget([(first.node.inode, 1)])
    place.fs.getattr(first.node.inode)
    place.fs.forget([(first.node.inode, 1)])
    with pytest.raises(StaleHandleError):
        place.fs.getattr(first.node.inode)


def test_file_that_is_looked_up_again_is_the_same_node(place: Place) -> None:
    """V5: its cached pages are found again."""
    place.serve(Row(), sub__f=b"")
    for names in ((PAYLOAD,), (b"sub",), (b"sub", b"f")):
        first, second = (place.entry(b"c", b"q", DAY_1, *names) for _ in range(2))
        assert first.node.identity == second.node.identity


def test_absent_name_counts_nothing(place: Place) -> None:
    place.find(b"x")
    assert len(place.fs.inodes) == 1


def test_unknown_inode_is_stale_for_every_request(place: Place) -> None:
    inode = InodeNumber(99)
    with pytest.raises(StaleHandleError):
        place.fs.lookup(inode, b"x", may_block=True)
    with pytest.raises(StaleHandleError):
        place.fs.getattr(inode)
    with pytest.raises(StaleHandleError):
        place.fs.read_directory(inode, 0, may_block=True)
    with pytest.raises(StaleHandleError):
        place.fs.open_file(inode)
    with pytest.raises(StaleHandleError):
        place.fs.getxattr(inode, b"user.readyfs.run_id")
    with pytest.raises(StaleHandleError):
        place.fs.listxattr(inode)


def test_newcomer_that_collides_is_an_error_and_its_elder_stays(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never merged: with few bits instead of 63 some names of a small tree must meet."""
    rows = [Row(customer=b"c%d" % number) for number in range(8)]
    for row in rows:
        place.write(row, row.customer)
    place.publish(*rows)
    real = inode_number._number
    monkeypatch.setattr(inode_number, "_number", lambda text: InodeNumber(2 + real(text) % 8))
    served: dict[bytes, InodeNumber] = {}
    refused = 0
    for row in rows:
        try:
            served[row.customer] = place.inode(row.customer)
        except InodeCollisionError:
            refused += 1
    assert served
    assert refused
    assert len(set(served.values())) == len(served)
    for customer, inode in served.items():
        assert place.fs.inodes.get(inode).identity[2:] == (customer,)
    assert issubclass(InodeCollisionError, BrokenRunError)


def test_collision_is_over_when_its_elder_was_forgotten(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.publish(Row(customer=b"c1"), Row(customer=b"c2"))
    monkeypatch.setattr(inode_number, "_number", lambda text: InodeNumber(42))
    place.inode(b"c1")
    with pytest.raises(InodeCollisionError):
        place.inode(b"c2")
    place.fs.forget([(InodeNumber(42), 1)])
    place.inode(b"c2")


# ---- attributes and times -----------------------------------------------------------------------------------------


def test_directories_and_files_look_as_configured(tmp_path: Path) -> None:
    """V9: modes carry no write, set-id or sticky bit; owner as set."""
    place = Place(tmp_path / "raw", look=Presentation(7, 8, file_mode=0o440, dir_mode=0o550))
    place.serve(Row())
    for names, mode in (((b"c",), 0o040550), ((b"c", b"q", DAY_1), 0o040550), ((b"c", b"q", DAY_1, PAYLOAD), 0o100440)):
        attributes = place.entry(*names).attributes
        assert (attributes.mode, attributes.uid, attributes.gid) == (mode, 7, 8)


def test_file_has_the_size_and_mtime_of_the_raw_file(place: Place) -> None:
    """V9: st_blocks is ceil(size/512)."""
    directory = place.serve(Row(), b"x" * 513)
    attributes = place.entry(b"c", b"q", DAY_1, PAYLOAD).attributes
    assert attributes.time_ns == (directory / "payload.jsonl").stat().st_mtime_ns
    assert (attributes.size, attributes.blocks) == (513, 2)


@pytest.mark.parametrize(("updated_at_ns", "time_ns"), [(5_000, 5_000), (0, 0), (NOT_SET, DAY_NS)])
def test_date_directory_is_as_old_as_its_row(place: Place, updated_at_ns: int, time_ns: int) -> None:
    """V9: midnight UTC of its date where the row holds NULL."""
    place.publish(Row(updated_at_ns=updated_at_ns))
    entry = place.entry(b"c", b"q", DAY_1)
    assert entry.attributes.time_ns == time_ns
    assert place.fs.getattr(entry.node.inode)[0].time_ns == time_ns


def test_date_before_1970_without_update_time_is_not_negative(place: Place) -> None:
    place.publish(Row(date=1, updated_at_ns=NOT_SET))
    assert place.entry(b"c", b"q", b"0001-01-01").attributes.time_ns == 0


def test_touched_row_shows_in_the_directory_that_is_held(place: Place) -> None:
    """V9: the same inode, its new time; and so do its extended attributes."""
    place.publish(Row())
    day = place.day()
    place.publish(Row(updated_at_ns=9_000, record_count=99))
    assert place.fs.getattr(day)[0].time_ns == 9_000
    assert place.fs.getxattr(day, b"user.readyfs.record_count") == b"99"
    assert place.day() == day


def test_attributes_of_lookup_and_getattr_are_the_same(place: Place) -> None:
    place.serve(Row(), sub__f=b"1")
    for names in (
        (b"c",),
        (b"c", b"q"),
        (b"c", b"q", DAY_1),
        (b"c", b"q", DAY_1, PAYLOAD),
        (b"c", b"q", DAY_1, b"sub"),
        (b"c", b"q", DAY_1, b"sub", b"f"),
    ):
        entry = place.entry(*names)
        assert place.fs.getattr(entry.node.inode) == (entry.attributes, entry.attr_timeout_s)
        assert entry.attributes.inode == entry.node.inode


def test_cache_times_are_the_name_time_above_a_run_and_unlimited_below(tmp_path: Path) -> None:
    place = Place(tmp_path / "raw", look=Presentation(0, 0, name_timeout_s=33.0))
    place.serve(Row(), sub__f=b"")
    for names, seconds in (
        ((b"c",), 33.0),
        ((b"c", b"q", DAY_1), 33.0),
        ((b"c", b"q", DAY_1, PAYLOAD), FOREVER_S),
        ((b"c", b"q", DAY_1, b"sub"), FOREVER_S),
        ((b"c", b"q", DAY_1, b"sub", b"f"), FOREVER_S),
    ):
        entry = place.entry(*names)
        assert (entry.entry_timeout_s, entry.attr_timeout_s) == (seconds, seconds)


# ---- switching, retraction, pinning -------------------------------------------------------------------------------


def test_switched_run_is_another_inode_all_the_way_down(place: Place) -> None:
    """V2, V6: so pages and entries of one run are never taken for those of another."""
    place.write(Row(), b"old")
    place.write(Row(run=b"r2"), b"new")
    place.publish(Row())
    old = place.day()
    old_payload = place.inode(PAYLOAD, start=old)
    place.publish(Row(run=b"r2"))
    new = place.day()
    assert new != old
    assert place.inode(PAYLOAD, start=new) != old_payload
    assert place.read(b"c", b"q", DAY_1, PAYLOAD) == b"new"


def test_held_date_directory_keeps_its_run(place: Place) -> None:
    """V6: after a switch and after retraction; payload and metadata of one run."""
    place.write(Row(), b"old", only_old=b"")
    place.write(Row(run=b"r2"), b"newer")
    place.publish(Row(updated_at_ns=5))
    held = place.day()
    for following in ([Row(run=b"r2", updated_at_ns=6)], [], [Row(source=b"s2"), Row(source=b"s3")]):
        place.publish(*following)
        assert place.fs.getattr(held)[0].time_ns == 5
        assert place.names(held) == [METADATA, b"only.old", PAYLOAD]
        assert place.entry(PAYLOAD, start=held).attributes.size == 3
        assert place.fs.getxattr(held, b"user.readyfs.run_id") == b"r1"


def test_held_directory_whose_last_partition_went_is_empty_and_fills_again(place: Place) -> None:
    """V6."""
    place.publish(Row())
    held = place.inode(b"c", b"q")
    there_ns = place.fs.getattr(held)[0].time_ns
    place.publish(Row(customer=b"other"))
    assert place.names(held) == []
    assert isinstance(place.find(DAY_1, start=held), NegativeEntry)
    gone_ns = place.fs.getattr(held)[0].time_ns
    assert gone_ns > there_ns
    place.publish(Row(date=JUNE_1 + 1))
    assert place.names(held) == [b"2024-06-02"]
    assert place.fs.getattr(held)[0].time_ns > gone_ns
    assert place.inode(b"c", b"q") == held


# ---- a catalog that is announced ----------------------------------------------------------------------------------


def test_what_is_to_change_is_not_kept_until_it_has(place: Place) -> None:
    """V4: neither names that are there nor absences, in directories of which any name changes."""
    place.publish(Row(), Row(query=b"q2"))
    before = place.fs.in_force.catalog
    delta = compare(before, build([Row(run=b"r2"), Row(query=b"q2")], before))
    known = place.inode(b"c", b"q")
    plan = list(place.fs.announce(delta))
    assert plan == [Invalidation(known, (DAY_1,), listing=False)]

    def kept(query: bytes) -> list[float]:
        inode = place.inode(b"c", query)
        found = place.find(b"absent", start=inode)
        assert isinstance(found, NegativeEntry)
        listed = [one.entry.entry_timeout_s for one in place.listed(inode) if one.counted]
        return [place.entry(DAY_1, start=inode).entry_timeout_s, found.timeout_s, *listed]

    assert kept(b"q") == [0.0, 0.0, 0.0]
    assert kept(b"q2") == [60.0, 2.0, 60.0]
    assert place.entry(b"c", b"q").entry_timeout_s == 60.0
    place.publish(Row(run=b"r2"), Row(query=b"q2"))
    assert kept(b"q") == kept(b"q2") == [60.0, 2.0, 60.0]


def test_listing_of_before_an_announcement_is_not_kept_either(place: Place) -> None:
    place.publish(Row(), Row(date=JUNE_1 + 1))
    before = place.fs.in_force.catalog
    under_way = iter(place.fs.read_directory(place.inode(b"c", b"q"), 0, may_block=True))
    assert [next(under_way).entry.entry_timeout_s for _ in range(3)][2] == 60.0
    place.fs.announce(compare(before, build([Row(run=b"r2"), Row(date=JUNE_1 + 1)], before)))
    assert [one.entry.entry_timeout_s for one in under_way] == [0.0]


# ---- broken (V10) -------------------------------------------------------------------------------------------------


def test_broken_run_looks_whole_and_has_no_cache_time(place: Place) -> None:
    """V10: the required files are there with a size that is not zero."""
    place.publish(Row())
    day = place.entry(b"c", b"q", DAY_1)
    assert day.node.kind is NodeKind.DATE
    for name in (PAYLOAD, METADATA):
        entry = place.entry(name, start=day.node.inode)
        assert entry.node.kind is NodeKind.BROKEN_FILE
        assert entry.attributes.size > 0
        assert entry.attributes.blocks > 0
        assert (entry.entry_timeout_s, entry.attr_timeout_s) == (0.0, 0.0)
        assert place.fs.getattr(entry.node.inode) == (entry.attributes, 0.0)
    assert place.names(day.node.inode) == [METADATA, PAYLOAD]


def test_other_name_of_a_broken_run_is_an_error_and_no_absence(place: Place) -> None:
    """V10: nobody knows whether it is there."""
    place.publish(Row())
    with pytest.raises(BrokenRunError):
        place.find(b"c", b"q", DAY_1, b"extra")


def test_broken_file_cannot_be_opened(place: Place) -> None:
    """V10: loud, at open."""
    place.publish(Row())
    with pytest.raises(BrokenRunError):
        place.open(b"c", b"q", DAY_1, PAYLOAD)
    assert place.fs.broken_by_kind().total() == 1


def test_broken_run_heals_with_other_inodes(place: Place) -> None:
    """V10: of another kind than the healthy ones."""
    place.publish(Row())
    day = place.day()
    broken = place.inode(PAYLOAD, start=day)
    place.write(Row(), b"back")
    healthy = place.inode(PAYLOAD, start=day)
    assert healthy != broken
    assert place.read(b"c", b"q", DAY_1, PAYLOAD) == b"back"
    assert place.fs.broken_by_kind().total() == 0
    with pytest.raises(BrokenRunError):
        place.fs.open_file(broken)


def test_broken_run_that_was_replaced_is_no_longer_counted(place: Place) -> None:
    place.publish(Row())
    with pytest.raises(BrokenRunError):
        place.open(b"c", b"q", DAY_1, PAYLOAD)
    place.write(Row(run=b"r2"))
    place.publish(Row(run=b"r2"))
    assert place.fs.broken_by_kind().total() == 0
    assert place.runs.damaged() == []


def test_broken_run_that_was_retracted_is_not_counted_when_a_held_directory_asks(place: Place) -> None:
    place.publish(Row())
    day = place.day()
    place.publish()
    place.entry(PAYLOAD, start=day)
    assert place.fs.broken_by_kind().total() == 0


def test_ambiguous_path_behaves_as_broken_until_resolved(place: Place) -> None:
    """V13."""
    place.write(Row(source=b"s1"), b"1")
    place.write(Row(source=b"s2"), b"2")
    place.publish(Row(source=b"s1"), Row(source=b"s2"))
    day = place.entry(b"c", b"q", DAY_1)
    assert day.node.kind is NodeKind.BROKEN_DATE
    assert place.names(day.node.inode) == [METADATA, PAYLOAD]
    with pytest.raises(BrokenRunError):
        place.open(b"c", b"q", DAY_1, PAYLOAD)
    with pytest.raises(BrokenRunError):
        place.find(b"c", b"q", DAY_1, b"extra")
    assert place.fs.listxattr(day.node.inode) == []
    assert not place.store.calls
    place.publish(Row(source=b"s2"))
    assert place.day() != day.node.inode
    assert place.read(b"c", b"q", DAY_1, PAYLOAD) == b"2"


def test_raw_store_that_fails_is_broken_and_heals(place: Place) -> None:
    """V10: a raw root that was unmounted and comes back."""
    place.serve(Row(), b"x")
    place.store.failure = OSError(errno.EIO, "gone")
    with pytest.raises(BrokenRunError):
        place.open(b"c", b"q", DAY_1, PAYLOAD)
    place.store.failure = None
    assert place.read(b"c", b"q", DAY_1, PAYLOAD) == b"x"


def test_file_replaced_under_a_number_that_is_held_gets_another(place: Place) -> None:
    """V5: pages of the old bytes must not be mixed with the new."""
    directory = place.serve(Row(), b"1234")
    day = place.day()
    old = place.inode(PAYLOAD, start=day)
    shutil.rmtree(directory)
    with pytest.raises(BrokenRunError):
        place.fs.open_file(old)
    place.write(Row(), b"5678")
    new = place.entry(PAYLOAD, start=day)
    assert new.node.inode != old
    assert place.read(b"c", b"q", DAY_1, PAYLOAD) == b"5678"
    with pytest.raises(BrokenRunError):
        place.fs.open_file(old)


def test_file_replaced_again_and_again_gets_a_number_each_time(place: Place) -> None:
    directory = place.serve(Row(), b"0000")
    day = place.day()
    numbers = []
    for payload in (b"1111", b"2222", b"3333"):
        numbers.append(place.inode(PAYLOAD, start=day))
        (directory / "payload.jsonl").unlink()
        with pytest.raises(BrokenRunError):
            place.fs.open_file(numbers[-1])
        place.write(Row(), payload)
        assert place.read(b"c", b"q", DAY_1, PAYLOAD) == payload
    assert len(set(numbers)) == 3


def test_replaced_file_has_its_first_number_again_once_that_was_forgotten(place: Place) -> None:
    """V9: the number of a file is the same after a remount."""
    directory = place.serve(Row(), b"1111")
    day = place.day()
    entry = place.entry(PAYLOAD, start=day)
    (directory / "payload.jsonl").unlink()
    with pytest.raises(BrokenRunError):
        place.fs.open_file(entry.node.inode)
    place.write(Row(), b"2222")
    place.fs.forget([(entry.node.inode, 1)])
    assert place.inode(PAYLOAD, start=day) == entry.node.inode


# ---- the control directory ----------------------------------------------------------------------------------------


def test_control_directory_is_reached_by_name_and_never_listed(place: Place) -> None:
    place.publish(Row())
    entry = place.entry(b".readyfs")
    assert entry.node.kind is NodeKind.CONTROL_DIRECTORY
    assert (entry.entry_timeout_s, entry.attr_timeout_s) == (60.0, 60.0)
    assert place.names(ROOT_INODE) == [b"c"]
    assert place.names(entry.node.inode) == [b"at", b"status.json", b"views"]
    assert place.find(b".readyfs", b"x") == NegativeEntry(0.0)
    assert isinstance(place.find(b"c", b".readyfs"), NegativeEntry)


def test_status_file_has_the_bytes_of_the_moment_when_it_was_looked_up(place: Place) -> None:
    """Its size and bytes agree for as long as anybody holds it; who looks again sees another file."""
    now = [b"{1}"]
    place.fs.serve_status(lambda: now[0])
    entry = place.entry(b".readyfs", b"status.json")
    inode = entry.node.inode
    assert entry.attributes.size == 3
    assert entry.entry_timeout_s == 0.0
    now[0] = b"{22}"
    assert place.fs.getattr(inode)[0] == entry.attributes
    opened = place.fs.open_file(inode)
    assert (opened.keep_pages, opened.direct) == (False, True)
    assert place.fs.read_memory(opened.handle, 0, 100) == b"{1}"
    assert place.fs.read_memory(opened.handle, 1, 1) == b"1"
    assert place.fs.read_memory(opened.handle, 3, 100) == b""
    again = place.entry(b".readyfs", b"status.json")
    assert again.node.inode != inode
    assert again.attributes.size == 4
    assert place.fs.read_memory(place.fs.open_file(again.node.inode).handle, 0, 100) == b"{22}"
    assert place.fs.read_memory(place.fs.open_file(inode).handle, 0, 100) == b"{1}"
    assert place.fs.is_in_memory(inode)


def test_status_file_that_is_forgotten_leaves_nothing_behind(place: Place) -> None:
    held = len(place.fs.inodes)
    control = place.inode(b".readyfs")
    for _ in range(3):
        place.fs.forget([(place.inode(b"status.json", start=control), 1)])
    place.fs.forget([(control, 1)])
    assert len(place.fs.inodes) == held
