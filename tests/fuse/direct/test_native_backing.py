"""Files that the compiled loop would have the kernel read by itself, on a connection that takes no registration.

With a kernel that takes them `test_passthrough` has the same loop under real mounts.
"""

from __future__ import annotations

import errno
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.descriptors import open_descriptors
from tests.fuse.direct.looped import INODE, Looped, looped, needs_module
from tests.mount.bindfs import bound
from tests.mount.daemon import Place, wait_until

pytestmark = needs_module
BORDER = 10


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Looped]:
    """A loop that knows a small file, and one that the kernel shall read."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run/small").write_bytes(b"1" * (BORDER - 1))
    (tmp_path / "run/large").write_bytes(b"1" * BORDER)
    with looped(tmp_path, passed_from=BORDER) as found:
        found.add_file("run", "small", INODE)
        found.add_file("run", "large", INODE + 1)
        yield found


def refusal(one: Looped, fd: int) -> int:
    """Open as Python does, and return why the kernel refuses it now."""
    error, backing_id = one.loop.open_backing(INODE + 1, fd)
    assert backing_id == 0
    return int(error)


def test_open_that_the_kernel_refuses_is_pythons_and_leaves_nothing(one: Looped) -> None:
    before = len(open_descriptors())
    for _ in range(3):
        one.assert_python_gets(one.open(INODE + 1))
    assert len(open_descriptors()) == before
    assert (one.loop.open_files(), one.loop.passed_files()) == (0, 0)
    assert one.opened(INODE), "below the border it is opened here"
    assert (one.loop.open_files(), one.loop.passed_files()) == (1, 0)


def test_refusal_stands_while_the_file_is_open_and_no_longer(one: Looped) -> None:
    """The kernel must not hear of a file by one way while it is open by the other, so it is asked but once."""
    with open(one.root / "run/large", "rb") as raw:
        first = refusal(one, raw.fileno())
        assert first
        assert refusal(one, raw.fileno()) == 0, "not asked again"
        one.assert_python_gets(one.open(INODE + 1))
        one.loop.close_backing(INODE + 1)
        assert refusal(one, raw.fileno()) == 0, "open once more"
        for _ in range(3):  # once more often than it was opened: that is not ours
            one.loop.close_backing(INODE + 1)
        assert refusal(one, raw.fileno()) == first
    one.loop.close_backing(INODE + 1)
    assert one.loop.let_go() == 0


def test_descriptor_that_is_none_is_refused_and_not_counted(one: Looped) -> None:
    with open(one.root / "run/large", "rb") as raw:
        fd = os.dup(raw.fileno())
        os.close(fd)
        assert refusal(one, fd) == errno.EBADF
        assert refusal(one, raw.fileno()) not in (0, errno.EBADF), "asked"


def test_many_files_are_counted_apart_from_each_other(one: Looped) -> None:
    """More than the table has chains: those that share one are told apart, whatever goes first."""
    inodes = [*range(1, 3000, 7), *range(1, 3000 * 1024, 1024 * 7)]
    with open(one.root / "run/large", "rb") as raw:
        errors = [one.loop.open_backing(inode, raw.fileno())[0] for inode in inodes]
        seen = {inode for inode, error in zip(inodes, errors, strict=True) if error}
        assert seen == set(inodes)
        assert errors.count(0) == len(inodes) - len(seen)
        for inode in sorted(set(inodes), key=lambda inode: inode * 7919 % 3001):
            assert one.loop.open_backing(inode, raw.fileno())[0] == 0, "it is open"
            for _ in range(1 + inodes.count(inode)):
                one.loop.close_backing(inode)
            assert one.loop.open_backing(inode, raw.fileno())[0] != 0, "it was not open any more"


def test_registration_of_a_file_whose_store_hangs_holds_up_no_other_thread(one: Looped, place: Place) -> None:
    """The raw file is asked what it is once more, and that can hang: the interpreter is not held meanwhile."""
    place.raw.mkdir(exist_ok=True)
    (place.raw / "large").write_bytes(b"1" * BORDER)
    found: list[int] = []
    with bound(place) as store, open(store.path / "large", "rb") as raw:
        asks = threading.Thread(target=lambda: found.append(refusal(one, raw.fileno())))
        # If the interpreter is held no line of this process runs until the store goes on: another process sees to it.
        with subprocess.Popen(["sh", "-c", f"sleep 5; kill -CONT {store.pid}"]) as rescue:
            store.stop()
            asks.start()
            stack = Path(f"/proc/self/task/{asks.native_id}/stack")
            wait_until(lambda: stack.exists() and "fuse" in stack.read_text(), "it waits for the store", 4)
            assert not found
            rescue.kill()
            store.go_on()
        asks.join(10)
        assert found not in ([], [0])
        one.loop.close_backing(INODE + 1)
