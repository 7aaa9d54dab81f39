"""Clients that are killed, stores that hang, and a place that somebody else took: the daemon lives on, or ends."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from readyfs.control.client import ControlClient
from readyfs.control.protocol import socket_path
from readyfs.errors import NotRunningError
from readyfs.fuse.mount_table import mounts_at
from tests.mount.bindfs import bound
from tests.mount.daemon import (
    PATIENCE_S,
    Place,
    fails_with,
    mounted,
    partition,
    running,
    start,
    take_down,
    try_to_mount,
    wait_until,
)

_STAT_FOR_EVER = """
import os, sys
while True:
    for number in range(1000):
        try:
            os.stat(f"{sys.argv[1]}/c{number}")
        except FileNotFoundError:
            pass
"""


def test_killed_clients_do_not_freeze_the_daemon(place: Place, engine: str) -> None:
    """A request that vanishes between poll and read must not leave the daemon in a read that nothing ends."""
    for number in range(100):
        place.producer.set_ready(partition(f"c{number}"), "r1")
    with mounted(place, "--name-timeout", "1ms", engine=engine) as daemon:
        client = ControlClient(socket_path(place.runtime_dir, place.mountpoint), timeout_s=3.0)
        for _ in range(40 if engine == "pyfuse3" else 10):  # libfuse is what had this race
            command = [sys.executable, "-S", "-c", _STAT_FOR_EVER, str(daemon.path)]
            clients = [subprocess.Popen(command) for _ in range(2)]
            before = daemon.requests("lookup")
            wait_until(lambda before=before: daemon.requests("lookup") > before + 100, "the clients are at it")  # type: ignore[misc]
            for one in clients:
                one.kill()
            for one in clients:
                one.wait(PATIENCE_S)
            assert client.status()["phase"] == "serving"


def test_request_that_waits_too_long_for_the_raw_store_fails(place: Place, engine: str) -> None:
    """No reader waits for ever, and the store's answer, when it comes, leaves nothing behind."""
    ready = partition()
    place.producer.write_and_publish(ready, "r1", b"bytes\n")
    with (
        bound(place) as store,
        mounted(place, "--raw", str(store.path), "--raw-timeout", "500ms", engine=engine) as daemon,
    ):
        assert daemon.of(ready).stat().st_size == 6
        inodes = daemon.count("inodes")
        store.stop()
        try:
            with fails_with(errno.EIO):
                daemon.of(ready).read_bytes()
            wait_until(lambda: daemon.count("raw_waiting") == 0, "nobody waits")
        finally:
            store.go_on()
        wait_until(lambda: daemon.count("open_handles") == 0 and not daemon.held_raw_files(), "the late open is undone")
        assert daemon.of(ready).read_bytes() == b"bytes\n"
        assert daemon.count("inodes") == inodes


def test_status_tells_of_requests_that_wait_for_the_raw_store(place: Place, engine: str) -> None:
    ready = partition()
    place.producer.write_and_publish(ready, "r1", b"bytes\n")
    with bound(place) as store, mounted(place, "--raw", str(store.path), engine=engine) as daemon:
        assert daemon.count("raw_waiting") == 0
        store.stop()
        reader = subprocess.Popen(["cat", str(daemon.of(ready))], stdout=subprocess.DEVNULL)
        try:
            wait_until(lambda: daemon.count("raw_waiting") == 1, "one request waits")
            wait_until(lambda: float(str(daemon.status()["raw_waiting_longest_seconds"])) > 0.1, "its time is told")
        finally:
            store.go_on()
            reader.wait(PATIENCE_S)


