from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from readyfs.fuse.direct import backing as backing_module
from readyfs.fuse.direct.backing import IDLE_S, BackingFiles, ReplacedFileError
from readyfs.partition import run_of
from tests.catalog.rows import Row

RUN, OTHER = run_of(Row().partition), run_of(Row(run=b"r2").partition)


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
    files = BackingFiles(kernel)
    first = raw("a")
    assert files.open(7, first, RUN) == files.open(7, raw("a"), RUN)
    assert kernel.registered == {1: first}
    files.close(7)
    files.close(7)
    assert files.open(7, raw("a"), RUN) == 1, "kept for the next open"


def test_a_registration_that_is_open_is_never_let_go(
    kernel: FakeKernel, raw: Callable[[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backing_module, "MAX_IDLE", 2)
    files = BackingFiles(kernel)
    files.open(1, raw("1"), RUN)
    for inode in range(2, 7):
        files.open(inode, raw(str(inode)), RUN)
        files.close(inode)
    files.expire_idle()
    assert sorted(kernel.registered) == [1, 5, 6]


def test_idle_registrations_are_let_go_after_a_while(kernel: FakeKernel, raw: Callable[[str], int]) -> None:
    now_s = 0.0
    files = BackingFiles(kernel, lambda: now_s)
    files.open(1, raw("1"), RUN)
    files.open(2, raw("2"), RUN)
    files.close(2)
    now_s = IDLE_S - 0.1
    files.expire_idle()
    assert sorted(kernel.registered) == [1, 2]
    now_s = IDLE_S
    files.expire_idle()
    assert sorted(kernel.registered) == [1]


def test_registrations_of_a_run_that_is_let_go_are_closed_next_unless_they_are_open(
    kernel: FakeKernel, raw: Callable[[str], int]
) -> None:
    files = BackingFiles(kernel)
    for inode, run in ((1, RUN), (2, RUN), (3, OTHER)):
        files.open(inode, raw(str(inode)), run)
    files.close(2)
    files.close(3)
    assert files.let_go({RUN})
    assert not files.let_go({RUN})
    assert sorted(kernel.registered) == [1, 2, 3], "closing may block, and is left to expire_idle"
    files.expire_idle()
    assert sorted(kernel.registered) == [1, 3]


def test_a_registration_that_is_idle_is_not_used_for_another_raw_file(
    kernel: FakeKernel, raw: Callable[[str], int]
) -> None:
    """V10: a file that was cut, opened and then restored under its name is not read from what was cut."""
    files = BackingFiles(kernel)
    files.open(1, raw("cut"), RUN)
    files.close(1)
    restored = raw("restored")
    assert files.open(1, restored, RUN) == 2
    assert kernel.registered == {2: restored}


def test_an_inode_that_is_open_takes_no_other_raw_file(kernel: FakeKernel, raw: Callable[[str], int]) -> None:
    files = BackingFiles(kernel)
    files.open(1, raw("old"), RUN)
    with pytest.raises(ReplacedFileError):
        files.open(1, raw("new"), RUN)
    files.close(1)
    assert files.open(1, raw("new"), RUN) == 2
    assert sorted(kernel.registered) == [2]


def test_a_refused_file_stays_refused_while_it_is_open_and_is_tried_anew_afterwards(
    kernel: FakeKernel, raw: Callable[[str], int]
) -> None:
    files = BackingFiles(kernel)
    kernel.refusal = errno.ELOOP
    assert files.open(1, raw("a"), RUN) is None
    kernel.refusal = 0
    assert files.open(1, raw("a"), RUN) is None
    assert files.open(1, raw("b"), RUN) is None, "the daemon reads whatever it opens"
    for _ in range(3):
        files.close(1)
    assert files.open(1, raw("a"), RUN) == 1
    assert files.refused == {"ELOOP": 1}


def test_closing_what_was_never_opened_is_harmless(kernel: FakeKernel) -> None:
    BackingFiles(kernel).close(1)
