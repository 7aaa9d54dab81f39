"""V23: the bytes of a small file come with its first open, and are those that were sealed whatever happens."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import signal
import struct
import subprocess
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from readyfs.demo.producer import LogicalPartition
from readyfs.errors import ExitCode
from readyfs.fuse.direct.page_cache import PUSHED_BELOW_BYTES
from tests.mount.daemon import Daemon, Place, fails_with, mounted, partition, running, wait_until
from tests.mount.forgetting import drop_names
from tests.mount.held_reads import HeldReads, held_reads
from tests.mount.memory_limit import memory_limit

PAGE: Final = mmap.PAGESIZE
OLD: Final = b"old line\n" * 500
_SYS_CACHESTAT: Final = 451
"""The number of cachestat(2) on every architecture; Linux 6.5."""
_libc: Final = ctypes.CDLL(None, use_errno=True)


def cached_pages(file: int) -> int:
    """Return how many pages of an open file the kernel keeps."""
    seen = ctypes.create_string_buffer(40)
    if _libc.syscall(_SYS_CACHESTAT, file, struct.pack("=QQ", 0, 0), seen, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(struct.unpack_from("=Q", seen)[0])


def drop_pages(file: int) -> None:
    """Have the kernel drop what it keeps of an open file."""
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    assert cached_pages(file) == 0


@pytest.fixture(params=["native", "python"])
def loop(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The setting of a loop: both push, each in its own code."""
    return "--engine-loop", str(request.param)


def publish(place: Place, count: int = 1, payload: bytes = OLD) -> list[LogicalPartition]:
    parts = [partition(date=f"2024-06-{day:02}") for day in range(1, count + 1)]
    for part in parts:
        place.producer.write_and_publish(part, "r1", payload)
    return parts


def raw_payload(place: Place, part: LogicalPartition, run_id: str = "r1") -> Path:
    return place.producer.run_directory(part, run_id) / "payload.jsonl"


def pushed(daemon: Daemon) -> tuple[int, int]:
    """Return how many files were pushed, and their bytes."""
    return daemon.count("pushed_files"), daemon.count("pushed_bytes")


def open_on_a_thread(path: Path) -> Future[bytes]:
    """Open and read a file on a thread of its own."""
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(path.read_bytes)
    finally:
        pool.shutdown(wait=False)


# ---- what is pushed ---------------------------------------------------------------------------------------------


SIZES: Final = (1, PAGE - 1, PAGE, PAGE + 1, PUSHED_BELOW_BYTES - 1)


