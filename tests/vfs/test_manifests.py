"""Manifests as nodes: what they hold, what they cost others, and when they are gone."""

from __future__ import annotations

import gc
import json
import stat
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from readyfs.errors import BrokenRunError, StaleCatalogError, StaleHandleError, TooManyHandlesError, WouldBlockError
from readyfs.vfs.attributes import Entry, NegativeEntry, Presentation
from readyfs.vfs.filesystem import Filesystem
from readyfs.vfs.handles import MAX_CATALOGS, MAX_MANIFESTS
from readyfs.vfs.inode_number import ROOT_INODE, InodeNumber
from readyfs.vfs.manifests import AT_ONCE, KEPT_FOR_S
from tests.catalog.rows import JUNE_1, Row, build, shape
from tests.vfs.place import Place

NAME = b".manifest.jsonl"
ROW = Row()
OTHER = Row(run=b"r2")


def open_whole(place: Place, inode: InodeNumber) -> bytes:
    handle = place.fs.open_file(inode).handle
    data = place.fs.read(handle, 0, 1 << 20)
    place.fs.close_file(handle)
    return data


def test_manifest_asks_nothing_of_the_raw_store(place: Place) -> None:
    """V25: from the lookup to the last byte; there is no raw file at all."""
    place.publish(ROW)
    for form in (b"jsonl", b"paths", b"paths0"):
        for directory in ((), (b"c",), (b"c", b"q")):
            entry = place.entry(*directory, b".manifest." + form)
            assert len(open_whole(place, entry.node.inode)) == entry.attributes.size > 0
    assert not place.store.calls


def test_name_is_never_kept_and_its_attributes_for_ever(place: Place) -> None:
    place.publish(ROW)
    entry = place.entry(NAME)
    assert entry.entry_timeout_s == 0
    assert entry.attr_timeout_s > 1e6
    assert entry.attributes.time_ns == ROW.updated_at_ns
    assert place.fs.getattr(entry.node.inode)[0] == entry.attributes
    held = place.inode(b"c", b"q")
    place.publish()
    for name in (NAME, b".manifest.other"):
        assert isinstance(place.find(name, start=held), NegativeEntry)
    assert place.find(NAME, start=held) == NegativeEntry(0.0)
    assert place.entry(NAME).attributes.size == 0


def test_who_may_not_list_may_not_read_the_list_either(tmp_path: Path) -> None:
    for file_mode, dir_mode, expected in ((0o444, 0o711, 0o400), (0o440, 0o555, 0o440), (0o644, 0o555, 0o444)):
        place = Place(tmp_path, look=Presentation(7, 8, file_mode, dir_mode))
        place.publish(ROW)
        entry = place.entry(NAME)
        assert stat.S_IMODE(entry.attributes.mode) == expected
        assert place.fs.getattr(entry.node.inode)[0] == entry.attributes


def test_manifest_is_refused_while_the_catalog_is_too_old(place: Place) -> None:
    """V11: in every directory, because a list of what is ready must not be of before."""
    place.publish(ROW)
    held = place.inode(b"c", b"q")
    place.freshness.stale = True
    for directory in (ROOT_INODE, held):
        with pytest.raises(StaleCatalogError):
            place.find(NAME, start=directory)


def test_node_holds_no_catalog_and_an_open_does(place: Place) -> None:
    """V25: once a replaced catalog is let go the node is stale; whoever has it open reads to the end."""
    place.publish(ROW)
    directory = place.fs.in_force.catalog.directory((b"c", b"q"))
    assert directory is not None
    alive: Callable[[], object] = weakref.ref(directory)
    del directory
    inode = place.inode(NAME)
    handle = place.fs.open_file(inode).handle
    data = place.fs.read(handle, 0, 1 << 20)
    place.publish(OTHER)
    assert open_whole(place, inode) == data  # an open may come right after the switch

    place.clock.now_s += 1000
    place.fs.expire_idle()
    gc.collect()
    assert alive() is not None
    assert place.fs.read(handle, 0, 1 << 20) == data
    with pytest.raises(StaleHandleError):
        place.fs.open_file(inode)
    with pytest.raises(StaleHandleError):
        place.fs.read_by_inode(inode, 0, 10, may_block=True)

    place.fs.close_file(handle)
    gc.collect()
    assert alive() is None
    assert json.loads(open_whole(place, place.inode(NAME)))["run_id"] == "r2"


def test_open_manifests_hold_a_bounded_number_of_catalogs(place: Place) -> None:
    """Whoever never closes one meets an error at open, and not the end of the daemon's memory."""
    held = []
    for number in range(MAX_CATALOGS):
        place.publish(Row(run=b"r%d" % number))
        held.append(place.open(NAME))
    assert place.open(NAME)
    place.publish(Row(run=b"one more"))
    with pytest.raises(TooManyHandlesError):
        place.open(NAME)
    place.fs.close_file(held[0])
    kept = [place.open(NAME) for _ in range(MAX_MANIFESTS - MAX_CATALOGS)]
    with pytest.raises(TooManyHandlesError):
        place.open(NAME)
    for handle in (*held, *kept):
        place.fs.close_file(handle)
    assert place.open(NAME)


def test_read_goes_on_without_an_open_for_as_long_as_it_is_read(place: Place) -> None:
    """For a kernel that opens by itself: a reader who goes on keeps the catalog."""
    place.publish(ROW)
    inode = place.inode(NAME)
    data = place.fs.read_by_inode(inode, 0, 1 << 20, may_block=True)
    place.publish(OTHER)
    for _ in range(5):
        place.clock.now_s += KEPT_FOR_S - 1
        place.fs.expire_idle()
        assert place.fs.read_by_inode(inode, 3, 50, may_block=False) == data[3:53]


