"""V14: a dead daemon is an error, not an empty tree, and the next start clears what it left."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from readyfs.fuse.mount_table import mounts_at
from tests.mount.daemon import Daemon, Place, fails_with, mounted, partition, running


def test_readers_of_a_dead_mount_get_enotconn(place: Place, engine: str) -> None:
    """V14: listings, new names and new opens fail; nothing is ever shown as empty or absent."""
    part = partition()
    place.producer.write_and_publish(part, "r1", b"x\n")
    with running(place, engine=engine) as daemon:
        root = os.open(daemon.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            daemon.kill()
            for listed in (daemon.path, daemon.path / "c1", root):
                with fails_with(errno.ENOTCONN):
                    os.listdir(listed)
            for path in (daemon.of(part), daemon.path / "c2"):
                with fails_with(errno.ENOTCONN):
                    os.stat(path)
                with fails_with(errno.ENOTCONN):
                    os.open(path, os.O_RDONLY)
            with fails_with(errno.ENOTCONN):
                os.statvfs(daemon.path)
            assert mounts_at(daemon.path)
        finally:
            os.close(root)


def test_kept_listing_of_a_dead_mount_shows_what_was_there_and_nothing_else_does(place: Place, engine: str) -> None:
    """V14: where the kernel keeps listings they outlive the daemon; never is one empty, and no name leads to bytes."""
    part = partition()
    place.producer.write_and_publish(part, "r1", b"x\n")
    with running(place, engine=engine) as daemon:
        assert os.listdir(daemon.path / "c1") == ["q1"]
        daemon.kill()
        if daemon.traits.kernel_lists:
            assert os.listdir(daemon.path / "c1") == ["q1"]
        else:
            with fails_with(errno.ENOTCONN):
                os.listdir(daemon.path / "c1")
        for listed in (daemon.path, daemon.path / "c1/q1"):
            with fails_with(errno.ENOTCONN):
                os.listdir(listed)
        with fails_with(errno.ENOTCONN):
            daemon.of(part).read_bytes()


def test_start_over_a_dead_mount_clears_it_and_shows_the_same_tree(place: Place, engine: str) -> None:
    """V14, V9: after kill -9 the next start at the same place works, with the same inode numbers."""
    part = partition()
    place.producer.write_and_publish(part, "r1", b"x\n")
    with running(place, engine=engine) as dead:
        numbers = numbers_of(dead.path)
        dead.kill()
        assert mounts_at(dead.path)
        with mounted(place, engine=engine) as daemon:
            assert len(mounts_at(daemon.path)) == 1
            assert daemon.of(part).read_bytes() == b"x\n"
            assert numbers_of(daemon.path) == numbers
            assert daemon.events("cleared a dead mount")
        assert not mounts_at(place.mountpoint)


def test_held_file_of_a_dead_daemon_fails_and_hinders_no_restart(place: Place, engine: str) -> None:
    """V14, V5: an open file outlives no kill -9 unless the kernel reads it; who holds one hinders no restart."""
    part = partition()
    payload = b"x" * 1_000_000
    place.producer.write_and_publish(part, "r1", payload)
    with running(place, engine=engine) as dead:
        held = os.open(dead.of(part), os.O_RDONLY)
        try:
            dead.kill()
            assert_dead(dead, held)
            with mounted(place, engine=engine) as daemon:
                assert daemon.of(part).read_bytes() == payload
                assert_dead(dead, held)
        finally:
            with fails_with(errno.ENOTCONN):
                os.close(held)


def assert_dead(daemon: Daemon, descriptor: int) -> None:
    if daemon.traits.kernel_reads:
        assert os.pread(descriptor, 1, 999_999) == b"x"
    else:
        with fails_with(errno.ENOTCONN):
            os.pread(descriptor, 1, 999_999)


def test_daemon_killed_again_and_again_leaves_one_mount_at_most(place: Place, engine: str) -> None:
    """V14: dead mounts do not pile up."""
    place.producer.write_and_publish(partition(), "r1", b"x\n")
    for _ in range(3):
        with running(place, engine=engine) as daemon:
            assert len(mounts_at(daemon.path)) == 1
            assert os.listdir(daemon.path) == ["c1"]
            daemon.kill()
            assert len(mounts_at(daemon.path)) == 1


def numbers_of(top: Path) -> dict[str, int]:
    return {
        os.path.join(directory, name): os.stat(os.path.join(directory, name)).st_ino
        for directory, names, files in os.walk(top)
        for name in (*names, *files)
    }
