"""Raw files that are kept open for a kernel that opens by itself."""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from readyfs.errors import BrokenRunError, IsADirectoryNodeError, StaleHandleError, TooManyHandlesError, WouldBlockError
from readyfs.raw.store import RawFile, RawStat
from readyfs.vfs.descriptors import IDLE_S, Descriptors
from readyfs.vfs.handles import RawFileHandle
from readyfs.vfs.inode_number import ROOT_INODE, InodeNumber, NodeKind
from readyfs.vfs.nodes import raw_node
from tests.catalog.rows import Row
from tests.descriptors import open_descriptors
from tests.vfs.place import DAY_1, METADATA, PAYLOAD, Place, named

FILE = (b"c", b"q", DAY_1, PAYLOAD)


def read(place: Place, inode: InodeNumber, offset: int = 0, size: int = 100) -> bytes:
    return place.fs.read_by_inode(inode, offset, size, may_block=True)


def test_file_is_read_without_an_open_and_opened_once(place: Place) -> None:
    """V2."""
    place.serve(Row(), b"hello")
    inode = place.inode(*FILE)
    place.store.calls.clear()
    assert read(place, inode) == b"hello"
    assert read(place, inode, 1, 3) == b"ell"
    assert read(place, inode, 5, 3) == read(place, inode, 99, 3) == b""
    assert place.store.calls["open"] == 1
    assert len(place.fs.handles) == 0


def test_raw_store_is_not_asked_where_nobody_may_wait(place: Place) -> None:
    place.serve(Row())
    inode = place.inode(*FILE)
    place.store.calls.clear()
    with pytest.raises(WouldBlockError):
        place.fs.read_by_inode(inode, 0, 1, may_block=False)
    assert not place.store.calls


def test_what_is_no_raw_file_is_read_as_it_is_opened(place: Place) -> None:
    place.publish(Row())
    place.fs.serve_status(lambda: b"{1}")
    status = place.inode(b".readyfs", b"status.json")
    place.fs.serve_status(lambda: b"{22}")
    assert place.fs.read_by_inode(status, 1, 100, may_block=False) == b"1}"
    with pytest.raises(BrokenRunError):
        read(place, place.inode(*FILE))
    for directory in (ROOT_INODE, place.day(), place.inode(b".readyfs")):
        with pytest.raises(IsADirectoryNodeError):
            read(place, directory)
    with pytest.raises(StaleHandleError):
        read(place, InodeNumber(99))


def test_only_so_many_files_stay_open_and_the_least_recently_read_goes_first(tmp_path: Path) -> None:
    place = Place(tmp_path / "raw", max_open_files=2)
    place.serve(Row(), b"p", extra=b"e")
    inodes = [place.inode(b"c", b"q", DAY_1, name) for name in (PAYLOAD, METADATA, b"extra")]
    before = len(open_descriptors())
    for inode in (*inodes[:2], inodes[0], inodes[2]):
        read(place, inode)
    assert len(open_descriptors()) == before + 2
    place.store.calls.clear()
    read(place, inodes[0])
    read(place, inodes[2])
    assert not place.store.calls
    read(place, inodes[1])
    assert place.store.calls["open"] == 1


def test_file_that_is_not_read_any_more_is_closed(place: Place) -> None:
    place.serve(Row())
    one, other = place.inode(*FILE), place.inode(b"c", b"q", DAY_1, METADATA)
    before = len(open_descriptors())
    read(place, one)
    place.clock.now_s += IDLE_S - 1
    read(place, other)
    place.fs.expire_idle()
    assert len(open_descriptors()) == before + 2
    place.clock.now_s += 1
    place.fs.expire_idle()
    assert len(open_descriptors()) == before + 1
    place.clock.now_s += IDLE_S
    place.fs.expire_idle()
    assert len(open_descriptors()) == before


