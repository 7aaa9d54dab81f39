"""V5, V6: what a process holds stays what it was: open files, mappings, directories."""

from __future__ import annotations

import errno
import mmap
import os
from pathlib import Path

import pytest

from readyfs.fuse.mount_table import mounts_at
from tests.mount.daemon import Place, fails_with, in_each_layout, mounted, partition, running, wait_until

BIG = b"".join(b"old %07d\n" % line for line in range(200_000))


@in_each_layout
def test_open_file_keeps_its_run_over_switch_retraction_and_deletion(place: Place, engine: str) -> None:
    """V5: an open file gives the bytes of the run it was opened on, also those that were never read before."""
    part = partition()
    old = place.producer.write_and_publish(part, "r1", BIG)
    with mounted(place, engine=engine) as daemon, open(daemon.of(part), "rb", buffering=0) as file:
        seen = os.fstat(file.fileno())
        assert file.read(12) == b"old 0000000\n"

        place.producer.write_and_publish(part, "r2", b"new\n")
        daemon.refresh()
        assert daemon.of(part).read_bytes() == b"new\n"
        assert os.pread(file.fileno(), 12, 12 * 50_000) == b"old 0050000\n"

        place.producer.fail(part)
        daemon.refresh()
        assert not daemon.of(part).exists()
        assert os.pread(file.fileno(), 12, 12 * 100_000) == b"old 0100000\n"

        if not daemon.traits.kernel_opens:
            place.producer.delete_run(old)
            daemon.refresh()
        assert os.pread(file.fileno(), len(BIG), 0) == BIG
        now = os.fstat(file.fileno())
        assert (now.st_ino, now.st_size, now.st_mtime_ns) == (seen.st_ino, seen.st_size, seen.st_mtime_ns)


def test_mapping_keeps_its_run_after_its_descriptor_is_closed(place: Place, engine: str) -> None:
    """V5: mapped pages come from the old run, whenever they are first touched."""
    part = partition()
    old = place.producer.write_and_publish(part, "r1", BIG)
    with mounted(place, engine=engine) as daemon:
        with open(daemon.of(part), "rb", buffering=0) as file:
            mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        with mapped:
            assert mapped[:12] == b"old 0000000\n"
            if daemon.traits.kernel_opens:
                assert mapped[:] == BIG
            place.producer.write_and_publish(part, "r2", b"new\n" * 500_000)
            daemon.refresh()
            place.producer.delete_run(old)
            assert daemon.of(part).read_bytes() == b"new\n" * 500_000
            assert mapped[:] == BIG


def test_deleted_run_fails_new_opens_and_not_the_open_file(place: Place, engine: str) -> None:
    """V5, V10: raw deletion is met by those who open afterwards, loudly."""
    part = partition()
    run = place.producer.write_and_publish(part, "r1", BIG)
    with mounted(place, engine=engine) as daemon, open(daemon.of(part), "rb", buffering=0) as file:
        place.producer.delete_run(run)
        with fails_with(errno.EIO):
            daemon.of(part).read_bytes()
        if daemon.traits.kernel_opens:
            with fails_with(errno.EIO):
                os.pread(file.fileno(), 12, 12 * 150_000)
        else:
            assert os.pread(file.fileno(), 12, 12 * 150_000) == b"old 0150000\n"


