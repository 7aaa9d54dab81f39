"""--file-times published: the times of files are those of their partition's row (V9)."""

from __future__ import annotations

import datetime
import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.mount.daemon import Daemon, Place, mounted, partition

PUBLISHED = ("--file-times", "published", "--name-timeout", "1h")
RAW_NS = 1_717_290_000_123_456_789


def at(hour: int) -> datetime.datetime:
    return datetime.datetime(2024, 6, 2, hour, tzinfo=datetime.UTC)


def ns(hour: int) -> int:
    return int(at(hour).timestamp()) * 1_000_000_000


def write(place: Place, run_id: str, payload: bytes, hour: int) -> None:
    """Write a run with a directory in it, all of the same old time, and make it the current one."""
    run = place.producer.write_run(partition(), run_id, payload)
    (run.directory / "sub/deep").mkdir(parents=True)
    (run.directory / "sub/deep/file").write_bytes(payload)
    for path in (*run.directory.rglob("*"), run.directory):
        os.utime(path, ns=(RAW_NS, RAW_NS))
    place.producer.publish(run, at=at(hour))


def below(daemon: Daemon) -> list[Path]:
    """Return the date directory and everything below it."""
    top = daemon.directory(partition())
    return [top, *(top / path for path in ("payload.jsonl", "metadata.json", "sub", "sub/deep", "sub/deep/file"))]


def test_every_time_is_that_of_the_row_and_moves_with_a_switch(place: Place, engine: str) -> None:
    """V9: two runs of equal size and time are told apart by stat alone."""
    write(place, "r1", b"old\n", 5)
    with mounted(place, *PUBLISHED, engine=engine) as daemon:
        before = [path.stat() for path in below(daemon)]
        assert {one for seen in before for one in (seen.st_mtime_ns, seen.st_ctime_ns, seen.st_atime_ns)} == {ns(5)}
        write(place, "r2", b"new\n", 6)
        daemon.refresh()
        after = [path.stat() for path in below(daemon)]
        assert {one for seen in after for one in (seen.st_mtime_ns, seen.st_ctime_ns, seen.st_atime_ns)} == {ns(6)}
        assert daemon.of(partition()).read_bytes() == b"new\n"


def test_touched_row_gives_new_files_and_open_ones_stay_as_they_were(place: Place, engine: str) -> None:
    """V5, V9: another time is another number, because the kernel keeps the attributes of sealed files for ever."""
    write(place, "r1", b"bytes\n", 5)
    with mounted(place, *PUBLISHED, engine=engine) as daemon:
        file = daemon.of(partition())
        directory, *before = [path.stat() for path in below(daemon)]
        os.listdir(daemon.directory(partition()))
        held_directory = os.open(daemon.directory(partition()), os.O_RDONLY)
        with open(file, "rb") as held:
            assert held.read() == b"bytes\n"
            place.change("UPDATE partition_state SET updated_at = ?", at(7).isoformat())
            assert daemon.refresh()["touched"] == 1
            now, *after = [path.stat() for path in below(daemon)]
            assert now.st_ino == directory.st_ino
            assert {seen.st_mtime_ns for seen in (now, *after)} == {ns(7)}
            for was, seen in zip(before, after, strict=True):
                assert (was.st_ino == seen.st_ino) == stat.S_ISDIR(seen.st_mode), "a directory is what its holders hold"
            assert os.fstat(held.fileno()).st_mtime_ns == ns(5)
            assert os.fstat(held.fileno()).st_ino == before[0].st_ino
            assert os.pread(held.fileno(), 100, 0) == b"bytes\n"
            assert os.stat("payload.jsonl", dir_fd=held_directory).st_mtime_ns == ns(7)
            listed = {entry.name: entry.inode() for entry in os.scandir(daemon.directory(partition()))}
            assert listed == {name: (daemon.directory(partition()) / name).stat().st_ino for name in listed}
        os.close(held_directory)
        assert file.read_bytes() == b"bytes\n"


def test_numbers_are_the_same_after_a_remount(place: Place, engine: str) -> None:
    """V9."""
    write(place, "r1", b"bytes\n", 5)
    seen = []
    for _ in range(2):
        with mounted(place, *PUBLISHED, engine=engine) as daemon:
            seen.append([path.stat().st_ino for path in below(daemon)])
    assert seen[0] == seen[1]


def test_row_without_a_time_leaves_the_raw_files_theirs(place: Place, engine: str) -> None:
    """V9: midnight of the date would be the same for every run."""
    write(place, "r1", b"bytes\n", 5)
    place.change("CREATE TABLE untimed AS SELECT * FROM partition_state")  # which leaves out the constraints
    place.change("UPDATE untimed SET updated_at = NULL")
    with mounted(place, *PUBLISHED, "--state-table", "untimed", engine=engine) as daemon:
        directory, *others = [path.stat().st_mtime_ns for path in below(daemon)]
        assert directory == int(datetime.datetime(2024, 6, 1, tzinfo=datetime.UTC).timestamp()) * 1_000_000_000
        assert set(others) == {RAW_NS}
        place.change("UPDATE untimed SET updated_at = ?", at(8).isoformat())
        daemon.refresh()
        assert {path.stat().st_mtime_ns for path in below(daemon)} == {ns(8)}


def test_fingerprint_says_which_times_are_shown(place: Place, engine: str) -> None:
    """V9: the same fingerprint means the same answers."""
    write(place, "r1", b"bytes\n", 5)
    seen = set()
    for arguments in ((), ("--file-times", "raw"), ("--file-times", "published")):
        with mounted(place, *arguments, engine=engine) as daemon:
            seen.add(daemon.status()["fingerprint"])
    assert len(seen) == 2


@pytest.mark.parametrize("times", ["raw", "published"])
def test_rsync_sees_a_switch_to_a_run_of_equal_size_and_time(place: Place, engine: str, times: str) -> None:
    """V9: by size and second of mtime rsync tells nothing with the raw times, and all with the published ones."""
    write(place, "r1", b"old\n", 5)
    copy = place.base / "copy"
    with mounted(place, "--file-times", times, engine=engine) as daemon:
        for run_id, payload, hour in (("r2", b"new\n", 6), ("r3", b"NEW\n", 7)):
            subprocess.run(["rsync", "-rt", f"{daemon.path}/c1", copy], timeout=30, check=True)
            write(place, run_id, payload, hour)
            daemon.refresh()
        subprocess.run(["rsync", "-rt", f"{daemon.path}/c1", copy], timeout=30, check=True)
        kept = (copy / partition().path / "payload.jsonl").read_bytes()
        assert kept == (b"NEW\n" if times == "published" else b"old\n")


def test_file_written_again_deep_in_a_run_is_seen_although_the_time_of_its_row_stays(place: Place, engine: str) -> None:
    """V9: a touch that leaves `updated_at` leaves the numbers of directories, so each of them is asked again."""
    write(place, "r1", b"bytes\n", 5)
    with mounted(place, *PUBLISHED, engine=engine) as daemon:
        deep = below(daemon)[-1]
        assert deep.read_bytes() == b"bytes\n"
        raw = next(place.raw.rglob("sub/deep/file"))
        raw.unlink()
        raw.write_bytes(b"other bytes\n")
        place.change("UPDATE partition_state SET record_count = 9")
        daemon.refresh()
        assert deep.read_bytes() == b"other bytes\n"
        assert deep.stat().st_mtime_ns == ns(5)