def test_readers_of_a_hung_raw_store_end_with_the_daemon(place: Place, engine: str) -> None:
    """What is given up at a stop is answered: nobody is left waiting for a daemon that is gone."""
    ready = partition()
    place.producer.write_and_publish(ready, "r1", b"bytes\n")
    with bound(place) as store, running(place, "--raw", str(store.path), engine=engine) as daemon:
        store.stop()
        reader = subprocess.Popen(["cat", str(daemon.of(ready))], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            wait_until(lambda: daemon.count("raw_waiting") == 1, "one request waits")
            assert daemon.stop() == 11
            _, said = reader.communicate(timeout=PATIENCE_S)
            assert b"Input/output error" in said
        finally:
            store.go_on()
            reader.kill()
            reader.wait(PATIENCE_S)


def lock_state(state: Path) -> sqlite3.Connection:
    """Hold the state file as a writer does that never ends."""
    connection = sqlite3.connect(state, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    return connection


def test_stop_does_not_wait_for_a_locked_state_store(place: Place, engine: str) -> None:
    place.producer.write_and_publish(partition(), "r1", b"bytes\n")
    with running(place, "--interval", "50ms", "--state-timeout", "1h", engine=engine) as daemon:
        writer = lock_state(place.state)
        try:
            daemon.client.refresh(wait=False)  # one that was asked for reads, although nothing was committed
            wait_until(
                lambda: float(str(daemon.status()["refreshing_seconds"] or 0)) > 0.3, "a refresh waits for the lock"
            )
            began = time.monotonic()
            assert daemon.stop() == 0
            assert time.monotonic() - began < 10
            assert not mounts_at(daemon.path)
        finally:
            writer.close()


def test_state_store_that_hangs_is_an_outage_although_nothing_failed(place: Place, engine: str) -> None:
    """V11: age and cause are in the status and the log while the state store does not answer at all."""
    place.producer.write_and_publish(partition(), "r1", b"bytes\n")
    state_dir = place.base / "raw"
    place.producer.close()
    place.state.rename(state_dir / "state.db")
    options = ("--state-timeout", "100ms", "--interval", "50ms")
    state = ("--state", str(place.base / "bound/state.db"))
    with bound(place) as store, mounted(place, *state, *options, engine=engine) as daemon:
        store.stop()
        try:
            wait_until(lambda: "has not answered" in str(daemon.status()["state_error"]), "the outage is told")
            assert len(daemon.events("state cannot be read, serving the last good catalog")) == 1
            assert os.listdir(daemon.path) == ["c1"]
        finally:
            store.go_on()
        wait_until(lambda: daemon.status()["state_error"] is None, "the outage is over")
        assert len(daemon.events("state can be read again")) == 1


def test_stop_leaves_another_mount_at_the_place_alone(place: Place, engine: str) -> None:
    """A daemon that was detached by hand does not unmount its successor."""
    ready = partition()
    place.producer.write_and_publish(ready, "r1", b"bytes\n")
    first = start(place, engine=engine)
    second = None
    try:
        held = os.open(daemon_file := first.of(ready), os.O_RDONLY)
        try:
            subprocess.run(["umount", "--lazy", str(place.mountpoint)], check=True, timeout=10)
            others = {"--state-dir": "var2", "--runtime-dir": "run2", "--public-dir": "public2"}
            successor = [word for flag, name in others.items() for word in (flag, str(place.base / name))]
            second = start(place, *successor, engine=engine)
            first.process.send_signal(signal.SIGTERM)
        finally:
            os.close(held)
        assert first.wait_ended() == 0
        assert second.process.poll() is None
        assert daemon_file.read_bytes() == b"bytes\n"
    finally:
        if second is not None:
            take_down(second)
        take_down(first)


def test_draining_mount_says_so(place: Place, engine: str) -> None:
    """V5: while open files are served, status tells for how long, and nobody is told that all is well."""
    ready = partition()
    place.producer.write_and_publish(ready, "r1", b"bytes\n")
    with running(place, "--drain", "20s", engine=engine) as daemon:
        held = os.open(daemon.of(ready), os.O_RDONLY)
        try:
            daemon.process.send_signal(signal.SIGTERM)
            wait_until(lambda: daemon.status()["phase"] == "draining", "it drains")
            assert 0 < float(str(daemon.status()["draining_seconds_left"])) <= 20
            assert f"pid {os.getpid()} " in str(daemon.status()["holders"])
            with pytest.raises(NotRunningError, match="no path follows the state any more"):
                daemon.refresh()
            refused = try_to_mount(place, engine=engine)
            assert refused.returncode == 5
            assert f"(pid {daemon.pid})" in refused.stderr
            assert os.read(held, 10) == b"bytes\n"
        finally:
            os.close(held)
        assert daemon.wait_ended() == 0
