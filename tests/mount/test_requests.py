"""What reaches the daemon: counted, because timing would be noise."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.mount.daemon import ENGINES, Daemon, Place, mounted, partition

PAYLOAD = bytes(range(256)) * 4096


@pytest.fixture
def ready(place: Place) -> Place:
    for query in ("q1", "q2"):
        for day in range(1, 11):
            place.producer.write_and_publish(partition(query=query, date=f"2024-06-{day:02}"), "r1", PAYLOAD)
    return place


@contextmanager
def sends_no(daemon: Daemon, *operations: str) -> Iterator[None]:
    """Expect the body to send no request of these kinds."""
    before = {operation: daemon.requests(operation) for operation in operations}
    yield
    assert {operation: daemon.requests(operation) for operation in operations} == before


def walk_and_stat(top: Path) -> int:
    seen = 0
    for directory, names, files in os.walk(top):
        for name in (*names, *files):
            os.stat(os.path.join(directory, name))
            seen += 1
    return seen


def test_repeated_walk_asks_for_no_name_and_no_attributes(ready: Place, engine: str) -> None:
    """V3: within --name-timeout a second walk with stat sends no LOOKUP and no GETATTR."""
    with mounted(ready, engine=engine) as daemon:
        assert walk_and_stat(daemon.path) == 1 + 2 + 20 + 40
        with sends_no(daemon, "lookup", "getattr"):
            assert walk_and_stat(daemon.path) == 1 + 2 + 20 + 40


def test_second_read_of_a_file_asks_for_no_bytes(ready: Place, engine: str) -> None:
    """V5: pages are kept over opens, because an inode's bytes never change."""
    with mounted(ready, engine=engine) as daemon:
        assert daemon.of(partition()).read_bytes() == PAYLOAD
        assert daemon.requests("read") > 0
        with sends_no(daemon, "read", "lookup"):
            assert daemon.of(partition()).read_bytes() == PAYLOAD


def test_refresh_without_change_costs_the_kernel_nothing(ready: Place, engine: str) -> None:
    """V3: what did not change stays cached through refreshes, also those that changed something else."""
    with mounted(ready, engine=engine) as daemon:
        walk_and_stat(daemon.path)
        assert daemon.of(partition()).read_bytes() == PAYLOAD
        ready.producer.set_ready(partition(customer="c2"), "r1")
        daemon.refresh()
        assert (daemon.path / "c2").is_dir()  # the root changed, and its attributes are asked for once
        with sends_no(daemon, "lookup", "getattr", "read"):
            walk_and_stat(daemon.path / "c1/q1")
            assert daemon.of(partition()).read_bytes() == PAYLOAD


def test_probes_for_names_that_are_not_there_are_remembered(ready: Place, engine: str) -> None:
    """V3: below a sealed run an absent name is asked for once."""
    with mounted(ready, engine=engine) as daemon:
        assert not daemon.of(partition(), ".payload.jsonl.crc").exists()
        with sends_no(daemon, "lookup"):
            assert not daemon.of(partition(), ".payload.jsonl.crc").exists()


def test_long_listing_asks_for_attributes_once(ready: Place, engine: str) -> None:
    """V9: ls -l stops asking for ACLs and labels after the first answer."""
    with mounted(ready, engine=engine) as daemon:
        done = subprocess.run(["ls", "-lR", daemon.path], capture_output=True, timeout=30, check=True)
        assert done.stderr == b""
        assert done.stdout.count(b"payload.jsonl") == 20
        assert daemon.requests("getxattr") <= 2 * 2


FLAGS = [
    *("O_APPEND", "O_ASYNC", "O_CLOEXEC", "O_DIRECT", "O_DSYNC", "O_LARGEFILE", "O_NDELAY", "O_NOATIME", "O_NOCTTY"),
    *("O_NOFOLLOW", "O_NONBLOCK", "O_RSYNC", "O_SYNC", "O_CREAT", "O_PATH"),
]


@pytest.mark.parametrize("name", FLAGS)
def test_every_flag_of_a_reading_open_is_taken(flags_daemon: Daemon, name: str) -> None:
    """V8, V2: whatever a client asks for beside reading never reaches the raw file, and gives the right bytes."""
    flags = os.O_RDONLY | getattr(os, name)
    fd = os.open(flags_daemon.of(partition()), flags)
    try:
        if name != "O_PATH":
            assert os.pread(fd, 4096, 4096) == PAYLOAD[4096:8192]
    finally:
        os.close(fd)


@pytest.fixture(scope="module", params=ENGINES)
def flags_daemon(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    place = Place(tmp_path_factory.mktemp("flags"))
    place.producer.write_and_publish(partition(), "r1", PAYLOAD)
    with mounted(place, engine=request.param) as daemon:
        yield daemon
    place.producer.close()


def test_odd_reads_past_the_page_cache_harm_nobody(ready: Place, engine: str) -> None:
    """V2: O_DIRECT with odd sizes and offsets gives the right bytes or an error, and the daemon lives on."""
    with mounted(ready, engine=engine) as daemon:
        fd = os.open(daemon.of(partition()), os.O_RDONLY | os.O_DIRECT)
        try:
            for size in (1, 7, 511, 512, 513, 1000, 4095, 4096, 4097, 131_073, 3_000_000):
                for offset in (0, 1, 511, 512, 4097, len(PAYLOAD) - 3, len(PAYLOAD), len(PAYLOAD) + 1, 2**40):
                    assert os.pread(fd, size, offset) == PAYLOAD[offset : offset + size], (size, offset)
        finally:
            os.close(fd)
        blocks = ["dd", f"if={daemon.of(partition())}", "iflag=direct", "bs=1000", "status=none"]
        assert subprocess.run(blocks, capture_output=True, timeout=30, check=True).stdout == PAYLOAD


def test_calls_that_reach_no_handler_fail_cleanly(ready: Place, engine: str) -> None:
    """V8: ioctl, locks, leases, seeks to holes, syncs and hints do not end the daemon."""
    script = (
        "import fcntl,os,sys; fd=os.open(sys.argv[1],os.O_RDONLY);"
        "fcntl.flock(fd,fcntl.LOCK_SH); fcntl.lockf(fd,fcntl.LOCK_SH);"
        "os.fsync(fd); os.posix_fadvise(fd,0,0,os.POSIX_FADV_WILLNEED);"
        "assert os.lseek(fd,0,os.SEEK_DATA)==0; assert os.lseek(fd,0,os.SEEK_HOLE)==os.fstat(fd).st_size;"
        "assert not os.isatty(fd); assert os.fpathconf(fd,'PC_NAME_MAX')==255"
    )
    with mounted(ready, engine=engine) as daemon:
        subprocess.run(["python3", "-c", script, daemon.of(partition())], check=True, timeout=30)
        assert daemon.of(partition()).read_bytes() == PAYLOAD


def test_large_file_is_read_in_large_requests(place: Place, engine: str) -> None:
    """As root the kernel's readahead is raised: a megabyte a request instead of 128 KiB."""
    size = 16 << 20
    ready = partition()
    place.producer.write_and_publish(ready, "r1", bytes(size))
    with mounted(place, engine=engine) as daemon:
        assert daemon.of(ready).read_bytes() == bytes(size)
        assert daemon.requests("read") <= size // (512 << 10)