def test_small_file_is_whole_in_the_page_cache_once_it_is_opened(place: Place, loop: tuple[str, str]) -> None:
    payloads = {partition(query=f"q{size}"): os.urandom(size - 1) + b"\n" for size in SIZES}
    for part, payload in payloads.items():
        place.producer.write_and_publish(part, "r1", payload)
    with mounted(place, *loop, engine="opened") as daemon:
        for part, payload in payloads.items():
            size = len(payload)
            with open(daemon.of(part), "rb", buffering=0) as file:
                assert cached_pages(file.fileno()) == -(-size // PAGE)
                assert os.fstat(file.fileno()).st_size == size
                assert file.read(size + 1) == payload
                with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
                    assert mapped[:] == payload
            assert daemon.of(part).read_bytes() == payload, "and the second open finds it there"
        assert daemon.requests("read") == 0
        assert daemon.requests("open") == 2 * len(SIZES)
        assert pushed(daemon) == (len(SIZES), sum(SIZES)), "with the first open alone"


@pytest.mark.parametrize("engine", ["opened", "passthrough", "cached", "pyfuse3"])
def test_nothing_is_pushed_of_what_is_empty_or_large_or_read_in_another_way(place: Place, engine: str) -> None:
    sizes = {partition(query=f"q{size}"): size for size in (0, 10, PUSHED_BELOW_BYTES)}
    for part, size in sizes.items():
        place.producer.write_and_publish(part, "r1", bytes(size))
    with mounted(place, engine=engine) as daemon:
        for part, size in sizes.items():
            assert daemon.of(part).read_bytes() == bytes(size)
        assert pushed(daemon) == ((1, 10) if engine == "opened" else (0, 0))
        assert daemon.status()["pushes_refused"] == {}


def test_without_push_the_kernel_asks_for_what_is_read(place: Place, loop: tuple[str, str]) -> None:
    (part,) = publish(place)
    with mounted(place, "--no-push", *loop, engine="opened") as daemon:
        with open(daemon.of(part), "rb", buffering=0) as file:
            assert cached_pages(file.fileno()) == 0
            assert file.read() == OLD
        assert daemon.requests("read") > 0
        assert pushed(daemon) == (0, 0)


def test_what_the_kernel_dropped_it_asks_for(place: Place, loop: tuple[str, str]) -> None:
    (part,) = publish(place)
    with mounted(place, *loop, engine="opened") as daemon:
        with open(daemon.of(part), "rb", buffering=0) as file:
            drop_pages(file.fileno())
            assert file.read() == OLD
            reads = daemon.requests("read")
            assert reads > 0
            drop_pages(file.fileno())
        assert daemon.of(part).read_bytes() == OLD
        assert daemon.requests("read") > reads
        assert pushed(daemon) == (1, len(OLD)), "it is pushed with the first open alone"


def test_file_that_the_kernel_forgot_is_pushed_again(place: Place) -> None:
    (part,) = publish(place)
    with mounted(place, engine="opened") as daemon:
        assert daemon.of(part).read_bytes() == OLD
        wait_until(lambda: daemon.count("open_handles") == 0, "the kernel has closed it")

        def is_forgotten() -> bool:
            drop_names(daemon.path)
            return daemon.count("inodes") == 1

        wait_until(is_forgotten, "the kernel has forgotten it")
        assert daemon.of(part).read_bytes() == OLD
        assert daemon.requests("read") == 0
        assert pushed(daemon) == (2, 2 * len(OLD))


# ---- while it is pushed -----------------------------------------------------------------------------------------


def test_files_that_many_open_at_once_are_right_for_all(place: Place, loop: tuple[str, str]) -> None:
    """Two that open the same file at once both push it, and neither waits for a read that nobody can answer."""
    parts = publish(place, 24)
    with mounted(place, *loop, engine="opened") as daemon:
        paths = [daemon.of(part) for part in parts]
        together = threading.Barrier(8)

        def read_all() -> list[bytes]:
            found = []
            for path in paths:
                together.wait(20)
                found.append(path.read_bytes())
            return found

        with ThreadPoolExecutor(8) as pool:
            found = [future.result(60) for future in [pool.submit(read_all) for _ in range(8)]]
        assert found == [[OLD] * 24] * 8
        files, _ = pushed(daemon)
        assert files >= 24
        assert daemon.status()["pushes_refused"] == {}


def test_file_that_cannot_be_read_fails_at_open_and_its_run_is_broken(place: Place, loop: tuple[str, str]) -> None:
    """V10: where an open fails nearly every program fails; a failed read many take for the end of the file."""
    (part,) = publish(place)
    with mounted(place, *loop, engine="opened") as daemon:
        assert daemon.of(part).stat().st_size == len(OLD)
        with held_reads(raw_payload(place, part)) as reads:
            opened = open_on_a_thread(daemon.of(part))
            reads.deny_until(opened.done)
        with fails_with(errno.EIO):
            opened.result()
        assert daemon.count("broken") == 1
        assert pushed(daemon) == (0, 0)
        assert daemon.of(part).read_bytes() == OLD, "it heals: it can be read again"
        assert daemon.count("broken") == 0


def test_file_that_is_written_while_it_is_read_is_damage_and_not_pushed(place: Place, loop: tuple[str, str]) -> None:
    """It is compared with what was sealed before it is read, and once more afterwards."""
    parts = dict(zip(publish(place, 3), (len(OLD), len(OLD) + 9, 9), strict=True))
    with mounted(place, *loop, engine="opened") as daemon:
        for part, size in parts.items():
            raw = raw_payload(place, part)
            assert daemon.of(part).stat().st_size == len(OLD)
            with held_reads(raw) as reads:
                opened = open_on_a_thread(daemon.of(part))
                answer = reads.wait()
                raw.write_bytes(b"!" * size)
                answer(True)
            with fails_with(errno.EIO):
                opened.result(20)
        assert pushed(daemon) == (0, 0)


def switch(place: Place, part: LogicalPartition) -> None:
    place.producer.write_and_publish(part, "r2", b"new\n")


def retract(place: Place, part: LogicalPartition) -> None:
    place.producer.delete_row(part)


def touch(place: Place, part: LogicalPartition) -> None:
    place.producer.set_ready(part, "r1")  # the run may have been written again


def test_whoever_opened_a_file_before_the_state_changed_reads_the_run_of_before(
    place: Place, loop: tuple[str, str]
) -> None:
    """V5: also if the bytes are pushed only afterwards. Each path shows what the state says."""
    changes = dict(zip(publish(place, 3), (switch, retract, touch), strict=True))
    with mounted(place, *loop, engine="opened") as daemon:
        for part, change in changes.items():
            assert daemon.of(part).stat().st_size == len(OLD)
            with held_reads(raw_payload(place, part)) as reads:
                opened = open_on_a_thread(daemon.of(part))
                answer = reads.wait()
                change(place, part)
                daemon.refresh()
                answer(True)
                reads.allow_until(opened.done)
                assert opened.result() == OLD
        switched, retracted, touched = changes
        assert daemon.of(switched).read_bytes() == b"new\n"
        assert not daemon.of(retracted).exists()
        assert daemon.of(touched).read_bytes() == OLD


def test_run_that_is_written_again_shows_the_new_bytes_under_the_new_row(place: Place) -> None:
    """The pages of before stay those of the inode of before."""
    (part,) = publish(place)
    with mounted(place, engine="opened") as daemon, open(daemon.of(part), "rb", buffering=0) as held:
        drop_pages(held.fileno())
        raw = raw_payload(place, part)
        fresh = raw.with_name("fresh")
        fresh.write_bytes(OLD.swapcase())
        os.utime(fresh, ns=(raw.stat().st_mtime_ns, raw.stat().st_mtime_ns))
        fresh.rename(raw)
        place.producer.set_ready(part, "r1")
        daemon.refresh()
        with open(daemon.of(part), "rb", buffering=0) as file:
            assert os.fstat(file.fileno()).st_ino != os.fstat(held.fileno()).st_ino
            assert file.read() == OLD.swapcase()
        assert held.read() == OLD


def test_damage_after_a_push_is_loud_at_open_and_who_has_mapped_it_keeps_the_bytes(place: Place) -> None:
    (part,) = publish(place)
    with (
        mounted(place, engine="opened") as daemon,
        open(daemon.of(part), "rb", buffering=0) as held,
        mmap.mmap(held.fileno(), 0, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE, prot=mmap.PROT_READ) as mapped,
    ):
        os.truncate(raw_payload(place, part), 3)
        daemon.assert_refused(daemon.of(part))
        assert mapped[:] == OLD
        assert daemon.count("broken") == 1


# ---- a raw store that hangs -------------------------------------------------------------------------------------


def hung_open(daemon: Daemon, part: LogicalPartition, reads: HeldReads) -> Future[bytes]:
    opened = open_on_a_thread(daemon.of(part))
    reads.wait()
    return opened


def test_raw_store_that_hangs_in_a_push_fails_its_opener_in_time_and_nobody_else(
    place: Place, loop: tuple[str, str]
) -> None:
    stuck, other = publish(place, 2)
    with mounted(place, "--raw-timeout", "1s", *loop, engine="opened") as daemon:
        assert daemon.of(stuck).stat().st_size == len(OLD)
        with held_reads(raw_payload(place, stuck)) as reads:
            opened = hung_open(daemon, stuck, reads)
            assert daemon.of(other).read_bytes() == OLD
            with fails_with(errno.EIO):
                opened.result(20)
        wait_until(lambda: daemon.count("open_handles") == 0, "what came late was closed")
        assert daemon.of(stuck).read_bytes() == OLD


@pytest.mark.long
def test_stop_while_a_push_hangs_ends_the_daemon(place: Place) -> None:
    (part,) = publish(place)
    with running(place, engine="opened") as daemon:
        assert daemon.of(part).stat().st_size == len(OLD)
        with held_reads(raw_payload(place, part)) as reads:
            opened = hung_open(daemon, part, reads)
            daemon.process.send_signal(signal.SIGTERM)
            with pytest.raises(OSError):
                opened.result(20)
        assert daemon.wait_ended() == ExitCode.STUCK


def test_opener_that_is_killed_during_a_push_dies_at_once(place: Place) -> None:
    (part,) = publish(place)
    with mounted(place, engine="opened") as daemon:
        assert daemon.of(part).stat().st_size == len(OLD)
        with held_reads(raw_payload(place, part)) as reads:
            with subprocess.Popen(["cat", daemon.of(part)], stdout=subprocess.DEVNULL) as reader:
                answer = reads.wait()
                reader.kill()
                assert reader.wait(10) == -signal.SIGKILL
            answer(True)
        wait_until(lambda: daemon.count("open_handles") == 0, "what nobody received was closed")
        assert daemon.of(part).read_bytes() == OLD


# ---- memory -----------------------------------------------------------------------------------------------------


def test_pages_are_charged_to_the_daemon_and_a_limit_does_not_end_it(place: Place) -> None:
    """The kernel drops pages of before to make room, as it does of any file that is read."""
    payload = os.urandom(PUSHED_BELOW_BYTES - PAGE)
    parts = [partition(query=f"q{number}") for number in range(250)]
    with place.producer.one_transaction():
        for part in parts:
            place.producer.write_and_publish(part, "r1", payload)
    with mounted(place, engine="opened") as daemon, memory_limit(daemon.pid, 8 << 20) as limit:
        for part in parts:
            assert daemon.of(part).read_bytes() == payload
        assert pushed(daemon) == (250, 250 * len(payload))
        assert limit.most_bytes() > 4 << 20, "they are charged to the daemon"
        assert limit.kills() == 0
        for part in parts:
            assert daemon.of(part).read_bytes() == payload
