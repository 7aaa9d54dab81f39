"""What is remembered of runs over refreshes: let go when nobody can ask for it, and begun anew when a row says so."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from readyfs.catalog.delta import compare
from readyfs.errors import BrokenRunError, WouldBlockError
from readyfs.vfs.attributes import NegativeEntry
from readyfs.vfs.inode_number import InodeNumber, date_inode
from readyfs.vfs.run_view import ABSENT_KEPT, RunView
from tests.catalog.rows import Row, build
from tests.vfs.place import DAY_1, METADATA, PAYLOAD, Place

ROW = Row()
DAY = (b"c", b"q", DAY_1)
TOUCHED = Row(updated_at_ns=7_000)


def walk(place: Place, *names: bytes) -> list[tuple[InodeNumber, int]]:
    """Look up a path, and return what takes all its lookups back below the query's directory."""
    inodes = [place.inode(*DAY, *names[:length]) for length in range(len(names) + 1)]
    return [(inode, 100) for inode in inodes]


def test_run_that_departed_is_kept_as_long_as_the_kernel_knows_its_directory(place: Place) -> None:
    """V6: whoever is in the directory goes on to see the run; nobody else needs it."""
    place.write(Row(run=b"r2"))
    place.serve(ROW)
    known = walk(place, PAYLOAD)
    place.publish(Row(run=b"r2"))
    place.publish(Row(run=b"r2"), Row(query=b"q2"))
    assert len(place.runs) == 1
    place.fs.forget(known)
    place.publish(Row(run=b"r2"))
    assert len(place.runs) == 0


def test_switches_leave_nothing_behind(place: Place) -> None:
    for number in range(50):
        row = Row(run=b"r%d" % number)
        place.serve(row)
        known = walk(place, PAYLOAD)
        place.publish(row, Row(query=b"q2", run=row.partition.run_id))
        place.fs.forget(known)
    assert len(place.runs) <= 2


def test_touch_of_a_run_that_is_known_names_all_that_was_answered(place: Place) -> None:
    place.serve(ROW, parts__0=b"0")
    walk(place, b"parts", b"0")
    assert isinstance(place.find(*DAY, b"absent"), NegativeEntry)
    place.publish(TOUCHED)
    told = {one.directory: set(one.names) for one in place.told}
    assert told == {
        place.day(): {METADATA, b"parts", PAYLOAD, b"absent"},
        place.inode(*DAY, b"parts"): {b"0"},
    }


def test_touch_of_a_run_that_nobody_asked_for_is_not_told(place: Place) -> None:
    place.serve(ROW)
    place.publish(TOUCHED)
    assert place.told == []


def test_touch_of_a_run_that_was_pushed_out_names_what_the_kernel_knows(tmp_path: Path) -> None:
    place = Place(tmp_path / "raw", sealed_bytes=1)
    other = Row(query=b"q2")
    place.write(ROW)
    place.write(other)
    place.publish(ROW, other)
    walk(place, PAYLOAD)
    assert isinstance(place.runs.view(other.partition, may_block=True), RunView)
    place.publish(TOUCHED, other)
    told = [(one.directory, one.names, one.listing) for one in place.told]
    assert told == [(place.day(), (PAYLOAD,), False), (place.day(), (), True)]


def test_all_runs_are_begun_anew_before_the_kernel_is_told_of_one(place: Place) -> None:
    """V4: told of many names the kernel asks for all of them at once, and no answer may be of before."""
    other = Row(query=b"q2")
    for row in (ROW, other):
        place.write(row)
    place.publish(ROW, other)
    for row in (ROW, other):
        place.inode(b"c", row.query, DAY_1, PAYLOAD)
    before = place.fs.in_force.catalog
    catalog = build([TOUCHED, other._replace(updated_at_ns=7_000)], before)
    plan = place.fs.plan_invalidations(compare(before, catalog, place.fs.is_known, known=place.fs.known_series()))
    next(plan)
    for row in (ROW, other):
        with pytest.raises(WouldBlockError):
            place.runs.view(row.partition, may_block=False)


