"""V23: what is read to be pushed is what was sealed, before and after; and what the kernel refuses is no error."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from readyfs.errors import BrokenRunError
from readyfs.fuse.direct.page_cache import PageCache
from readyfs.metrics.push_counts import PushCounts
from readyfs.raw.store import RawFile, RawStat
from readyfs.vfs.handles import HandleNumber, RawFileHandle
from readyfs.vfs.inode_number import InodeNumber
from tests.catalog.rows import Row
from tests.vfs.place import DAY_1, PAYLOAD, Place

ROW: Final = Row()
OLD: Final = b"old\n" * 10


class ActingFile:
    """An open raw file that acts once it was read, or fails then."""

    def __init__(self, file: RawFile, after: Callable[[], None]) -> None:
        self._file = file
        self._after = after
        self.stat = file.stat

    def pread(self, size: int, offset: int) -> bytes:
        data = self._file.pread(size, offset)
        self._after()
        return data

    def current_stat(self) -> RawStat:
        return self._file.current_stat()

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        self._file.close()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "raw")


def serve(place: Place) -> Path:
    return place.serve(ROW, OLD) / "payload.jsonl"


def opened(place: Place, after: Callable[[], None]) -> HandleNumber:
    """Open the payload, whose reads are followed by something."""
    number = place.open(b"c", b"q", DAY_1, PAYLOAD)
    handle = place.fs.handles.get(number, RawFileHandle)
    handle.file = ActingFile(handle.file, after)
    return number


def nothing() -> None:
    pass


def test_file_that_did_not_change_is_read_whole(place: Place) -> None:
    serve(place)
    assert place.fs.read_to_push(opened(place, nothing)) == OLD


def write_other_bytes(path: Path) -> None:
    before = path.stat().st_mtime_ns
    path.write_bytes(OLD.swapcase())
    os.utime(path, ns=(before + 1, before + 1))


def write_more(path: Path) -> None:
    path.write_bytes(OLD + b"more\n")


def cut(path: Path) -> None:
    os.truncate(path, 3)


@pytest.mark.parametrize("change", [write_other_bytes, write_more, cut])
def test_file_that_changes_while_it_is_read_is_damage(place: Place, change: Callable[[Path], None]) -> None:
    path = serve(place)
    with pytest.raises(BrokenRunError):
        place.fs.read_to_push(opened(place, lambda: change(path)))
    assert place.runs.damaged() == [(ROW.partition.key, ROW.partition.run_id)]
    assert place.damage, "the kernel asks again"


def test_file_that_cannot_be_read_is_damage(place: Place) -> None:
    serve(place)

    def fail() -> None:
        raise OSError(errno.EIO, "I/O error")

    with pytest.raises(BrokenRunError):
        place.fs.read_to_push(opened(place, fail))
    assert place.runs.damaged()


def test_file_is_read_to_be_pushed_until_the_kernel_was_given_it_and_again_after_it_forgot(place: Place) -> None:
    serve(place)
    inode = place.inode(b"c", b"q", DAY_1, PAYLOAD)
    assert place.fs.read_to_push(place.fs.open_file(inode).handle) == OLD
    place.fs.note_pushed(inode)
    assert place.fs.read_to_push(place.fs.open_file(inode).handle) is None
    place.fs.forget([(inode, place.fs.inodes.lookups(inode))])
    assert place.inode(b"c", b"q", DAY_1, PAYLOAD) == inode
    assert place.fs.read_to_push(place.fs.open_file(inode).handle) == OLD


class Pages:
    """A kernel that takes what it is given, or refuses it."""

    def __init__(self) -> None:
        self.error: int | None = None
        self.taken: list[tuple[InodeNumber, bytes]] = []

    def push(self, inode: InodeNumber, data: bytes) -> None:
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error))
        self.taken.append((inode, data))


def test_number_that_stands_for_another_file_by_then_is_given_nothing(place: Place) -> None:
    """An open that hung may have been answered in another way, and the kernel may have forgotten the inode since."""
    path = serve(place)

    def write_anew() -> None:
        place.fs.forget([(inode, place.fs.inodes.lookups(inode))])
        path.unlink()
        path.write_bytes(OLD + OLD)
        place.publish(ROW._replace(updated_at_ns=ROW.updated_at_ns + 1))
        assert place.inode(b"c", b"q", DAY_1, PAYLOAD) == inode

    inode = place.inode(b"c", b"q", DAY_1, PAYLOAD)
    assert place.fs.read_to_push(opened(place, write_anew)) is None


def test_what_is_pushed_is_counted() -> None:
    pages = Pages()
    cache = PageCache(pages)
    cache.push(InodeNumber(7), b"seven")
    assert pages.taken == [(7, b"seven")]
    assert cache.counts == PushCounts(1, 5)


def test_what_the_kernel_refuses_is_counted_by_error_and_no_failure() -> None:
    pages = Pages()
    cache = PageCache(pages)
    for pages.error in (errno.ENOMEM, errno.ENOMEM, errno.EIO):
        cache.push(InodeNumber(7), b"seven")
    assert cache.counts.refused == {"ENOMEM": 2, "EIO": 1}
    assert cache.counts.files == 0


@pytest.mark.parametrize("error", [errno.ENODEV, errno.ECONNABORTED])
def test_mount_that_is_gone_refuses_nothing(error: int) -> None:
    pages = Pages()
    pages.error = error
    cache = PageCache(pages)
    cache.push(InodeNumber(7), b"seven")
    assert cache.counts == PushCounts()
