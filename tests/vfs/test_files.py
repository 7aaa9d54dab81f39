"""Opening and reading files of a run."""

from __future__ import annotations

import errno
import os
import threading

import pytest

from readyfs.errors import BrokenRunError, IsADirectoryNodeError, StaleHandleError, TooManyHandlesError
from readyfs.vfs.handles import RawFileHandle
from readyfs.vfs.inode_number import ROOT_INODE, date_inode
from readyfs.vfs.invalidation import Invalidation
from tests.catalog.rows import Row
from tests.descriptors import open_descriptors
from tests.vfs.place import DAY_1, METADATA, PAYLOAD, Place

FILE = (b"c", b"q", DAY_1, PAYLOAD)


def test_file_is_read_byte_for_byte_at_any_offset(place: Place) -> None:
    """V2."""
    data = bytes(range(256)) * 4
    place.serve(Row(), data)
    handle = place.open(*FILE)
    assert place.fs.read(handle, 0, 10_000) == data
    assert place.fs.read(handle, 100, 50) == data[100:150]
    assert place.fs.read(handle, 1_000, 1_000) == data[1_000:]
    assert place.fs.read(handle, 1_024, 10) == b""
    assert place.fs.read(handle, 10**12, 10) == b""
    assert place.fs.read(handle, 0, 0) == b""


def test_empty_file_of_a_whole_run_is_empty(place: Place) -> None:
    place.serve(Row(), b"")
    assert place.read(*FILE) == b""


def test_opened_file_keeps_its_pages_in_the_kernel(place: Place) -> None:
    place.serve(Row())
    inode = place.inode(*FILE)
    opened = place.fs.open_file(inode)
    assert (opened.keep_pages, opened.direct) == (True, False)
    assert not place.fs.is_in_memory(inode)
    assert place.fs.read_memory(opened.handle, 0, 1) is None


@pytest.mark.parametrize("names", [(b"c",), (b"c", b"q", DAY_1), (b"c", b"q", DAY_1, b"sub"), (b".readyfs",)])
def test_directory_cannot_be_opened_as_a_file(place: Place, names: tuple[bytes, ...]) -> None:
    place.serve(Row(), sub__f=b"")
    with pytest.raises(IsADirectoryNodeError):
        place.fs.open_file(place.inode(*names))
    with pytest.raises(IsADirectoryNodeError):
        place.fs.open_file(ROOT_INODE)


def test_closed_handle_is_stale(place: Place) -> None:
    place.serve(Row())
    handle = place.open(*FILE)
    place.fs.close_file(handle)
    place.fs.close_file(handle)
    with pytest.raises(StaleHandleError):
        place.fs.read(handle, 0, 1)


def test_open_file_keeps_the_bytes_of_its_run(place: Place) -> None:
    """V5: through a switch, retraction and the removal of the raw run."""
    directory = place.serve(Row(), b"old bytes")
    handle = place.open(*FILE)
    place.write(Row(run=b"r2"), b"new bytes!")
    place.publish(Row(run=b"r2"))
    assert place.fs.read(handle, 0, 100) == b"old bytes"
    place.publish()
    (directory / "payload.jsonl").unlink()
    assert place.fs.read(handle, 0, 100) == b"old bytes"


def test_handle_closes_its_descriptor(place: Place) -> None:
    place.serve(Row())
    handle = place.open(*FILE)
    descriptor = place.fs.handles.get(handle, RawFileHandle).file.fileno()
    os.fstat(descriptor)
    place.fs.close_file(handle)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


# ---- damage -------------------------------------------------------------------------------------------------------


def test_file_that_changed_since_its_run_was_sealed_cannot_be_opened(place: Place) -> None:
    """V5, V10: other bytes are never served under the old size and pages; nothing stays open."""
    directory = place.serve(Row(), b"1234")
    inode = place.inode(*FILE)
    (directory / "payload.jsonl").write_bytes(b"123456")
    before = len(open_descriptors())
    with pytest.raises(BrokenRunError, match=r"payload\.jsonl has 6 bytes and was sealed with 4"):
        place.fs.open_file(inode)
    assert len(open_descriptors()) == before
    assert len(place.fs.handles) == 0


def test_file_of_the_same_size_and_another_time_cannot_be_opened(place: Place) -> None:
    directory = place.serve(Row(), b"1234")
    inode = place.inode(*FILE)
    (directory / "payload.jsonl").write_bytes(b"5678")
    os.utime(directory / "payload.jsonl", ns=(1, 1))
    with pytest.raises(BrokenRunError):
        place.fs.open_file(inode)