def test_what_was_read_outlives_the_raw_run_where_the_kernel_opens(place: Place) -> None:
    """V5: pages stay for who has the file open and for who opens it; the rest is an error, never other bytes."""
    part = partition()
    old = place.producer.write_and_publish(part, "r1", BIG)
    with mounted(place, engine="cached") as daemon, open(daemon.of(part), "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)  # or the kernel reads ahead as far as it likes
        assert os.pread(file.fileno(), 12, 12 * 100_000) == b"old 0100000\n"
        wait_until(lambda: not daemon.held_raw_files(), "the daemon let go of the raw file")
        place.producer.delete_run(old)
        assert os.pread(file.fileno(), 12, 12 * 100_000) == b"old 0100000\n"
        with fails_with(errno.EIO):
            os.pread(file.fileno(), 12, 0)
        with open(daemon.of(part), "rb", buffering=0) as again, fails_with(errno.EIO):
            again.read(12)
        place.producer.write_and_publish(part, "r2", BIG.upper())
        daemon.refresh()
        assert daemon.of(part).read_bytes() == BIG.upper()
        assert os.pread(file.fileno(), 12, 12 * 100_000) == b"old 0100000\n"
        with fails_with(errno.EIO):
            os.pread(file.fileno(), 12, 0)


def test_open_file_is_served_after_a_lazy_unmount_until_it_is_closed(place: Place, engine: str) -> None:
    """V5: a daemon told to stop goes on for open files, and ends with the last of them."""
    part = partition()
    place.producer.write_and_publish(part, "r1", BIG)
    with running(place, engine=engine) as daemon:
        with open(daemon.of(part), "rb", buffering=0) as file:
            assert file.read(12) == b"old 0000000\n"
            daemon.process.terminate()
            wait_until(lambda: not mounts_at(daemon.path), "the mount is detached")
            assert os.listdir(daemon.path) == []
            assert os.pread(file.fileno(), len(BIG), 0) == BIG
            assert daemon.process.poll() is None
        assert daemon.wait_ended() == 0
        assert "unexpectedly" not in daemon.log_text()


def test_drain_ends_after_its_time(place: Place, engine: str) -> None:
    """V5: files that stay open longer than --drain fail unless the kernel reads them, and never give other bytes."""
    part = partition()
    place.producer.write_and_publish(part, "r1", BIG)
    with running(place, "--drain", "500ms", engine=engine) as daemon:
        held = os.open(daemon.of(part), os.O_RDONLY)
        try:
            assert os.read(held, 12) == b"old 0000000\n"
            assert daemon.stop() == 0
            if daemon.traits.kernel_reads:
                assert os.pread(held, 12, len(BIG) - 12) == BIG[-12:]
            else:
                with fails_with(errno.ENOTCONN, errno.ECONNABORTED):
                    os.pread(held, 12, len(BIG) - 12)
        finally:
            with fails_with(errno.ENOTCONN):  # nobody is there to take the FLUSH
                os.close(held)
        assert daemon.events("drain is over, files that are still open will fail")
        assert not mounts_at(daemon.path)


@in_each_layout
def test_directory_descriptor_keeps_payload_and_metadata_of_one_run(place: Place, engine: str) -> None:
    """V6: through a held date directory the files of one run open together, whatever was current since."""
    part = partition()
    old = place.producer.write_and_publish(part, "r1", b"old\n")
    with mounted(place, engine=engine) as daemon:
        held = os.open(daemon.directory(part), os.O_RDONLY | os.O_DIRECTORY)
        try:
            place.producer.write_and_publish(part, "r2", b"new\n")
            daemon.refresh()
            assert daemon.of(part).read_bytes() == b"new\n"
            assert read_at(held, "payload.jsonl") == b"old\n"
            assert read_at(held, "metadata.json") == (old.directory / "metadata.json").read_bytes()
            assert sorted(os.listdir(held)) == ["metadata.json", "payload.jsonl"]

            place.producer.delete_row(part)
            daemon.refresh()
            assert read_at(held, "payload.jsonl") == b"old\n"
            assert os.stat("payload.jsonl", dir_fd=held).st_size == 4
        finally:
            os.close(held)


def test_working_directory_keeps_its_run_and_loses_its_name(
    place: Place, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """V6: a process that stands in a date directory stays there; getcwd fails as in a deleted directory."""
    part = partition()
    old = place.producer.write_and_publish(part, "r1", b"old\n")
    with mounted(place, engine=engine) as daemon, monkeypatch.context() as patch:
        patch.chdir(daemon.directory(part))
        place.producer.write_and_publish(part, "r2", b"new\n")
        daemon.refresh()
        assert Path("payload.jsonl").read_bytes() == b"old\n"
        assert Path("metadata.json").read_bytes() == (old.directory / "metadata.json").read_bytes()
        assert sorted(os.listdir(".")) == ["metadata.json", "payload.jsonl"]
        assert Path("..", part.logical_date, "payload.jsonl").read_bytes() == b"new\n"
        with fails_with(errno.ENOENT):
            os.getcwd()


def test_working_directory_above_keeps_its_name(place: Place, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """V6: only the date directory is replaced by a switch; whoever stands above it sees what comes."""
    part = partition()
    place.producer.write_and_publish(part, "r1", b"old\n")
    with mounted(place, engine=engine) as daemon, monkeypatch.context() as patch:
        patch.chdir(daemon.path / "c1/q1")
        assert Path("2024-06-01/payload.jsonl").read_bytes() == b"old\n"
        place.producer.write_and_publish(part, "r2", b"new\n")
        place.producer.write_and_publish(partition(date="2024-06-02"), "r2", b"next\n")
        daemon.refresh()
        assert Path("2024-06-01/payload.jsonl").read_bytes() == b"new\n"
        assert Path("2024-06-02/payload.jsonl").read_bytes() == b"next\n"
        assert os.getcwd() == str(daemon.path / "c1/q1")


def test_held_customer_directory_lists_empty_then_what_comes(place: Place, engine: str) -> None:
    """V6: a directory that lost its last partition is empty to its holder, and fills again."""
    part, other = partition(), partition(query="q2", date="2024-07-01")
    place.producer.write_and_publish(part, "r1", b"x\n")
    with mounted(place, engine=engine) as daemon:
        customer = os.open(daemon.path / "c1", os.O_RDONLY | os.O_DIRECTORY)
        query = os.open(daemon.path / "c1/q1", os.O_RDONLY | os.O_DIRECTORY)
        try:
            assert os.listdir(customer) == ["q1"]
            assert os.listdir(query) == ["2024-06-01"]
            place.producer.delete_row(part)
            daemon.refresh()
            assert os.listdir(customer) == os.listdir(query) == []
            with fails_with(errno.ENOENT):
                os.stat("q1", dir_fd=customer)
            assert not (daemon.path / "c1").exists()

            place.producer.write_and_publish(other, "r1", b"came\n")
            daemon.refresh()
            assert os.listdir(customer) == ["q2"]
            assert read_at(customer, "q2/2024-07-01/payload.jsonl") == b"came\n"
            assert os.listdir(query) == []

            place.producer.set_ready(part, "r1")
            daemon.refresh()
            assert os.listdir(query) == ["2024-06-01"]
            assert daemon.of(part).read_bytes() == b"x\n"
        finally:
            os.close(customer)
            os.close(query)


def read_at(directory: int, path: str) -> bytes:
    with open(os.open(path, os.O_RDONLY, dir_fd=directory), "rb") as file:
        return file.read()