def test_what_differs_is_another_inode_and_what_does_not_is_the_same(place: Place) -> None:
    """V9."""
    directory = place.serve(ROW, b"old")
    payload, metadata = place.inode(*DAY, PAYLOAD), place.inode(*DAY, METADATA)
    before = os.stat(directory / "payload.jsonl")
    (directory / "new").write_bytes(b"new")
    os.utime(directory / "new", ns=(before.st_mtime_ns, before.st_mtime_ns))
    (directory / "new").rename(directory / "payload.jsonl")
    assert place.inode(*DAY, PAYLOAD) == payload, "nothing says so yet"
    place.publish(TOUCHED)
    assert place.inode(*DAY, PAYLOAD) != payload
    assert place.inode(*DAY, METADATA) == metadata
    assert place.read(*DAY, PAYLOAD) == b"new"


@pytest.mark.parametrize("content", [b"newer", None])
def test_what_the_old_inode_meant_is_no_damage_of_the_new_run(place: Place, content: bytes | None) -> None:
    """V10: before the run was looked at anew, and after."""
    directory = place.serve(ROW, b"old", extra=b"old")
    past = place.inode(*DAY, b"extra")
    if content is None:
        (directory / "extra").unlink()
    else:
        (directory / "extra").write_bytes(content)
    place.publish(TOUCHED)
    for _ in range(2):
        with pytest.raises(BrokenRunError):
            place.fs.open_file(past)
        assert place.fs.broken_by_kind().total() == 0
        place.find(*DAY, b"extra")
    assert place.read(*DAY, PAYLOAD) == b"old"


def test_held_directory_of_a_run_lists_what_is_there_after_each_writing(place: Place) -> None:
    """V6: whoever holds it, it is the one directory, and the kernel is told to ask again for what lies in it."""
    directory = place.serve(ROW, parts__1=b"1")
    parts = place.inode(*DAY, b"parts")
    assert place.names(parts) == [b"1"]
    for number in (2, 3):
        (directory / f"parts/{number - 1}").unlink()
        (directory / f"parts/{number}").write_bytes(b"2")
        place.publish(ROW._replace(updated_at_ns=number * 1_000_000))
        assert parts in {one.directory for one in place.told}
        assert place.inode(*DAY, b"parts") == parts
        assert place.names(parts) == [b"%d" % number]


def test_reader_of_a_subdirectory_of_before_does_not_break_the_run(place: Place) -> None:
    """V10: nor does one whose directory nobody has listed since."""
    directory = place.serve(ROW, parts__1=b"long content")
    past = place.inode(*DAY, b"parts", b"1")
    (directory / "parts/1").write_bytes(b"short")
    place.publish(TOUCHED)
    assert place.read(*DAY, PAYLOAD) == b"{}\n"
    with pytest.raises(BrokenRunError):
        place.fs.open_file(past)
    assert place.fs.broken_by_kind().total() == 0


def test_equal_file_that_took_the_place_of_one_of_before_is_not_read_under_its_number(place: Place) -> None:
    """V5: the same size and time, and other bytes."""
    directory = place.serve(ROW, b"old")
    past = place.inode(*DAY, PAYLOAD)
    before = os.stat(directory / "payload.jsonl")
    (directory / "new").write_bytes(b"new")
    os.utime(directory / "new", ns=(before.st_mtime_ns, before.st_mtime_ns))
    (directory / "new").rename(directory / "payload.jsonl")
    place.publish(TOUCHED)
    with pytest.raises(BrokenRunError):
        place.fs.open_file(past)
    assert place.read(*DAY, PAYLOAD) == b"new"
    assert place.fs.broken_by_kind().total() == 0


