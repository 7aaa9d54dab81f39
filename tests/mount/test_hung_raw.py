"""A raw store that hangs holds up its own readers, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from readyfs.errors import ExitCode
from readyfs.fuse.mount_table import mounts_at
from tests.mount.bindfs import BoundStore, bound
from tests.mount.daemon import Place, files_below, mounted, partition, running, wait_until

SOON_S = 5.0
"""Much less than anyone waits for a store that hangs, much more than a busy machine needs for an answer from memory."""
RESCUE_S = 30.0


@contextmanager
def stuck_readers(store: BoundStore, *commands: list[str | Path]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Stop the store and run commands until each waits for it; afterwards it goes on, and they are ended."""
    readers = []
    store.stop()
    # A daemon that wrongly waits for the store makes this very process hang beyond reach; late answers fail the test.
    rescue = threading.Timer(RESCUE_S, store.go_on)
    rescue.start()
    try:
        for command in commands:
            readers.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        wait_until(lambda: all(is_asleep(reader.pid) for reader in readers), "the readers wait")
        yield readers
    finally:
        rescue.cancel()
        rescue.join()
        store.go_on()  # a request that the daemon has taken keeps its process from dying
        for reader in readers:
            reader.kill()
            reader.communicate(timeout=10)


def is_asleep(pid: int) -> bool:
    """Whether a process waits in a request of FUSE, or for a page that one is to bring."""
    stack = Path(f"/proc/{pid}/stack").read_text()
    return "fuse" in stack or "folio_wait" in stack


def test_catalog_goes_on_while_the_raw_store_hangs(place: Place, engine: str) -> None:
    """V3, V11: listings above the runs, status, refresh and retraction need no raw store; readers go on afterwards."""
    first, second, third = partition(), partition(date="2024-06-02"), partition(date="2024-06-03")
    for part in (first, second):
        place.producer.write_and_publish(part, "r1", b"x\n")
    with bound(place) as store, mounted(place, "--raw", str(store.path), engine=engine) as daemon:
        assert daemon.of(first).read_bytes() == b"x\n"
        commands: list[list[str | Path]] = [["cat", daemon.of(second)], ["ls", "-l", daemon.directory(second)]]
        with stuck_readers(store, *commands) as readers:
            began = time.monotonic()
            assert os.listdir(daemon.path) == ["c1"]
            assert os.listdir(daemon.path / "c1/q1") == ["2024-06-01", "2024-06-02"]
            assert daemon.directory(second).is_dir()
            assert os.getxattr(daemon.directory(second), "user.readyfs.run_id") == b"r1"
            assert daemon.status()["state_error"] is None
            assert (daemon.path / ".readyfs/status.json").read_bytes()
            place.producer.set_ready(third, "r1")
            place.producer.set_ready(first, "r2")
            assert daemon.refresh()["changed"]
            assert os.listdir(daemon.path / "c1/q1") == ["2024-06-01", "2024-06-02", "2024-06-03"]
            assert os.getxattr(daemon.directory(first), "user.readyfs.run_id") == b"r2"
            assert time.monotonic() - began < SOON_S
            assert [reader.poll() for reader in readers] == [None, None]

            store.go_on()
            assert readers[0].communicate(timeout=10)[0] == b"x\n"
            assert b"payload.jsonl" in readers[1].communicate(timeout=10)[0]


def test_refresh_returns_while_readers_of_the_switched_run_hang(place: Place, engine: str) -> None:
    """V3, V6: notifications about a date do not wait for a reader who waits below it."""
    part, gone = partition(), partition(customer="c2")
    for one in (part, gone):
        place.producer.write_and_publish(one, "r1", b"old\n")
    place.producer.write_run(part, "r2", b"new\n")
    with bound(place) as store, mounted(place, "--raw", str(store.path), engine=engine) as daemon:
        assert os.listdir(daemon.path / "c1/q1") == os.listdir(daemon.path / "c2/q1") == ["2024-06-01"]
        commands: list[list[str | Path]] = [
            ["cat", daemon.of(part)],
            ["ls", daemon.directory(part)],
            ["cat", daemon.of(gone)],
            ["find", daemon.path / "c2", "-type", "f"],
        ]
        with stuck_readers(store, *commands) as readers:
            place.producer.set_ready(part, "r2")
            place.producer.delete_row(gone)
            began = time.monotonic()
            assert daemon.refresh()["changed"]
            assert time.monotonic() - began < SOON_S
            assert os.listdir(daemon.path) == ["c1"]
            store.go_on()
            assert readers[0].communicate(timeout=10)[0] in (b"old\n", b"new\n")
        assert daemon.of(part).read_bytes() == b"new\n"


