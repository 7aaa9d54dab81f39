from __future__ import annotations

import errno
import os

import pytest

from readyfs.fuse.direct import backing as backing_module
from readyfs.fuse.direct.backing import IDLE_S, BackingFiles


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


def test_all_opens_of_an_inode_share_one_registration(kernel: FakeKernel) -> None:
    files = BackingFiles(kernel)
    assert files.open(7, lambda: 30) == files.open(7, lambda: 31)
    assert kernel.registered == {1: 30}
    files.close(7)
    files.close(7)
    assert files.open(7, lambda: 32) == 1, "kept for the next open"


def test_a_registration_that_is_open_is_never_let_go(kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backing_module, "MAX_IDLE", 2)
    files = BackingFiles(kernel)
    files.open(1, lambda: 11)
    for inode in range(2, 7):
        files.open(inode, lambda: 10 + inode)  # noqa: B023 - called at once
        files.close(inode)
    assert sorted(kernel.registered.values()) == [11, 15, 16]


def test_idle_registrations_are_let_go_after_a_while(kernel: FakeKernel) -> None:
    now_s = 0.0
    files = BackingFiles(kernel, lambda: now_s)
    files.open(1, lambda: 11)
    files.open(2, lambda: 12)
    files.close(2)
    now_s = IDLE_S - 0.1
    files.expire_idle()
    assert sorted(kernel.registered.values()) == [11, 12]
    now_s = IDLE_S
    files.expire_idle()
    assert sorted(kernel.registered.values()) == [11]


def test_a_refused_file_stays_refused_while_it_is_open_and_is_tried_anew_afterwards(kernel: FakeKernel) -> None:
    files = BackingFiles(kernel)
    kernel.refusal = errno.ELOOP
    assert files.open(1, lambda: 11) is None
    kernel.refusal = 0
    assert files.open(1, lambda: 11) is None
    files.close(1)
    files.close(1)
    assert files.open(1, lambda: 11) == 1
    assert files.refused == {"ELOOP": 1}


def test_closing_what_was_never_opened_is_harmless(kernel: FakeKernel) -> None:
    BackingFiles(kernel).close(1)