@contextmanager
def look_under_way(place: Place, look: Callable[[], object]) -> Iterator[None]:
    """Have another thread look at a run, and hold it for the body once it has listed the run's directory."""
    began, go = threading.Event(), threading.Event()
    slow: list[int] = []

    def hold(operation: str) -> None:
        if operation == "open" and threading.get_ident() in slow and not began.is_set():
            began.set()
            assert go.wait(30)

    def run() -> None:
        slow.append(threading.get_ident())
        look()

    place.store.before = hold
    thread = threading.Thread(target=run)
    thread.start()
    assert began.wait(30)
    try:
        yield
    finally:
        go.set()
        thread.join(30)


def test_look_ahead_that_began_before_a_touch_is_made_again(place: Place) -> None:
    """V2: nobody has asked for the run yet, and the look at it is under way."""
    directory = place.write(ROW, b"old")
    place.publish(ROW)
    with look_under_way(place, lambda: place.runs.look_ahead([ROW.partition], time.monotonic() + 60)):
        (directory / "payload.jsonl").write_bytes(b"newer")
        place.publish(TOUCHED)
    assert place.read(*DAY, PAYLOAD) == b"newer"
    assert place.fs.broken_by_kind().total() == 0


def test_second_look_that_began_before_a_touch_does_not_bring_back_the_old_run(place: Place) -> None:
    """V2: it ends after another reader has seen the new one."""
    directory = place.write(ROW, b"old")
    place.publish(ROW)
    day = place.day()
    with look_under_way(place, lambda: place.fs.lookup(day, PAYLOAD, may_block=True)):
        (directory / "payload.jsonl").write_bytes(b"newer")
        place.publish(TOUCHED)
        assert place.read(*DAY, PAYLOAD) == b"newer"
    assert place.read(*DAY, PAYLOAD) == b"newer"
    assert place.fs.broken_by_kind().total() == 0


def test_look_that_began_before_the_touch_is_made_again(place: Place) -> None:
    """V2: what it saw may be of before the run was written again."""
    directory = place.write(ROW, b"old")
    place.publish(ROW)
    day = place.day()
    sizes: list[int] = []

    def look() -> None:
        entry = place.fs.lookup(day, PAYLOAD, may_block=True)
        assert not isinstance(entry, NegativeEntry)
        sizes.append(entry.attributes.size)

    with look_under_way(place, look):
        (directory / "payload.jsonl").write_bytes(b"newer")
        place.publish(TOUCHED)
    assert sizes == [5]


def test_absence_is_remembered_for_so_many_names_and_not_once_a_view_is_retired() -> None:
    view = RunView({})
    names = [b"%d" % number for number in range(ABSENT_KEPT + 1)]
    assert [view.may_remember_absence(name) for name in names] == [True] * ABSENT_KEPT + [False]
    assert view.may_remember_absence(names[0])
    assert view.retire() == tuple(names[:ABSENT_KEPT])
    assert not view.may_remember_absence(names[0])


def test_damage_is_forgotten_with_a_touch(place: Place) -> None:
    directory = place.serve(ROW, b"whole")
    place.read(*DAY, PAYLOAD)
    os.truncate(directory / "payload.jsonl", 1)
    with pytest.raises(BrokenRunError):
        place.open(*DAY, PAYLOAD)
    place.publish(TOUCHED)
    assert place.fs.broken_by_kind().total() == 0
    assert place.read(*DAY, PAYLOAD) == b"w"
    assert date_inode(ROW.partition) == place.day()


def test_series_is_known_as_long_as_one_of_its_runs_is(place: Place) -> None:
    place.serve(ROW)
    assert ROW.series not in place.fs.known_series()
    known = walk(place, PAYLOAD)
    assert ROW.series in place.fs.known_series()
    assert place.fs.is_known(ROW.partition)
    assert Row(query=b"q2").series not in place.fs.known_series()
    place.fs.forget(known)
    assert ROW.series in place.fs.known_series(), "what it was sealed with is kept"
    place.publish(Row(query=b"q2"))
    place.publish(Row(query=b"q2", run=b"r2"))
    assert ROW.series not in place.fs.known_series()
