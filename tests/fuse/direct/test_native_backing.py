"""Files that the compiled loop would have the kernel read by itself, on a connection that takes no registration.

With a kernel that takes them `test_passthrough` has the same loop under real mounts.
"""

from __future__ import annotations

import errno
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.descriptors import open_descriptors
from tests.fuse.direct.looped import INODE, PATIENCE_S, Looped, looped, needs_module
from tests.mount.bindfs import bound
from tests.mount.daemon import Place

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


HANGING = """
import os, sys, threading
from readyfs import native
from readyfs.fuse.direct.protocol import ATTR_OUT

loop = native.module.Loop(-1, native.module.Rows(5, 2), b"/", bytes(ATTR_OUT.size), 1, (1,), 0, 0)
fd = os.open(sys.argv[1], os.O_RDONLY)
print("open", flush=True)
sys.stdin.readline()
threading.Thread(target=loop.open_backing, args=(7, fd), daemon=True).start()
print("goes on", flush=True)
sys.stdin.readline()
"""


def test_raw_store_that_hangs_stalls_no_other_thread_of_python(place: Place) -> None:
    """To register a file it is looked at, which a network file system has to ask for."""
    (place.raw / "a").write_bytes(b"1")
    with bound(place) as store:
        command = [sys.executable, "-c", HANGING, str(store.path / "a")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            try:
                assert child.stdin is not None and child.stdout is not None
                assert child.stdout.readline() == "open\n"
                store.stop()
                child.stdin.write("\n")
                child.stdin.flush()
                assert select.select([child.stdout], [], [], PATIENCE_S)[0], "it waits for the raw store"
            finally:
                child.kill()
                store.go_on()