def test_listing_that_comes_back_late_leaves_no_stale_name(place: Place, engine: str) -> None:
    """V2, V7: a READDIR reply delayed across a refresh is its reader's alone: by path only the new run is seen."""
    part = partition()
    old = place.producer.write_run(part, "r1", b"old\n")
    (old.directory / "only-old.txt").write_bytes(b"1")
    place.producer.publish(old)
    new = place.producer.write_run(part, "r2", b"new\n")
    (new.directory / "only-new.txt").write_bytes(b"2")
    with (
        bound(place) as store,
        mounted(place, "--raw", str(store.path), "--name-timeout", "1h", engine=engine) as daemon,
    ):
        assert daemon.directory(part).is_dir()
        with stuck_readers(store, ["ls", daemon.directory(part)]) as readers:
            place.producer.publish(new)
            assert daemon.refresh()["switched"] == 1
            store.go_on()
            late = readers[0].communicate(timeout=10)[0].decode().split()
            assert late == ["metadata.json", "only-old.txt", "payload.jsonl"]
        assert files_below(daemon.directory(part)) == ["metadata.json", "only-new.txt", "payload.jsonl"]
        assert daemon.of(part).read_bytes() == b"new\n"
        assert not daemon.of(part, "only-old.txt").exists()


def test_stop_with_a_hung_raw_store_gives_up_in_time(place: Place, engine: str) -> None:
    """A request that nobody answers does not hold up the end: detached, logged, and the exit code says so."""
    part = partition()
    place.producer.write_and_publish(part, "r1", b"x\n")
    with bound(place) as store, running(place, "--raw", str(store.path), engine=engine) as daemon:
        assert daemon.directory(part).is_dir()
        commands: list[list[str | Path]] = [["cat", daemon.of(part)], ["ls", daemon.directory(part)]]
        with stuck_readers(store, *commands) as readers:
            began = time.monotonic()
            daemon.process.terminate()
            wait_until(lambda: not mounts_at(daemon.path), "the mount is detached", SOON_S)
            assert daemon.status()["mountpoint"] == str(daemon.path)
            assert daemon.wait_ended() == ExitCode.STUCK
            assert time.monotonic() - began < 10.0
            assert daemon.events("raw store does not answer, giving the request up")
            for reader in readers:
                assert reader.wait(10) != 0


def test_more_hung_readers_than_threads_do_not_stop_the_catalog(place: Place, engine: str) -> None:
    """A full pool of raw threads is waited for by raw readers only."""
    parts = [partition(date=f"2024-06-{day:02}") for day in range(1, 9)]
    for part in parts:
        place.producer.write_and_publish(part, "r1", b"x\n")
    options = ("--raw-threads", "2")
    with bound(place) as store, mounted(place, "--raw", str(store.path), *options, engine=engine) as daemon:
        assert daemon.of(parts[0]).read_bytes() == b"x\n"
        commands: list[list[str | Path]] = [["cat", daemon.of(part)] for part in parts[1:]]
        with stuck_readers(store, *commands) as readers:
            assert len(os.listdir(daemon.path / "c1/q1")) == 8
            assert daemon.of(parts[0]).stat().st_size == 2
            assert daemon.refresh()["changed"] is False
            store.go_on()
            assert [reader.communicate(timeout=10)[0] for reader in readers] == [b"x\n"] * 7


def test_reader_whose_read_hangs_can_be_killed(place: Place, engine: str) -> None:
    """A process that waits for the bytes of a hung store ends at once when it is killed."""
    part = partition()
    place.producer.write_and_publish(part, "r1", b"x" * 2_000_000)
    with bound(place) as store, mounted(place, "--raw", str(store.path), engine=engine) as daemon:
        script = "exec 3<$0; echo open; while ! test -e $1; do sleep 0.01; done; exec cat <&3"
        with subprocess.Popen(
            ["sh", "-c", script, daemon.of(part), place.base / "go"], stdout=subprocess.PIPE
        ) as reader:
            assert reader.stdout is not None
            assert reader.stdout.readline() == b"open\n"
            store.stop()
            try:
                (place.base / "go").touch()
                wait_until(lambda: is_asleep(reader.pid), "the reader waits")
                reader.kill()
                assert reader.wait(SOON_S) == -signal.SIGKILL
            finally:
                store.go_on()
                reader.kill()