def test_large_manifest_never_holds_up_whoever_serves_others(place: Place) -> None:
    """What takes time says so; what is known by then does not."""
    rows = [Row(customer=b"c%d" % (number % 7), date=JUNE_1 + number) for number in range(AT_ONCE * 4)]
    place.publish(*rows)
    fs = place.fs
    with pytest.raises(WouldBlockError):
        fs.lookup(ROOT_INODE, NAME, may_block=False)
    entry = place.entry(NAME)
    again = fs.lookup(ROOT_INODE, NAME, may_block=False)
    assert not isinstance(again, NegativeEntry)
    assert again.node.inode == entry.node.inode
    small = place.inode(b"c1")
    assert not isinstance(fs.lookup(small, NAME, may_block=False), NegativeEntry)

    assert fs.is_in_memory(entry.node.inode)
    handle = fs.open_file(entry.node.inode).handle
    assert fs.read_memory(handle, 0, 100) is None
    assert fs.may_block_on_close(handle)
    data = fs.read(handle, 0, entry.attributes.size)
    assert fs.read_memory(handle, 5000, 100) == data[5000:5100]
    fs.close_file(handle)

    place.publish(*rows[1:])
    assert not fs.is_in_memory(entry.node.inode)  # its view, if there is one, may have to be read
    with pytest.raises(WouldBlockError):
        forgotten(fs).read_by_inode(entry.node.inode, 0, 10, may_block=False)


def test_small_manifest_does_not_wait_until_a_large_one_is_made(place: Place) -> None:
    place.publish(*(Row(customer=b"large", date=JUNE_1 + number) for number in range(AT_ONCE * 2)), ROW)
    making = place.fs._manifests._making
    with ThreadPoolExecutor(2) as pool:
        making.acquire()
        try:
            large = pool.submit(place.inode, NAME)
            assert pool.submit(place.inode, b"c", NAME).result(20)
            assert not large.done()
        finally:
            making.release()
        assert large.result(20)


def test_layout_with_many_series_is_not_searched_where_others_wait(tmp_path: Path) -> None:
    """A directory of few partitions may lie over any of the series, where the date comes first."""
    fs = Place(tmp_path).fs
    rows = [Row(customer=b"c%d" % number, date=JUNE_1 + number) for number in range(AT_ONCE + 1)]
    fs.publish(build(rows, fs.in_force.catalog, of=shape("by-date")))
    day = fs.lookup(ROOT_INODE, b"2024-06-01", may_block=True)
    assert isinstance(day, Entry)
    with pytest.raises(WouldBlockError):
        fs.lookup(day.node.inode, NAME, may_block=False)
    assert isinstance(fs.lookup(day.node.inode, NAME, may_block=True), Entry)


def forgotten(fs: Filesystem) -> Filesystem:
    """Let go of what was made of manifests."""
    fs._manifests._pieces.clear()
    return fs


def test_manifest_of_a_view_is_found_again_and_refused_once_it_has_expired(place: Place) -> None:
    place.publish(ROW)
    view = place.keep()
    root = place.view(view)
    inode = place.inode(NAME, start=root)
    assert inode == place.inode(NAME)
    place.publish(OTHER)
    place.clock.now_s += 1000
    place.fs.expire_idle()
    uses = place.views.uses[view.fingerprint]
    assert json.loads(open_whole(place, inode))["run_id"] == "r1"
    assert place.views.uses[view.fingerprint] > uses
    place.views.expire(view.fingerprint)
    assert place.inode(NAME, start=root) == inode
    with pytest.raises(BrokenRunError):
        place.fs.open_file(inode)
    place.views.remove(view.fingerprint)
    place.clock.now_s += 1000
    place.fs.expire_idle()
    with pytest.raises(StaleHandleError):
        place.fs.open_file(inode)


def test_pieces_that_are_kept_are_bounded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.publish(*(Row(date=JUNE_1 + number) for number in range(5000)))
    monkeypatch.setattr("readyfs.vfs.manifests.PIECES_BYTES", 700_000)
    entry = place.entry(NAME)
    open_manifest = place.fs.open_file(entry.node.inode).handle
    data = place.fs.read(open_manifest, 0, entry.attributes.size)
    assert len(data) == entry.attributes.size > 1_000_000
    kept = place.fs._manifests._pieces
    assert 0 < sum(map(len, kept.values())) == place.fs._manifests._pieces_bytes <= 700_000
    place.fs.close_file(open_manifest)


def test_damage_elsewhere_changes_nothing_here(place: Place) -> None:
    """The inode is another one only for directories above what is broken, and only for the form that says so."""
    place.publish(ROW, Row(customer=b"d"))
    names = [(b"c", NAME), (b"d", NAME), (NAME,), (b".manifest.paths",)]
    before = [place.entry(*path) for path in names]
    with pytest.raises(BrokenRunError):
        place.fs.open_file(place.inode(b"c", b"q", b"2024-06-01", b"payload.jsonl"))
    after = [place.entry(*path) for path in names]
    changed = [one.node.inode != other.node.inode for one, other in zip(before, after, strict=True)]
    assert changed == [True, False, True, False]
    assert [one.attributes.size for one in before] == [one.attributes.size for one in after]
    assert [json.loads(line)["broken"] for line in open_whole(place, after[2].node.inode).splitlines()] == [True, None]
    assert b"true" not in open_whole(place, before[2].node.inode)
