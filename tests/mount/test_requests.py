"""What reaches the daemon: counted, because timing would be noise. Round trips are what a reader pays for."""

from __future__ import annotations

import mmap
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.mount.daemon import ENGINES, Daemon, Place, mounted, partition, wait_until

PAYLOAD = bytes(range(256)) * 4096


@pytest.fixture
def ready(place: Place) -> Place:
    for query in ("q1", "q2"):
        for day in range(1, 11):
            place.producer.write_and_publish(partition(query=query, date=f"2024-06-{day:02}"), "r1", PAYLOAD)
    return place


@contextmanager
def sends(daemon: Daemon, **expected: int) -> Iterator[None]:
    """Expect the body to send exactly these requests, some of them after the call that caused them."""

    def sent() -> Counter[str]:
        requests = daemon.status()["requests"]
        assert isinstance(requests, dict)
        return Counter(requests)

    if not daemon.traits.kernel_opens:
        # The kernel sends a file's RELEASE after close(2) has returned.
        wait_until(lambda: daemon.count("open_handles") == 0, "what was closed before is released")
    before = sent()
    yield
    wait_until(lambda: (sent() - before).total() >= sum(expected.values()), "the requests were sent")
    assert sent() - before == Counter(expected)


def read(path: Path) -> bytes:
    """Return a file's bytes with no call but open, read and close."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return b"".join(iter(lambda: os.read(fd, 1 << 20), b""))
    finally:
        os.close(fd)


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


def test_walk_asks_for_no_name_and_no_attributes_and_a_kept_listing_for_nothing(ready: Place, engine: str) -> None:
    """V3: a walk with stat costs two READDIRPLUS for each directory; within --name-timeout a second one no more."""
    directories = 1 + 1 + 2 + 20
    with mounted(ready, engine=engine) as daemon:
        if daemon.traits.kernel_lists:
            with sends(daemon, getattr=1, readdir=2 * directories, unsupported=1):  # one OPENDIR, for good
                assert walk_and_stat(daemon.path) == 1 + 2 + 20 + 40
            with sends(daemon):
                assert walk_and_stat(daemon.path) == 1 + 2 + 20 + 40
        else:
            passes = {"opendir": directories, "readdir": 2 * directories, "releasedir": directories}
            with sends(daemon, getattr=1, **passes):
                assert walk_and_stat(daemon.path) == 1 + 2 + 20 + 40
            with sends(daemon, **passes):
                assert walk_and_stat(daemon.path) == 1 + 2 + 20 + 40


def test_second_read_of_a_file_asks_for_no_bytes(ready: Place, engine: str) -> None:
    """V5: pages are kept over opens, because an inode's bytes never change; the kernel reads and opens what it can."""
    with mounted(ready, engine=engine) as daemon:
        assert walk_and_stat(daemon.path)
        first, other = daemon.of(partition()), daemon.of(partition(date="2024-06-02"))
        assert read(first) == PAYLOAD  # after this the kernel knows which requests are unsupported
        if not daemon.traits.kernel_reads:
            # A request is counted once it is answered, when whoever sent it may be further already.
            wait_until(lambda: daemon.requests("read") > 0, "the first read was counted")
        opened = {} if daemon.traits.kernel_opens else {"open": 1, "release": 1}
        with sends(daemon, **opened):
            assert read(first) == PAYLOAD
        with sends(daemon, **opened, **({} if daemon.traits.kernel_reads else {"read": 1})):
            assert read(other) == PAYLOAD
        with sends(daemon, **opened):
            assert read(other) == PAYLOAD


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
    """V8, V2: whatever a client asks for beside reading changes no raw file, and gives the right bytes."""
    flags = os.O_RDONLY | getattr(os, name)
    fd = os.open(flags_daemon.of(partition()), flags)
    try:
        if name != "O_PATH":
            with mmap.mmap(-1, 4096) as page:  # aligned, as the raw file system may want it for O_DIRECT
                assert os.preadv(fd, [page], 4096) == 4096
                assert page[:] == PAYLOAD[4096:8192]
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
    """V2: O_DIRECT with odd sizes and offsets gives the right bytes, or what the raw file gives; no harm is done."""
    raw = ready.producer.run_directory(partition(), "r1") / "payload.jsonl"
    with mounted(ready, engine=engine) as daemon:
        fd, raw_fd = (os.open(path, os.O_RDONLY | os.O_DIRECT) for path in (daemon.of(partition()), raw))
        try:
            for size in (1, 7, 511, 512, 513, 1000, 4095, 4096, 4097, 131_073, 3_000_000):
                for offset in (0, 1, 511, 512, 4097, len(PAYLOAD) - 3, len(PAYLOAD), len(PAYLOAD) + 1, 2**40):
                    expected: bytes | int = PAYLOAD[offset : offset + size]
                    if daemon.traits.kernel_reads:
                        expected = attempt_read(raw_fd, size, offset)
                    assert attempt_read(fd, size, offset) == expected, (size, offset)
        finally:
            os.close(fd)
            os.close(raw_fd)
        blocks = [
            ["dd", f"if={path}", "iflag=direct", "bs=1000", "status=none"] for path in (daemon.of(partition()), raw)
        ]
        done, raw_done = (subprocess.run(one, capture_output=True, timeout=30, check=False) for one in blocks)
        assert done.stdout == (raw_done.stdout if daemon.traits.kernel_reads else PAYLOAD)


def attempt_read(fd: int, size: int, offset: int) -> bytes | int:
    """Return bytes, or the errno of the read that failed; the memory is aligned, so that the outcome is not chance."""
    with mmap.mmap(-1, size) as pages:
        try:
            return pages[: os.preadv(fd, [pages], offset)]
        except OSError as error:
            assert error.errno is not None
            return error.errno


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
    """As root the kernel's readahead is raised: a megabyte a request instead of 128 KiB; none where it reads itself."""
    size = 16 << 20
    ready = partition()
    place.producer.write_and_publish(ready, "r1", bytes(size))
    with mounted(place, engine=engine) as daemon:
        assert daemon.of(ready).read_bytes() == bytes(size)
        assert daemon.requests("read") <= (0 if daemon.traits.kernel_reads else size // (512 << 10))
