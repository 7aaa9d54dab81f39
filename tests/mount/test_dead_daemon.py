"""V14: a dead daemon is an error, not an empty tree, and the next start clears what it left."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from readyfs.fuse.mount_table import mounts_at
from tests.mount.daemon import Daemon, Place, fails_with, mounted, partition, running, wait_until


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
    """V14: where the kernel keeps listings they outlive the daemon; none is empty, and a name it was not told fails."""
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


@dataclass(frozen=True)
class Known:
    """Two partitions, of which the kernel has been told all that it keeps: names, listings and the files' bytes."""

    daemon: Daemon
    files: dict[Path, bytes]

    def read_all(self) -> None:
        list(os.walk(self.daemon.path))
        for path, content in self.files.items():
            assert os.stat(path).st_size == len(content)
            assert path.read_bytes() == content
        list(os.walk(self.daemon.path))

    def listings(self) -> dict[Path, list[str]]:
        top = self.daemon.path
        return {top: ["c1"], top / "c1": ["q1"], top / "c1/q1": ["2024-06-01", "2024-06-02"]}

    def assert_true_or_dead(self) -> None:
        """What is answered is all of what was there; the only other answer is ENOTCONN."""
        for path, content in self.files.items():
            assert answer_of(partial(os.path.getsize, path)) in (len(content), errno.ENOTCONN), path
            assert answer_of(path.read_bytes) in (content, errno.ENOTCONN), path
        for directory, names in self.listings().items():
            found = answer_of(partial(os.listdir, directory))
            assert (sorted(found) if isinstance(found, list) else found) in (names, errno.ENOTCONN), directory

    def is_dead(self) -> bool:
        """Whether no path is answered any more."""
        self.assert_true_or_dead()
        asked: list[Callable[[], object]] = [partial(os.stat, path) for path in (*self.files, *self.listings())]
        asked += [path.read_bytes for path in self.files]
        asked += [partial(os.listdir, directory) for directory in self.listings()]
        return all(answer_of(ask) == errno.ENOTCONN for ask in asked)


def answer_of(ask: Callable[[], object]) -> object:
    """Return what is answered, or the errno."""
    try:
        return ask()
    except OSError as error:
        return error.errno


@contextmanager
def known(place: Place, name_timeout: str, engine: str) -> Iterator[Known]:
    """Mount two partitions, one of them with a directory, and have the kernel know everything."""
    contents: dict[str, bytes] = {}
    for date in ("2024-06-01", "2024-06-02"):
        part = partition(date=date)
        run = place.producer.begin_run(part, "r1", payload := f"{date}\n".encode() * 1000)
        (run.directory / "sub").mkdir()
        (run.directory / "sub/f").write_bytes(b"below\n")
        place.producer.seal_run(run)
        place.producer.publish(run)
        contents |= {f"{part.path}/payload.jsonl": payload, f"{part.path}/sub/f": b"below\n"}
    with running(place, "--name-timeout", name_timeout, engine=engine) as daemon:
        found = Known(daemon, {daemon.path / path: content for path, content in contents.items()})
        found.read_all()
        yield found


def test_what_the_kernel_was_told_outlives_the_daemon_and_nothing_else_does(place: Place, engine: str) -> None:
    """V14: within --name-timeout known names, kept listings, and where the kernel opens by itself whole files."""
    with known(place, "1h", engine) as found:
        daemon = found.daemon
        daemon.kill()
        for path, content in found.files.items():
            assert os.stat(path).st_size == len(content)
            if daemon.traits.kernel_opens:
                assert path.read_bytes() == content
            else:
                with fails_with(errno.ENOTCONN):
                    os.open(path, os.O_RDONLY)
            with fails_with(errno.ENOTCONN):
                os.getxattr(path, "user.readyfs.run_id")
        for directory, names in found.listings().items():
            if daemon.traits.kernel_lists:
                assert sorted(os.listdir(directory)) == names
            else:
                with fails_with(errno.ENOTCONN):
                    os.listdir(directory)
        for path in (daemon.path / "c2", daemon.of(partition(date="2024-06-03")), daemon.path / "c1/q1/other"):
            with fails_with(errno.ENOTCONN):
                os.stat(path)
        with fails_with(errno.ENOTCONN):
            os.statvfs(daemon.path)


def test_after_the_name_timeout_no_path_of_a_dead_mount_is_answered(place: Place, engine: str) -> None:
    """V14: names, listings, sizes and files kept without a limit, too; until then no answer lacks anything."""
    with known(place, "300ms", engine) as found:
        found.daemon.kill()
        wait_until(found.is_dead, "every path fails")


def test_held_run_directory_of_a_dead_mount_goes_on_with_what_is_kept(place: Place, engine: str) -> None:
    """V14: below a run nothing is asked for again, so whoever is inside one learns of the death by what is not kept."""
    with known(place, "300ms", engine) as found:
        inside = os.open(found.daemon.directory(partition()) / "sub", os.O_RDONLY | os.O_DIRECTORY)
        held = os.open(found.daemon.of(partition()), os.O_RDONLY)
        try:
            content = os.pread(held, 1 << 20, 0)
            found.daemon.kill()
            wait_until(found.is_dead, "every path fails")
            assert os.stat("f", dir_fd=inside).st_size == len(b"below\n")
            assert os.pread(held, 1 << 20, 0) == content
            if found.daemon.traits.kernel_opens:
                held_file = os.open("f", os.O_RDONLY, dir_fd=inside)
                assert os.read(held_file, 100) == b"below\n"
                os.close(held_file)
            else:
                with fails_with(errno.ENOTCONN):
                    os.open("f", os.O_RDONLY, dir_fd=inside)
        finally:
            os.close(inside)
            os.close(held)


def test_partition_retracted_after_the_death_is_gone_at_the_next_mount(place: Place, engine: str) -> None:
    """V14, V1: a dead mount follows the state table no more; who mounts again sees what it says now."""
    with known(place, "1h", engine) as found:
        found.daemon.kill()
        place.producer.fail(partition())
        found.assert_true_or_dead()
        with mounted(place, engine=engine) as daemon:
            with fails_with(errno.ENOENT):
                os.stat(daemon.of(partition()))
            assert os.listdir(daemon.path / "c1/q1") == ["2024-06-02"]


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
