"""Registrations as a real kernel makes them, kept by the compiled loop and in Python: both say the same."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from readyfs import native
from readyfs.fuse.direct.backing import OwnRegistrations, Registrations
from readyfs.fuse.direct.channel import Channel
from readyfs.fuse.direct.handshake import negotiate
from readyfs.fuse.direct.protocol import ATTR_OUT
from readyfs.fuse.engine_words import ReadsWord
from readyfs.fuse.mount_options import render_mount_options
from readyfs.fuse.unmount import detach
from readyfs.metrics.durations import REQUEST_BOUNDS_NS

INODE = 7


@pytest.fixture
def channel(tmp_path: Path) -> Iterator[Channel]:
    """A connection of which nobody asks anything."""
    mountpoint = tmp_path / "mountpoint"
    mountpoint.mkdir()
    found = Channel()
    offer = found.mount(str(mountpoint), render_mount_options("test", allow_other=False), privileged=True)
    try:
        obstacle = negotiate(found, offer, ReadsWord.PASSTHROUGH, 1, privileged=True)
        if obstacle is not None:
            pytest.skip(f"passthrough cannot be had: {obstacle}")
        yield found
    finally:
        detach(mountpoint)
        found.close()


@pytest.fixture(params=["native", "python"])
def registrations(channel: Channel, tmp_path: Path, request: pytest.FixtureRequest) -> Registrations:
    if request.param == "python":
        return OwnRegistrations(channel)
    if native.module is None:
        pytest.skip(f"no compiled module: {native.obstacle}")
    rows, bounds = native.module.Rows(5, 2), REQUEST_BOUNDS_NS
    made: Registrations = native.module.Loop(
        channel.lend(), rows, bytes(tmp_path), bytes(ATTR_OUT.size), 1, bounds, 0, 0
    )
    return made


@pytest.fixture
def files(tmp_path: Path) -> Iterator[list[int]]:
    """Descriptors of two files, the first one twice."""
    with ExitStack() as opened:
        for name in ("a", "b"):
            (tmp_path / name).write_bytes(b"x")
        yield [opened.enter_context((tmp_path / name).open("rb")).fileno() for name in ("a", "b", "a")]


def test_opens_of_an_inode_share_one_registration_until_the_last_close(
    registrations: Registrations, files: list[int]
) -> None:
    error, first = registrations.open_backing(INODE, files[0])
    assert error == 0 and first > 0
    assert registrations.open_backing(INODE, files[2]) == (0, first)
    assert registrations.open_backing(INODE + 1, files[1])[1] not in (0, first)
    registrations.close_backing(INODE)
    assert registrations.let_go() == 0
    assert registrations.open_backing(INODE, files[0]) == (0, first), "still open"
    for _ in range(2):
        registrations.close_backing(INODE)
    error, another = registrations.open_backing(INODE, files[0])
    assert error == 0 and another not in (0, first), "a registration serves the opens of one time"


def test_inode_that_is_open_takes_no_other_raw_file(registrations: Registrations, files: list[int]) -> None:
    """V10: whoever has the old one open goes on with it, and the kernel would answer EIO to who comes."""
    assert registrations.open_backing(INODE, files[0])[0] == 0
    for _ in range(2):
        assert registrations.open_backing(INODE, files[1]) == (errno.EEXIST, 0)
    registrations.close_backing(INODE)
    error, backing_id = registrations.open_backing(INODE, files[1])
    assert error == 0 and backing_id > 0, "what was not counted need not be closed"


def test_registration_is_let_go_once(registrations: Registrations, files: list[int], channel: Channel) -> None:
    _, backing_id = registrations.open_backing(INODE, files[0])
    registrations.close_backing(INODE)
    assert [registrations.let_go() for _ in range(2)] == [0, 0]
    with pytest.raises(OSError, match="No such file"):
        channel.close_backing(backing_id)


def test_registration_that_the_kernel_does_not_know_is_told(
    registrations: Registrations, files: list[int], channel: Channel
) -> None:
    _, backing_id = registrations.open_backing(INODE, files[0])
    registrations.close_backing(INODE)
    channel.close_backing(backing_id)
    assert registrations.let_go() == errno.ENOENT
