"""V9: what stat(2) shows."""

from __future__ import annotations

import datetime
import errno
import mmap
import os
import shutil
import stat
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from tests.mount.daemon import Daemon, Place, fails_with, in_each_layout, mounted, partition, running


def at(hour: int) -> datetime.datetime:
    return datetime.datetime(2024, 6, 2, hour, 0, 0, 123456, tzinfo=datetime.UTC)


def ns(hour: int) -> int:
    return int(at(hour).replace(microsecond=0).timestamp()) * 1_000_000_000 + 123_456_000


def test_file_attributes_are_those_of_the_raw_file(place: Place, engine: str) -> None:
    """V9: size and mtime are the raw file's, blocks are ceil(size/512), atime and ctime are mtime."""
    sizes = (0, 1, 511, 512, 513, 100_000)
    for size in sizes:
        run = place.producer.write_run(partition(customer=str(size)), "r1", b"x" * size)
        payload = run.directory / "payload.jsonl"
        os.utime(payload, ns=(1, 1_717_290_000_123_456_789 + size))
        payload.chmod(0o6777)
        os.chown(payload, 65534, 65534)
        place.producer.publish(run)
    with mounted(place, engine=engine) as daemon:
        for size in sizes:
            seen = daemon.of(partition(customer=str(size))).stat()
            assert seen.st_size == size
            assert seen.st_blocks == -(-size // 512)
            assert seen.st_mtime_ns == seen.st_atime_ns == seen.st_ctime_ns == 1_717_290_000_123_456_789 + size
            assert seen.st_nlink == 1
            assert seen.st_mode == stat.S_IFREG | 0o444
            assert (seen.st_uid, seen.st_gid) == (os.geteuid(), os.getegid())
            assert len(daemon.of(partition(customer=str(size))).read_bytes()) == size


def test_directories_have_one_link_and_no_write_bit(place: Place, engine: str) -> None:
    """V9: st_nlink 1, so that find(1) does not count; modes without write, set-id or sticky bits."""
    part = partition()
    run = place.producer.write_run(part, "r1", b"x")
    (run.directory / "sub").mkdir(mode=0o1777)
    (run.directory / "sub").chmod(0o7777)
    place.producer.publish(run)
    with mounted(place, engine=engine) as daemon:
        for path in ("", "c1", "c1/q1", part.path, f"{part.path}/sub", ".readyfs"):
            seen = (daemon.path / path).stat()
            assert (seen.st_nlink, seen.st_mode) == (1, stat.S_IFDIR | 0o555), path


def test_owner_and_modes_are_settings(place: Place, engine: str) -> None:
    """V9: --uid, --gid, --file-mode and --dir-mode hold for everything."""
    part = partition()
    place.producer.write_and_publish(part, "r1", b"x")
    options = ("--uid", "1234", "--gid", "2345", "--file-mode", "0440", "--dir-mode", "0550")
    with mounted(place, *options, engine=engine) as daemon:
        for top, directories, files in os.walk(daemon.path):
            for name in directories:
                seen = os.stat(os.path.join(top, name))
                assert (seen.st_uid, seen.st_gid, seen.st_mode) == (1234, 2345, stat.S_IFDIR | 0o550)
            for name in files:
                seen = os.stat(os.path.join(top, name))
                assert (seen.st_uid, seen.st_gid, seen.st_mode) == (1234, 2345, stat.S_IFREG | 0o440)
        assert stat.S_IMODE(daemon.of(part).stat().st_mode) == 0o440


def test_date_directory_carries_the_time_of_its_row(place: Place, engine: str) -> None:
    """V9: the mtime of a date directory is `updated_at`, to the microsecond."""
    part = partition()
    place.producer.write_and_publish(part, "r1", b"x", at=at(5))
    with mounted(place, engine=engine) as daemon:
        seen = daemon.directory(part).stat()
        assert seen.st_mtime_ns == seen.st_ctime_ns == seen.st_atime_ns == ns(5)


@in_each_layout
def test_touched_row_shows_its_new_time_after_the_refresh(place: Place, engine: str) -> None:
    """V9: where only the row's lineage changed, the kernel's attributes go and nothing else does."""
    part = partition()
    run = place.producer.write_and_publish(part, "r1", b"x", at=at(5))
    with mounted(place, "--name-timeout", "1h", engine=engine) as daemon:
        inode = daemon.directory(part).stat().st_ino
        held = os.open(daemon.directory(part), os.O_RDONLY)
        try:
            place.producer.publish(run, at=at(6))
            assert daemon.refresh()["touched"] == 1
            assert daemon.directory(part).stat().st_mtime_ns == ns(6)
            assert os.fstat(held).st_mtime_ns == ns(6)

            place.producer.publish(run, schema_version="7", at=at(6))
            assert daemon.refresh()["touched"] == 1
            assert os.getxattr(daemon.directory(part), "user.readyfs.schema_version") == b"7"
            assert daemon.directory(part).stat().st_ino == inode
        finally:
            os.close(held)


def times_above(daemon: Daemon) -> tuple[int, int, int]:
    paths = (daemon.path, daemon.path / "c1", daemon.path / "c1/q1")
    for path in paths:
        assert path.stat().st_mtime_ns == path.stat().st_ctime_ns
    root, customer, query = (path.stat().st_mtime_ns for path in paths)
    return root, customer, query


def test_directory_times_move_with_their_own_names_only(place: Place, engine: str) -> None:
    """V9: at the start the newest `updated_at` below; then strictly later with each change of a directory's names."""
    part, newest = partition(), partition(date="2024-06-02")
    run = place.producer.write_and_publish(part, "r1", b"x", at=at(5))
    place.producer.write_and_publish(newest, "r1", b"x", at=at(9))
    with mounted(place, engine=engine) as daemon:
        assert times_above(daemon) == (ns(9), ns(9), ns(9))

        place.producer.publish(run, at=at(20))
        daemon.refresh()
        assert times_above(daemon) == (ns(9), ns(9), ns(9))

        place.producer.write_and_publish(partition(date="2024-06-03"), "r1", b"x", at=at(1))
        daemon.refresh()
        root, customer, query = times_above(daemon)
        assert (root, customer) == (ns(9), ns(9))
        assert ns(9) < query <= time.time_ns()

        place.producer.write_and_publish(partition(query="q2"), "r1", b"x", at=at(1))
        daemon.refresh()
        now = times_above(daemon)
        assert (now[0], now[2]) == (root, query)
        assert now[1] > max(customer, query)

        place.producer.write_and_publish(partition(customer="c2"), "r1", b"x", at=at(1))
        daemon.refresh()
        latest = times_above(daemon)
        assert latest[1:] == now[1:]
        assert latest[0] > now[1]

        place.producer.delete_row(newest)
        daemon.refresh()
        last = times_above(daemon)
        assert last[:2] == latest[:2]
        assert last[2] > latest[0]


def test_directory_times_increase_strictly_however_fast_changes_come(place: Place, engine: str) -> None:
    """V9: a listing that is cached by its mtime must never be mistaken for the next one."""
    place.producer.set_ready(partition(), "r1", at=datetime.datetime(2200, 1, 1, tzinfo=datetime.UTC))
    with mounted(place, engine=engine) as daemon:
        times = [times_above(daemon)[2]]
        for day in range(10, 20):
            place.producer.set_ready(partition(date=f"2024-06-{day}"), "r1")
            daemon.refresh()
            times.append(times_above(daemon)[2])
        assert times == sorted(set(times))


def inodes(top: Path) -> dict[str, int]:
    found = {os.path.relpath(top, top): top.stat().st_ino}
    for directory, names, files in os.walk(top):
        for name in names + files:
            path = os.path.join(directory, name)
            found[os.path.relpath(path, top)] = os.stat(path).st_ino
    return found


def test_inode_numbers_survive_a_remount_and_stay_below_the_sign_bit(place: Place, engine: str) -> None:
    """V9: the same numbers after a restart, none twice, none that Java or SQLite read as negative."""
    for number in range(40):
        part = partition(
            customer=f"c{number % 4}", query=f"q{number % 3}", date=f"2024-{number // 20 + 1:02}-{number % 20 + 1:02}"
        )
        place.producer.write_and_publish(part, f"r{number % 7}", b"x")
    seen = []
    for _ in range(2):
        with mounted(place, engine=engine) as daemon:
            seen.append(inodes(daemon.path))
    assert seen[0] == seen[1]
    assert len(set(seen[0].values())) == len(seen[0]) > 100
    assert all(0 < inode < 2**63 for inode in seen[0].values())


def test_inode_number_differs_between_runs_and_not_between_mount_points(
    place: Place, engine: str, tmp_path: Path
) -> None:
    """V9: another run is another inode; another machine (here: another daemon and mount point) has the same."""
    part = partition()
    place.producer.write_and_publish(part, "r1", b"x")
    (tmp_path / "other").mkdir()
    other = Place(tmp_path / "other")
    other.producer.write_and_publish(part, "r1", b"x")
    with running(place, engine=engine) as daemon, running(other, engine=engine) as second:
        first = inodes(daemon.path)
        assert inodes(second.path) == first
        place.producer.write_and_publish(part, "r2", b"x")
        daemon.refresh()
        now = inodes(daemon.path)
        changed = {path for path in first if now[path] != first[path]}
        assert changed == {part.path, f"{part.path}/payload.jsonl", f"{part.path}/metadata.json"}
    other.producer.close()


def test_statfs_names_the_limits(place: Place, engine: str) -> None:
    """V9: df and find(1) get a block size and the longest name."""
    place.producer.write_and_publish(partition(), "r1", b"x")
    with mounted(place, engine=engine) as daemon:
        seen = os.statvfs(daemon.path)
        assert seen.f_namemax == 255
        assert seen.f_frsize > 0
        assert seen.f_flag & os.ST_RDONLY


def test_statfs_has_nothing_to_fill(place: Place, engine: str) -> None:
    """V9: df names no share in use, of bytes or of files, and nobody takes the mount for a full disk."""
    place.producer.write_and_publish(partition(), "r1", b"x")
    with mounted(place, engine=engine) as daemon:
        seen = os.statvfs(daemon.path)
        assert (seen.f_blocks, seen.f_bfree, seen.f_bavail) == (0, 0, 0)
        assert (seen.f_files, seen.f_ffree, seen.f_favail) == (0, 0, 0)
        assert shutil.disk_usage(daemon.path) == (0, 0, 0)
        for option in ("--block-size=1", "--inodes"):
            done = subprocess.run(["df", option, daemon.path], capture_output=True, text=True, timeout=30, check=True)
            _, line = done.stdout.splitlines()
            assert line.split()[1:] == ["0", "0", "0", "-", str(daemon.path)]


def test_placeholder_of_a_broken_file_is_whole_pages(place: Place, engine: str) -> None:
    """V10: a program that reads only the end of a file to know its size reads what fails."""
    part = partition()
    place.producer.set_ready(part, "lost")
    with mounted(place, engine=engine) as daemon:
        seen = daemon.of(part).stat()
        assert seen.st_size > 0
        assert seen.st_size % mmap.PAGESIZE == 0
        assert seen.st_blocks > 0
        done = subprocess.run(["wc", "-c", daemon.of(part)], capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 1
        assert "Input/output error" in done.stderr


def test_write_bit_of_the_owner_may_be_shown_and_permits_nothing(place: Place, engine: str) -> None:
    """V9: with --file-mode 0644 and --dir-mode 0755; access(2) and every change still say that it is read-only."""
    part = partition()
    place.producer.write_and_publish(part, "r1", b"x")
    with mounted(place, "--file-mode", "0644", "--dir-mode", "0755", engine=engine) as daemon:
        assert daemon.of(part).stat().st_mode == stat.S_IFREG | 0o644
        assert daemon.directory(part).stat().st_mode == stat.S_IFDIR | 0o755
        for path in (daemon.path, daemon.directory(part), daemon.of(part)):
            assert not os.access(path, os.W_OK)
        with fails_with(errno.EROFS):
            os.open(daemon.of(part), os.O_WRONLY)
        with fails_with(errno.EROFS):
            (daemon.directory(part) / "new").touch()


COPIES = {
    "rsync": "rsync -aHX {mount}/c1 {to}/ && rsync -aHX {mount}/c1 {to}/",
    "cp": "cp -r {mount}/c1 {to}/ && cp -r {mount}/c1 {to}/",
    "cp -a": "cp -a {mount}/c1 {to}/ && cp -a {mount}/c1 {to}/",
    "tar": "for i in 1 2; do tar -C {mount} -cf - c1 | tar -C {to} -xf - || exit 1; done",
}


@pytest.mark.parametrize("copies", COPIES.values(), ids=COPIES)
def test_ordinary_user_copies_twice_and_removes_a_copy_where_the_write_bit_is_shown(
    place: Place, engine: str, copies: str
) -> None:
    """V9: what a copy takes over are the modes, and without a write bit its owner can neither refresh nor remove it."""
    part = partition()
    place.producer.write_and_publish(part, "r1", b"x")
    with (
        tempfile.TemporaryDirectory() as to,
        mounted(place, "--file-mode", "0644", "--dir-mode", "0755", engine=engine) as daemon,
    ):
        os.chown(to, 65534, 65534)
        for path in (place.base, *place.base.parents[:-1]):
            path.chmod(path.stat().st_mode | 0o111)
        script = copies.format(mount=daemon.path, to=to)
        whole = f"umask 022; {{ {script}; }} && cat {to}/{part.path}/payload.jsonl && rm -r {to}/c1"
        done = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", whole],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            cwd="/",
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "x", "")
        assert os.listdir(to) == []


def test_relative_entries_lead_up_and_stay(place: Place, engine: str) -> None:
    """V9: `.` and `..` are listed with the numbers of the directories that they are."""
    part = partition()
    place.producer.write_and_publish(part, "r1", b"x")
    with mounted(place, engine=engine) as daemon:
        for path in (daemon.path / "c1", daemon.path / "c1/q1", daemon.directory(part)):
            assert (path / "..").stat().st_ino == path.parent.stat().st_ino
            assert (path / ".").stat().st_ino == path.stat().st_ino
