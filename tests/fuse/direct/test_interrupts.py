"""Signals to clients: who is killed dies at once, and who handles a signal is failed only by a store that hangs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.fuse.direct import alarm_storm
from tests.mount.bindfs import bound
from tests.mount.daemon import Daemon, Place, mounted, partition, wait_until
from tests.mount.test_hung_raw import stuck_readers

AT_ONCE_S = 1.0
"""For a process to die; a request that is given up by its deadline takes a minute."""


def test_reader_that_waits_for_a_hung_store_dies_at_once_when_killed(place: Place, engine: str) -> None:
    """Whatever it waits in: the first look at a run, a listing, the open of a known file, or its first read."""
    known, unknown, other = (partition(date=f"2024-06-0{day}") for day in (1, 2, 3))
    for part in (known, unknown, other):
        place.producer.write_and_publish(part, "r1", b"x\n")
    with bound(place) as store, mounted(place, "--raw", str(store.path), engine=engine) as daemon:
        assert daemon.of(known).stat().st_size == 2
        commands: list[list[str | Path]] = [
            ["cat", daemon.of(known)],
            ["stat", daemon.of(unknown)],
            ["ls", daemon.directory(other)],
        ]
        with stuck_readers(store, *commands) as readers:
            for reader in readers:
                reader.kill()
                assert reader.wait(AT_ONCE_S) == -signal.SIGKILL
            assert os.listdir(daemon.path / "c1/q1") == ["2024-06-01", "2024-06-02", "2024-06-03"]
        wait_until(lambda: daemon.count("raw_waiting") == 0, "what was given up is over")
        for part in (known, unknown, other):
            assert daemon.of(part).read_bytes() == b"x\n"


def test_more_hung_readers_than_raw_threads_leave_the_tree_usable_and_can_be_killed(place: Place, engine: str) -> None:
    parts = [partition(date=f"2024-06-{day:02}") for day in range(1, 13)]
    for part in parts:
        place.producer.write_and_publish(part, "r1", b"x\n")
    unseen = partition("c2", "q2")
    place.producer.set_ready(unseen, "r1")
    options = ("--raw-threads", "2")
    with bound(place) as store, mounted(place, "--raw", str(store.path), *options, engine=engine) as daemon:
        commands: list[list[str | Path]] = [["cat", daemon.of(part)] for part in parts]
        with stuck_readers(store, *commands) as readers:
            wait_until(lambda: daemon.count("raw_waiting") == len(parts), "all of them wait")
            assert os.listdir(daemon.path) == ["c1", "c2"]
            assert os.listdir(daemon.path / "c2/q2") == ["2024-06-01"]
            assert not (daemon.path / "c3").exists()
            assert os.getxattr(daemon.directory(unseen), "user.readyfs.run_id") == b"r1"
            place.producer.set_ready(unseen, "r2")
            assert daemon.refresh()["switched"] == 1
            assert os.getxattr(daemon.directory(unseen), "user.readyfs.run_id") == b"r2"
            for reader in readers:
                reader.kill()
            for reader in readers:
                assert reader.wait(AT_ONCE_S) == -signal.SIGKILL
            assert daemon.count("raw_waiting") == 0
        for part in parts:
            assert daemon.of(part).read_bytes() == b"x\n"


def storm(*arguments: str | Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, alarm_storm.__file__, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def outcomes(process: subprocess.Popen[bytes]) -> dict[str, int]:
    found: dict[str, int] = json.loads(process.communicate(timeout=20)[0])
    assert process.returncode == 0
    return found


def interrupts(daemon: Daemon) -> int:
    return daemon.requests("interrupt")


def test_storm_of_handled_signals_fails_no_call_while_the_store_answers(place: Place, engine: str) -> None:
    """A runtime that preempts by signals (Go, the JVM) must not see EINTR from a file system that works."""
    parts = [partition(date=f"2024-06-{day:02}") for day in range(1, 21)]
    for part in parts:
        place.producer.write_and_publish(part, "r1", b"x" * 10_000)
    with (
        bound(place) as store,
        mounted(place, "--raw", str(store.path), "--name-timeout", "1ms", engine=engine) as daemon,
    ):
        seen: dict[str, int] = {}
        with storm("storm", *map(daemon.directory, parts)) as client:
            try:
                # New runs, so that the raw store is asked all the time.
                deadline_s, turn = time.monotonic() + 60.0, 2
                while turn < 12 or interrupts(daemon) < 5:
                    assert time.monotonic() < deadline_s, "too few requests are interrupted"
                    for part in parts:
                        place.producer.write_and_publish(part, f"r{turn}", b"x" * 10_000)
                    daemon.refresh()
                    time.sleep(0.2)  # for the client to look at them; the more it does, the stricter the test
                    turn += 1
            finally:
                if client.poll() is None:
                    seen = outcomes(client)
        assert seen.keys() == {"OK", "ENOENT"}
        assert seen["OK"] > 1000


def test_handled_signal_ends_a_call_that_hangs(place: Place, engine: str) -> None:
    """EINTR, as on NFS with `intr`: an alarm that is set as a time limit must work."""
    part = partition()
    place.producer.write_and_publish(part, "r1", b"x\n")
    with bound(place) as store, mounted(place, "--raw", str(store.path), engine=engine) as daemon:
        assert os.listdir(daemon.path / "c1/q1") == ["2024-06-01"]
        store.stop()
        try:
            with storm("once", daemon.of(part)) as client:
                assert outcomes(client) == {"EINTR": 1}
        finally:
            store.go_on()
        assert daemon.of(part).read_bytes() == b"x\n"
