"""V16 to V19 without a mount: what the kernel is told, what waits, and what is remembered for whom."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from readyfs.errors import BrokenRunError, StaleHandleError, WouldBlockError
from readyfs.partition import RunKey
from readyfs.vfs.attributes import FOREVER_S, Entry, NegativeEntry
from readyfs.vfs.descriptors import Descriptors
from readyfs.vfs.inode_number import LIVE, NodeKind, above_inode, date_inode
from readyfs.vfs.listing import position_after
from readyfs.vfs.trees import MOST_ASKED, USED_FOR_S
from tests.catalog.rows import Row
from tests.vfs.place import DAY_1, PAYLOAD, Place

ROW = Row()
OTHER = Row(query=b"other")
DAY = (b"c", b"q", DAY_1)


def forget(place: Place, *entries: Entry) -> None:
    place.fs.forget([(entry.node.inode, 1) for entry in entries])


def test_names_of_a_view_are_kept_for_ever_and_those_that_are_absent_too(place: Place) -> None:
    place.serve(ROW)
    view = place.keep()
    root = place.view(view)
    entries = [place.entry(*DAY[:depth], start=root) for depth in range(1, 4)]
    for entry in entries:
        assert (entry.entry_timeout_s, entry.attr_timeout_s) == (FOREVER_S, FOREVER_S)
        assert place.fs.getattr(entry.node.inode) == (entry.attributes, FOREVER_S)
    assert place.find(b"absent", start=root) == NegativeEntry(FOREVER_S)
    assert place.find(b".readyfs", start=root) == NegativeEntry(FOREVER_S)
    assert place.find(b"c", b"absent", start=root) == NegativeEntry(FOREVER_S)
    assert [one.entry.entry_timeout_s for one in place.listed(root) if one.counted] == [FOREVER_S]


def test_position_in_a_listing_of_a_view_is_good_for_ever(place: Place) -> None:
    days = [Row(date=ROW.date + number) for number in range(5)]
    place.publish(*days)
    series = place.inode(b"c", b"q", start=place.view(place.keep()))
    listed = place.listed(series)
    place.publish()
    place.clock.now_s += 1e6
    place.fs.expire_idle()
    rest = list(place.fs.read_directory(series, listed[3].next_position, may_block=False))
    assert [one.name for one in rest] == [one.name for one in listed[4:]]
    with pytest.raises(StaleHandleError):
        place.fs.read_directory(series, position_after(1, 3), may_block=False)


def test_catalog_that_must_be_read_is_waited_for_where_that_is_allowed(place: Place) -> None:
    place.serve(ROW)
    view = place.keep()
    root = place.view(view)
    series, day = place.inode(*DAY[:2], start=root), place.inode(*DAY, start=root)
    views = place.inode(b".readyfs", b"views")
    at = place.inode(b".readyfs", b"at")
    place.views.on_disk.add(view.fingerprint)
    asked: list[Callable[[bool], object]] = [
        lambda may_block: place.fs.lookup(views, view.fingerprint.encode(), may_block=may_block),
        lambda may_block: place.fs.lookup(at, b"~0", may_block=may_block),
        lambda may_block: place.fs.lookup(root, b"c", may_block=may_block),
        lambda may_block: place.fs.lookup(day, PAYLOAD, may_block=may_block),
        lambda may_block: place.fs.getattr(root, may_block=may_block),
        lambda may_block: place.fs.getattr(day, may_block=may_block),
        lambda may_block: place.fs.getxattr(root, b"user.readyfs.fingerprint", may_block=may_block),
        lambda may_block: place.fs.read_directory(series, 0, may_block=may_block),
        lambda may_block: place.fs.read_directory(day, 0, may_block=may_block),
    ]
    for ask in asked:
        with pytest.raises(WouldBlockError):
            ask(False)
        ask(True)
    assert [one.name for one in place.listed(views) if one.counted] == [view.fingerprint.encode()], "nothing is read"


def test_root_of_a_view_says_which_it_is_and_until_when(place: Place) -> None:
    place.serve(Row(updated_at_ns=5_000))
    view = place.keep()
    root = place.view(view)
    assert place.fs.getattr(root)[0].time_ns == 5_000
    assert place.fs.listxattr(root) == [
        *(b"user.readyfs.fingerprint", b"user.readyfs.taken_at", b"user.readyfs.layout")
    ]
    place.views.expires_ns[view.fingerprint] = 10**9
    assert place.fs.getxattr(root, b"user.readyfs.expires_at") == b"1970-01-01T00:00:01.000000+00:00"
    place.views.expire(view.fingerprint)
    assert b"user.readyfs.expires_at" not in place.fs.listxattr(root), "no lease holds it"


def test_view_of_nothing_has_the_time_when_it_was_taken(place: Place) -> None:
    view = place.keep()
    assert place.fs.getattr(place.view(view))[0].time_ns == view.taken_at_ns
    assert place.names(place.view(view)) == []


def test_damage_names_the_directories_of_every_tree_that_the_kernel_holds(place: Place) -> None:
    directory = place.serve(ROW, b"whole")
    view = place.keep()
    day = place.inode(*DAY, start=place.view(view))
    place.inode(PAYLOAD, start=day)
    unseen = place.views.add(place.fs.in_force.catalog, 0)
    assert unseen is view
    os.truncate(directory / "payload.jsonl", 1)
    with pytest.raises(BrokenRunError):
        place.read(*DAY, PAYLOAD)
    assert {one.directory for one in place.damage} == {place.day(), day}


def test_damage_of_a_run_that_only_a_view_shows_is_remembered_until_that_is_gone(place: Place) -> None:
    directory = place.serve(ROW, b"whole", sub__f=b"1")
    view = place.keep()
    day = place.inode(*DAY, start=place.view(view))
    place.inode(b"sub", b"f", start=day)
    (directory / "sub/f").unlink()
    with pytest.raises(BrokenRunError):
        place.read(*DAY, b"sub", b"f")
    place.publish(OTHER)
    assert place.fs.broken_by_kind().total() == 0, "of the live tree"
    assert place.entry(b"sub", start=day).node.kind is NodeKind.BROKEN_DIRECTORY
    assert place.runs.damaged() == [(ROW.partition.key, b"r1")]
    place.views.remove(view.fingerprint)
    place.publish(OTHER, Row(query=b"more"))
    assert place.runs.damaged() == []


def test_view_that_is_lost_while_a_refresh_asks_for_it_is_taken_to_show_nothing(place: Place) -> None:
    directory = place.serve(ROW)
    view = place.keep()
    place.inode(*DAY, PAYLOAD)
    (directory / "payload.jsonl").unlink()
    with pytest.raises(BrokenRunError):
        place.read(*DAY, PAYLOAD)
    place.views.lost.add(view.fingerprint)
    place.publish(OTHER)
    assert place.runs.damaged() == []
    assert place.fs.in_force.catalog.partitions == 1


def test_run_is_remembered_until_no_tree_shows_it_and_its_files_are_let_go_of_at_once(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.serve(ROW)
    view = place.keep()
    let_go: list[object] = []

    def note(descriptors: Descriptors, runs: Collection[RunKey]) -> bool:
        let_go.extend(runs)
        return False

    monkeypatch.setattr(Descriptors, "let_go", note)
    entries = [place.entry(*DAY[:depth]) for depth in (1, 2, 3)]
    place.read(*DAY, PAYLOAD)
    run = (ROW.partition.key, b"r1")
    place.publish(OTHER)
    assert (let_go, len(place.runs)) == ([run], 1)
    place.views.remove(view.fingerprint)
    place.publish(OTHER, Row(query=b"more"))
    assert let_go == [run, run]
    inodes = [entry.node.inode for entry in entries]
    place.fs.forget([(inode, place.fs.inodes.lookups(inode)) for inode in reversed(inodes)])
    place.publish(OTHER)
    assert len(place.runs) == 0


def test_expiry_names_to_the_kernel_what_it_holds_of_the_view_and_nothing_else(place: Place) -> None:
    place.serve(ROW, sub__f=b"1")
    view = place.keep()
    assert [*place.fs.plan_expiry(view.fingerprint)] == [], "nobody looked at it"
    root = place.view(view)
    day = place.inode(*DAY, start=root)
    sub = place.inode(b"sub", start=day)
    place.inode(b"f", start=sub)
    place.inode(PAYLOAD, start=day)
    place.read(*DAY, b"sub", b"f")
    plan = [*place.fs.plan_expiry(view.fingerprint)]
    assert (plan[0].directory, plan[0].names) == (place.inode(b".readyfs", b"views"), (view.fingerprint.encode(),))
    named = {(one.directory, name) for one in plan[1:] for name in one.names}
    series, customer = place.inode(*DAY[:2], start=root), place.inode(b"c", start=root)
    below = {(day, PAYLOAD), (day, b"sub"), (sub, b"f")}
    assert named == {(root, b"c"), (customer, b"q"), (series, DAY_1)} | below
    assert {one.directory for one in plan if not one.names} == {root, customer, series, day, sub}


def test_lookup_during_which_its_view_expires_is_answered_as_of_afterwards(place: Place) -> None:
    """V18: whoever told the kernel of the expiry saw nothing of the node."""
    place.serve(ROW)
    view = place.keep()
    day = place.inode(*DAY, start=place.view(view))

    def expire(operation: str) -> None:
        place.store.before = lambda operation: None
        place.views.expire(view.fingerprint)
        named = {name for one in place.fs.plan_expiry(view.fingerprint) for name in one.names}
        assert PAYLOAD not in named

    place.store.before = expire
    inodes = len(place.fs.inodes)
    entry = place.entry(PAYLOAD, start=day)
    assert (entry.node.kind, entry.entry_timeout_s) == (NodeKind.BROKEN_FILE, 0.0)
    assert len(place.fs.inodes) == inodes + 1, "the kernel was given one node"


def test_listing_during_which_its_view_expires_is_not_counted(place: Place) -> None:
    place.serve(ROW)
    view = place.keep()
    day = place.inode(*DAY, start=place.view(view))
    found = place.fs.read_directory(day, 0, may_block=True)
    nodes = [one.entry.node for one in found if one.counted]
    place.views.expire(view.fingerprint)
    assert [*place.fs.plan_expiry(view.fingerprint)]
    inodes = len(place.fs.inodes)
    assert not place.fs.remember_listed(found, nodes)
    assert len(place.fs.inodes) == inodes
    again = place.fs.read_directory(day, 0, may_block=True)
    anew = [one.entry for one in again if one.counted]
    assert place.fs.remember_listed(again, [one.node for one in anew])
    assert {one.entry_timeout_s for one in anew} == {0.0}


def test_expired_view_shows_broken_files_by_every_name_that_it_had(place: Place) -> None:
    place.serve(ROW, sub__f=b"1")
    view = place.keep()
    day = place.inode(*DAY, start=place.view(view))
    names = place.names(day)
    place.views.expire(view.fingerprint)
    for name in names:
        entry = place.entry(name, start=day)
        assert (entry.entry_timeout_s, entry.attr_timeout_s) == (0.0, 0.0)
        assert entry.node.kind in (NodeKind.BROKEN_FILE, NodeKind.BROKEN_DIRECTORY)
    assert place.names(day) == names
    with pytest.raises(BrokenRunError):
        place.find(b"absent", start=day)
    with pytest.raises(BrokenRunError):
        place.fs.open_file(place.inode(b"sub", b"f", start=day))
    assert place.read(*DAY, PAYLOAD) == b"{}\n", "of the live tree"
    place.views.remove(view.fingerprint)
    for ask in (place.fs.getattr, place.listed):
        with pytest.raises(StaleHandleError):
            ask(day)


def test_view_is_used_by_lookups_and_by_opens_of_what_the_kernel_knows(place: Place) -> None:
    place.serve(ROW)
    view = place.keep()
    assert not place.views.uses
    day = place.inode(*DAY, start=place.view(view))
    file = place.inode(PAYLOAD, start=day)
    assert place.views.uses[view.fingerprint] >= 3
    for _ in range(3):
        place.views.uses.clear()
        place.fs.close_file(place.fs.open_file(file).handle)
        place.fs.close_file(place.fs.open_file(file).handle)
        assert place.views.uses == {view.fingerprint: 1}
        place.clock.now_s += USED_FOR_S


def test_open_that_may_be_of_the_live_tree_is_no_use_of_a_view(place: Place) -> None:
    """It would keep the pin of a job that is dead for as long as anybody reads what is live."""
    place.serve(ROW)
    view = place.keep()
    file = place.inode(*DAY, PAYLOAD, start=place.view(view))
    place.publish(ROW, OTHER)
    place.inode(*DAY)
    place.views.uses.clear()
    place.fs.close_file(place.fs.open_file(file).handle)
    place.fs.read_by_inode(file, 0, 1, may_block=True)
    assert not place.views.uses
    place.publish(ROW._replace(run=b"r2"), OTHER)
    place.fs.close_file(place.fs.open_file(file).handle)
    assert place.views.uses == {view.fingerprint: 1}, "only the view shows it now"


def test_open_notices_the_view_among_very_many(place: Place) -> None:
    views = []
    for number in range(3 * MOST_ASKED):
        place.publish(OTHER._replace(record_count=number))
        views.append(place.keep())
        place.view(views[-1])
    place.serve(ROW)
    used = place.keep()
    place.inode(*DAY, start=place.view(used))
    file = place.inode(*DAY, PAYLOAD, start=place.view(used))
    place.views.uses.clear()
    for _ in range(5):
        place.fs.close_file(place.fs.open_file(file).handle)
    assert place.views.uses == {used.fingerprint: 1}


def test_former_content_is_kept_for_views_of_before_and_no_longer(place: Place) -> None:
    place.publish(OTHER)
    former = place.fs._former
    directory = place.serve(ROW, b"old")
    assert place.read(*DAY, PAYLOAD) == b"old"
    place.publish(ROW._replace(record_count=8))
    assert len(former) == 0, "no view is there"
    view = place.keep()
    assert place.read(*DAY, PAYLOAD) == b"old"
    for count in range(9, 19):
        place.publish(ROW._replace(record_count=count))
        place.read(*DAY, PAYLOAD)
    assert len(former) == 1
    assert len(former._former[(ROW.partition.key, b"r1")]) == 1, "it is the same each time"
    (directory / "payload.jsonl").write_bytes(b"newer")
    place.publish(ROW._replace(record_count=20))
    assert place.read(*DAY, PAYLOAD) == b"newer"
    day = place.inode(*DAY, start=place.view(view))
    assert place.entry(PAYLOAD, start=day).node.kind is NodeKind.BROKEN_FILE
    later = place.keep()
    assert place.entry(*DAY, PAYLOAD, start=place.view(later)).node.inode == place.inode(*DAY, PAYLOAD)
    place.publish(ROW._replace(record_count=21))
    assert len(former) == 1
    place.views.kept.clear()
    place.publish(ROW._replace(record_count=22))
    assert len(former) == 0


def test_former_content_of_a_run_that_was_pushed_out_is_what_the_kernel_holds_of_it(tmp_path: Path) -> None:
    place = Place(tmp_path / "raw", sealed_bytes=4000)
    directory = place.serve(ROW, b"old")
    view = place.keep()
    day = place.inode(*DAY, start=place.view(view))
    place.inode(PAYLOAD, start=day)
    for number in range(20):
        place.write(Row(query=b"q%d" % number))
    rows = [Row(query=b"q%d" % number) for number in range(20)]
    place.publish(ROW, *rows)
    for row in rows:
        place.inode(b"c", row.query, DAY_1, PAYLOAD)
    assert ROW.partition.key not in {key for key, _ in place.runs._sealed}
    (directory / "payload.jsonl").write_bytes(b"newer")
    place.publish(ROW._replace(record_count=9), *rows)
    assert place.read(*DAY, PAYLOAD) == b"newer"
    with pytest.raises(BrokenRunError):
        place.fs.open_file(place.inode(PAYLOAD, start=day))


def test_trees_have_inodes_of_their_own_for_directories(place: Place) -> None:
    place.serve(ROW)
    view = place.keep().fingerprint.encode()
    assert above_inode((), LIVE) == 1 != above_inode((), view)
    assert above_inode((b"c",), LIVE) != above_inode((b"c",), view)
    assert date_inode(ROW.partition, LIVE) != date_inode(ROW.partition, view)


def test_links_that_the_daemon_serves_are_in_the_control_directory(place: Place) -> None:
    control = place.inode(b".readyfs")
    place.fs.serve_links({b"socket": b"/run/readyfs/x.sock"})
    assert place.names(control) == [b"at", b"socket", b"status.json", b"views"]
    entry = place.entry(b"socket", start=control)
    assert (entry.node.kind, entry.entry_timeout_s) == (NodeKind.LINK, 0.0)
    assert entry.attributes.size == len(place.fs.readlink(entry.node.inode)) == len(b"/run/readyfs/x.sock")
    place.fs.serve_links({b"socket": b"/run/other.sock"})
    again = place.entry(b"socket", start=control)
    assert again.node.inode != entry.node.inode
    assert place.fs.readlink(again.node.inode) == b"/run/other.sock"
    assert place.fs.readlink(entry.node.inode) == b"/run/readyfs/x.sock"
