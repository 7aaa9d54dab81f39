"""V23 in the compiled loop: what it tells the kernel with a first open, and what it leaves to Python."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from readyfs.fuse.direct.protocol import IN_HEADER, NOTIFY_STORE_OUT, OPEN_OUT, OUT_HEADER, Notify
from readyfs.vfs.packed_raw import PUSHED
from tests.fuse.direct.looped import INODE, PATIENCE_S, SERVED, Looped, looped, needs_module
from tests.mount.held_reads import held_reads

pytestmark = needs_module
CONTENT: Final = bytes(range(256)) * 4
BELOW: Final = len(CONTENT) + 1


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Looped]:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/a").write_bytes(CONTENT)
    with looped(tmp_path, pushed_below=BELOW) as found:
        found.add_file("run", "a")
        yield found


def pushed(one: Looped) -> tuple[int, bytes]:
    """Return the inode and the bytes of what the kernel is told unasked."""
    assert select.select([one.kernel], [], [], PATIENCE_S)[0], "nothing is pushed"
    data = one.kernel.recv(1 << 18)
    length, code, unique = OUT_HEADER.unpack_from(data)
    inode, offset, size, _ = NOTIFY_STORE_OUT.unpack_from(data, OUT_HEADER.size)
    content = data[OUT_HEADER.size + NOTIFY_STORE_OUT.size :]
    assert (length, code, unique) == (len(data), Notify.STORE, 0)
    assert (offset, size) == (0, len(content))
    return inode, content


def state(one: Looped, inode: int = INODE) -> int:
    row = one.rows.get(inode)
    assert row is not None
    return int(row[0][4])


def test_first_open_is_answered_once_the_kernel_was_given_all_bytes_and_later_ones_give_none(one: Looped) -> None:
    unique = one.open()
    assert pushed(one) == (INODE, CONTENT)
    answered, error, body = one.answer()
    assert (answered, error) == (unique, 0)
    assert OPEN_OUT.unpack(body)[0] > 2**62
    assert state(one) == SERVED | PUSHED
    assert one.opened() > 2**62
    assert not one.has_answer()
    assert one.loop.pushed() == (1, len(CONTENT))


@pytest.mark.parametrize("size", [0, BELOW])
def test_what_is_empty_or_too_large_is_opened_alone(one: Looped, size: int) -> None:
    (one.root / "run/b").write_bytes(bytes(size))
    one.add_file("run", "b", 78)
    one.opened(78)
    assert state(one, 78) == SERVED
    assert one.loop.pushed() == (0, 0)


def test_push_that_is_refused_is_left_to_python_with_its_open(one: Looped) -> None:
    one.break_answers()
    unique = one.open()
    received = one.next_received()
    assert received is not None
    assert IN_HEADER.unpack_from(received)[2] == unique
    assert state(one) == SERVED
    assert (one.loop.open_files(), one.loop.pushed()) == (0, (0, 0))


def test_file_that_changes_while_it_is_read_is_left_to_python(one: Looped) -> None:
    path = one.root / "run/a"
    with held_reads(path) as reads:
        unique = one.open()
        answer = reads.wait()
        os.utime(path, ns=(1, 1))
        answer(True)
        one.assert_python_gets(unique)
    assert state(one) == SERVED
    assert (one.loop.open_files(), one.loop.pushed()) == (0, (0, 0))


def test_file_that_cannot_be_read_is_left_to_python(one: Looped) -> None:
    with held_reads(one.root / "run/a") as reads:
        unique = one.open()
        reads.wait()(False)
        one.assert_python_gets(unique)
    assert (one.loop.open_files(), one.loop.pushed()) == (0, (0, 0))


def test_open_that_is_adopted_while_its_file_is_read_pushes_nothing_and_gives_no_handle(one: Looped) -> None:
    """Its client may have been answered long ago, and the number may stand for a file that was written anew."""
    with held_reads(one.root / "run/a") as reads:
        one.open()
        answer = reads.wait()
        assert one.loop.adopt(0) is not None
        answer(True)
        assert one.next_received() == b""
    assert not one.has_answer()
    assert state(one) == SERVED
    assert (one.loop.open_files(), one.loop.pushed()) == (0, (0, 0))
