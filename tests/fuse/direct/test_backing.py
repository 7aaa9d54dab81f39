from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from readyfs.fuse.direct.backing import BackingFiles, OwnRegistrations, ReplacedFileError
from readyfs.fuse.direct.page_cache import PageCache
from readyfs.fuse.direct.reads import OpenedReads
from tests.catalog.rows import Row
from tests.vfs.place import DAY_1, PAYLOAD
from tests.vfs.place import Place as VfsPlace


class FakeKernel:
    """Registers files under consecutive ids, or refuses with an errno."""

    def __init__(self) -> None:
        self.registered: dict[int, int] = {}
        self.refusal = 0
        self._next = 1

    def open_backing(self, fd: int) -> int:
        if self.refusal:
            raise OSError(self.refusal, os.strerror(self.refusal))
        self.registered[self._next] = fd
        self._next += 1
        return self._next - 1

    def close_backing(self, backing_id: int) -> None:
        del self.registered[backing_id]


@pytest.fixture
def kernel() -> FakeKernel:
    return FakeKernel()


@pytest.fixture
def raw(tmp_path: Path) -> Iterator[Callable[[str], int]]:
    """What opens a raw file by name: each name is a file of its own, each call a descriptor of its own."""
    opened: list[int] = []

    def open_raw(name: str) -> int:
        opened.append(os.open(tmp_path / name, os.O_RDONLY | os.O_CREAT))
        return opened[-1]

    yield open_raw
    for fd in opened:
        os.close(fd)


def test_all_opens_of_an_inode_share_one_registration(kernel: FakeKernel, raw: Callable[[str], int]) -> None:
    files = BackingFiles(OwnRegistrations(kernel))
    first = raw("a")
    assert files.open(7, first) == files.open(7, raw("a"))
    assert kernel.registered == {1: first}


def test_a_registration_is_let_go_once_nobody_has_it_open(kernel: FakeKernel, raw: Callable[[str], int]) -> None:
    files = BackingFiles(OwnRegistrations(kernel))
    for inode in (1, 1, 2):
        files.open(inode, raw(str(inode)))
    for _ in range(2):
        files.close(1)
        files.let_go()
        assert 2 in kernel.registered
    assert sorted(kernel.registered) == [2]
    files.close(2)
    assert sorted(kernel.registered) == [2], "closing may block, and is left to let_go"
    files.let_go()
    files.let_go()
    assert not kernel.registered


def test_a_registration_that_is_open_is_not_let_go(kernel: FakeKernel, raw: Callable[[str], int]) -> None:
    files = BackingFiles(OwnRegistrations(kernel))
    files.open(1, raw("1"))
    files.open(1, raw("1"))
    files.close(1)
    files.let_go()
    assert sorted(kernel.registered) == [1]


def test_a_registration_of_an_earlier_open_is_not_used_again(kernel: FakeKernel, raw: Callable[[str], int]) -> None:
    """V10: a file that was cut, opened and then restored under its name is not read from what was cut."""
    files = BackingFiles(OwnRegistrations(kernel))
    files.open(1, raw("cut"))
    files.close(1)
    restored = raw("restored")
    assert files.open(1, restored) == 2
    files.let_go()
    assert kernel.registered == {2: restored}


def test_an_inode_that_is_open_takes_no_other_raw_file(kernel: FakeKernel, raw: Callable[[str], int]) -> None:
    files = BackingFiles(OwnRegistrations(kernel))
    files.open(1, raw("old"))
    with pytest.raises(ReplacedFileError):
        files.open(1, raw("new"))
    files.close(1)
    assert files.open(1, raw("new")) == 2
    files.let_go()
    assert sorted(kernel.registered) == [2]


def test_a_refused_file_stays_refused_while_it_is_open_and_is_tried_anew_afterwards(
    kernel: FakeKernel, raw: Callable[[str], int]
) -> None:
    files = BackingFiles(OwnRegistrations(kernel))
    kernel.refusal = errno.ELOOP
    assert files.open(1, raw("a")) is None
    kernel.refusal = 0
    assert files.open(1, raw("a")) is None
    assert files.open(1, raw("b")) is None, "the daemon reads whatever it opens"
    for _ in range(3):
        files.close(1)
    assert files.open(1, raw("a")) == 1
    assert files.refused == {"ELOOP": 1}


def test_closing_what_was_never_opened_is_harmless(kernel: FakeKernel) -> None:
    BackingFiles(OwnRegistrations(kernel)).close(1)


def test_open_that_fails_behind_a_refusal_is_not_counted(tmp_path: Path) -> None:
    """Otherwise the inode would be read by us for ever, and nothing would ever end that."""
    place = VfsPlace(tmp_path / "raw")
    asked: list[int] = []

    class Refusing(FakeKernel):
        def open_backing(self, fd: int) -> int:
            asked.append(fd)
            raise OSError(errno.EOPNOTSUPP, "not supported")

        def push(self, inode: int, data: bytes) -> None:
            raise ValueError("a mistake")

    kernel = Refusing()
    place.serve(Row())
    inode = place.inode(b"c", b"q", DAY_1, PAYLOAD)
    reads = OpenedReads(place.fs, BackingFiles(OwnRegistrations(kernel)), 0, PageCache(kernel))
    for _ in range(2):
        with pytest.raises(ValueError, match="a mistake"):
            reads.open(inode, may_block=True)
    assert len(asked) == 2, "it was not open any more"
    assert not len(place.fs.handles)