def test_damage_has_the_kernel_ask_again_for_the_names_of_the_run(place: Place) -> None:
    """V10: cached without limit, they would hide the healing."""
    directory = place.serve(Row(), b"1234")
    inode = place.inode(*FILE)
    (directory / "payload.jsonl").unlink()
    with pytest.raises(BrokenRunError):
        place.fs.open_file(inode)
    (invalidation,) = place.damage
    assert invalidation.directory == date_inode(Row().partition)
    assert {PAYLOAD, METADATA} <= set(invalidation.names)
    assert place.fs.broken_by_kind().total() == 1


def test_damage_of_another_file_has_the_kernel_ask_for_that_name_too(place: Place) -> None:
    directory = place.serve(Row(), extra=b"1")
    inode = place.inode(b"c", b"q", DAY_1, b"extra")
    (directory / "extra").unlink()
    with pytest.raises(BrokenRunError):
        place.fs.open_file(inode)
    (invalidation,) = place.damage
    assert set(invalidation.names) == {PAYLOAD, METADATA, b"extra"}


def test_damage_in_a_subdirectory_has_the_kernel_ask_for_the_name_there(place: Place) -> None:
    """V10: the directory that the kernel knows, by its own number."""
    directory = place.serve(Row(), sub__deep__f=b"1")
    deep = place.inode(b"c", b"q", DAY_1, b"sub", b"deep")
    file = place.inode(b"f", start=deep)
    (directory / "sub/deep/f").unlink()
    with pytest.raises(BrokenRunError):
        place.fs.open_file(file)
    assert Invalidation(deep, (b"f",)) in place.damage
    assert any(i.directory == date_inode(Row().partition) and b"sub" in i.names for i in place.damage)


def test_file_that_became_shorter_is_an_error_and_no_early_end(place: Place) -> None:
    """V5, V10: a short read would be taken for the end of the file."""
    directory = place.serve(Row(), b"x" * 1_000)
    handle = place.open(*FILE)
    os.truncate(directory / "payload.jsonl", 600)
    assert len(place.fs.read(handle, 0, 600)) == 600
    with pytest.raises(BrokenRunError, match=r"payload\.jsonl has 600 bytes and was sealed with 1000"):
        place.fs.read(handle, 500, 200)
    with pytest.raises(BrokenRunError):
        place.fs.read(handle, 700, 100)
    assert place.damage
    assert place.fs.broken_by_kind().total() == 1


def test_file_that_became_longer_keeps_its_sealed_size(place: Place) -> None:
    directory = place.serve(Row(), b"1234")
    handle = place.open(*FILE)
    with (directory / "payload.jsonl").open("ab") as file:
        file.write(b"5678")
    assert place.fs.read(handle, 0, 100) == b"1234"


def test_failing_read_is_damage(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """V10."""
    place.serve(Row(), b"1234")
    handle = place.open(*FILE)

    def fail(*arguments: object) -> bytes:
        raise OSError(errno.EIO, "disk error")

    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(BrokenRunError, match="disk error"):
        place.fs.read(handle, 0, 4)
    assert place.damage


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_lack_of_descriptors_is_no_damage_of_the_run(place: Place, number: int) -> None:
    place.serve(Row())
    inode = place.inode(*FILE)
    place.store.failure = OSError(number, os.strerror(number))
    with pytest.raises(TooManyHandlesError):
        place.fs.open_file(inode)
    assert place.fs.broken_by_kind().total() == 0
    assert not place.damage


# ---- together -----------------------------------------------------------------------------------------------------


def test_readers_on_many_threads_see_one_run_each_through_switches(place: Place) -> None:
    """V2, V5: every open file gives the bytes of one run, whatever is published meanwhile."""
    runs = [Row(run=b"r%d" % number) for number in range(4)]
    payloads = {row.run: row.run * 1_000 for row in runs}
    for row in runs:
        place.write(row, payloads[row.run])
    place.publish(runs[0])
    errors: list[BaseException] = []
    seen: set[bytes] = set()
    done = threading.Event()

    def read() -> None:
        try:
            while not done.is_set():
                day = place.day()
                run = place.fs.getxattr(day, b"user.readyfs.run_id")
                handle = place.fs.open_file(place.inode(PAYLOAD, start=day)).handle
                assert place.fs.read(handle, 0, 10_000) == payloads[run]
                place.fs.close_file(handle)
                seen.add(run)
        except BaseException as error:  # noqa: BLE001 - handed to the main thread
            errors.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for turn in range(400):
        place.publish(runs[turn % 4])
    done.set()
    for reader in readers:
        reader.join(30)
        assert not reader.is_alive()
    assert not errors
    assert seen
    assert len(place.fs.handles) == 0