def test_file_that_is_let_go_of_during_a_read_is_closed_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A descriptor that was closed and given to another file must never be read from."""
    place = Place(tmp_path / "raw", max_open_files=1)
    place.serve(Row(), b"payload")
    payload, metadata = place.inode(*FILE), place.inode(b"c", b"q", DAY_1, METADATA)
    real, reading, go_on = os.pread, threading.Event(), threading.Event()

    def slow(descriptor: int, size: int, offset: int) -> bytes:
        if threading.current_thread() is not threading.main_thread():
            reading.set()
            assert go_on.wait(30)
        return real(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", slow)
    before, answers = len(open_descriptors()), list[bytes]()
    reader = threading.Thread(target=lambda: answers.append(read(place, payload)))
    reader.start()
    assert reading.wait(30)
    read(place, metadata)
    place.clock.now_s += IDLE_S
    place.fs.expire_idle()
    assert len(open_descriptors()) == before + 1
    go_on.set()
    reader.join(30)
    assert answers == [b"payload"]
    assert len(open_descriptors()) == before


def test_number_that_comes_back_for_other_bytes_is_opened_anew(place: Place) -> None:
    """V2, V10: the kernel forgot the old file, and nothing of it may be read under the new one."""
    place.serve(Row(), b"1111")
    day, inode = place.day(), place.inode(*FILE)
    read(place, inode)
    place.fs.forget([(inode, 1)])
    place.runs.report_damage(Row().partition, named("to be looked at again"))
    (place.run_directory(Row()) / "payload.jsonl").unlink()  # or the old descriptor would read the new bytes
    place.write(Row(), b"2222")
    os.utime(place.run_directory(Row()) / "payload.jsonl", ns=(5, 5))
    assert place.inode(PAYLOAD, start=day) == inode
    assert read(place, inode) == b"2222"


def test_file_that_is_not_what_was_sealed_is_not_read(place: Place) -> None:
    """V10: refused at the first read, where it cannot be at open."""
    directory = place.serve(Row(), b"1234")
    inode = place.inode(*FILE)
    (directory / "payload.jsonl").write_bytes(b"123456")
    with pytest.raises(BrokenRunError, match=r"payload\.jsonl has 6 bytes and was sealed with 4"):
        read(place, inode)
    assert place.damage
    assert place.fs.broken_by_kind().total() == 1


def test_failing_read_is_damage_and_the_next_one_tries_afresh(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """V10: a file system that answers again is read from again."""
    place.serve(Row(), b"1234")
    inode = place.inode(*FILE)
    read(place, inode)
    before = len(open_descriptors())

    def fail(*arguments: object) -> bytes:
        raise OSError(errno.EIO, "disk error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pread", fail)
        with pytest.raises(BrokenRunError, match="disk error"):
            read(place, inode)
    assert len(place.damage) == 1
    assert len(open_descriptors()) == before - 1
    assert read(place, inode) == b"1234"


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_lack_of_descriptors_is_no_damage(place: Place, number: int) -> None:
    place.serve(Row())
    inode = place.inode(*FILE)
    place.store.failure = OSError(number, os.strerror(number))
    with pytest.raises(TooManyHandlesError):
        read(place, inode)
    assert not place.damage


def test_file_that_is_handed_to_the_kernel_counts_as_open_and_needs_no_descriptor(place: Place) -> None:
    place.serve(Row(), b"1234")
    before = len(open_descriptors())
    handle = place.fs.open_file(place.inode(*FILE)).handle
    assert os.pread(place.fs.raw_descriptor(handle), 10, 0) == b"1234"
    place.fs.handles.hand_to_kernel(handle)
    assert (len(place.fs.handles), len(open_descriptors())) == (1, before)
    assert not place.fs.may_block_on_close(handle)
    with pytest.raises(StaleHandleError):
        place.fs.raw_descriptor(handle)
    place.fs.close_file(handle)
    assert len(place.fs.handles) == 0


def test_raw_files_are_told_from_everything_else(place: Place) -> None:
    place.write(Row(), sub__f=b"")
    place.publish(Row(), Row(query=b"q2"))
    day = (b"c", b"q", DAY_1)
    for file in (FILE, (*day, b"sub", b"f")):
        assert place.fs.sealed_size(place.inode(*file)) is not None
    others: list[tuple[bytes, ...]] = [
        (b"c",),
        day,
        (*day, b"sub"),
        (b".readyfs", b"status.json"),
        (b"c", b"q2", DAY_1, PAYLOAD),
    ]
    for path in others:
        assert place.fs.sealed_size(place.inode(*path)) is None
    assert place.fs.sealed_size(InodeNumber(99)) is None


def test_readers_on_many_threads_read_their_own_files(tmp_path: Path) -> None:
    """V2: while files are let go of all the time."""
    place = Place(tmp_path / "raw", max_open_files=2)
    others = {b"f%d" % number: b"%d" % number * 1000 for number in range(6)}
    place.serve(Row(), **{name.decode(): data for name, data in others.items()})
    inodes = {place.inode(b"c", b"q", DAY_1, name): data for name, data in others.items()}
    before, errors = len(open_descriptors()), list[BaseException]()

    def hammer() -> None:
        try:
            for _ in range(100):
                for inode, data in inodes.items():
                    assert read(place, inode, 0, 10_000) == data
                place.fs.expire_idle()
        except BaseException as error:  # noqa: BLE001 - handed to the main thread
            errors.append(error)

    readers = [threading.Thread(target=hammer) for _ in range(4)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(60)
        assert not reader.is_alive()
    assert not errors
    assert len(open_descriptors()) == before + 2


def test_file_that_changed_while_it_was_kept_open_is_refused(place: Place) -> None:
    """V10: what was read of it before must not be joined with what it holds now."""
    run = place.serve(Row(), b"hello")
    inode = place.inode(*FILE)
    assert read(place, inode, 0, 2) == b"he"
    (run / "payload.jsonl").write_bytes(b"HELLO")
    os.utime(run / "payload.jsonl", ns=(1, 1))
    with pytest.raises(BrokenRunError):
        read(place, inode, 2, 3)
    assert place.fs.broken_by_kind().total() == 1


def test_file_that_does_not_close_holds_up_no_other(place: Place) -> None:
    """A close can wait for a store that hangs: never under the lock that every read takes."""
    began, go_on = threading.Event(), threading.Event()

    class HangingFile:
        stat = RawStat(0, 0)

        def __del__(self) -> None:
            began.set()
            go_on.wait(20)

    node = raw_node(NodeKind.RAW_FILE, Row().partition, (), (PAYLOAD,), RawStat(0, 0))
    descriptors = Descriptors(1, place.clock.monotonic)
    descriptors.keep(RawFileHandle(node, cast(RawFile, HangingFile())))
    place.clock.now_s += IDLE_S
    closing = threading.Thread(target=descriptors.expire_idle)
    closing.start()
    try:
        assert began.wait(10)
        assert descriptors.get(node) is None
    finally:
        go_on.set()
        closing.join(10)


def test_kept_file_is_of_the_node_that_asks() -> None:
    """A number that the kernel forgot may come back for another file, or as another that hashes to it."""
    node = raw_node(NodeKind.RAW_FILE, Row().partition, (), (PAYLOAD,), RawStat(5, 7, 1))
    handle = RawFileHandle(node, cast(RawFile, object()))
    descriptors = Descriptors()
    descriptors.keep(handle)
    assert descriptors.get(replace(node, sealing=3)) is handle
    for other in (
        replace(node, stat=RawStat(5, 7, 2)),
        replace(node, relpath=(METADATA,)),
        replace(node, partition=Row(run=b"r2").partition),
    ):
        assert descriptors.get(other) is None
