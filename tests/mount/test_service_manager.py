"""What the service manager is told, and that the watchdog is fed by progress alone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from readyfs.fuse.mount_table import mounts_at
from tests.mount.daemon import EACH_ENGINE_ONCE, PATIENCE_S, Place, mounted, partition, start, take_down, wait_until


@pytest.fixture(params=EACH_ENGINE_ONCE)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Manager:
    """The service manager's end of sd_notify(3)."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(PATIENCE_S)

    def next_message(self) -> dict[str, str]:
        """Return the fields of the next message."""
        lines = self._socket.recv(65536).decode().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def wait_for(self, field: str) -> dict[str, str]:
        """Return the next message that has a field, passing over others."""
        while field not in (message := self.next_message()):
            pass
        return message

    def drain(self) -> None:
        """Throw away what came so far."""
        self._socket.setblocking(False)
        try:
            while True:
                self._socket.recv(65536)
        except BlockingIOError:
            self._socket.settimeout(PATIENCE_S)

    def is_silent_for(self, seconds: float) -> bool:
        """Return whether nothing comes for so long."""
        self._socket.settimeout(seconds)
        try:
            self.next_message()
        except TimeoutError:
            return True
        finally:
            self._socket.settimeout(PATIENCE_S)
        return False

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    path = tmp_path / "notify"
    listening = Manager(path)
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    yield listening
    listening.close()


@contextmanager
def stopped_passthrough(source: Path, target: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Show `source` at `target` through a FUSE daemon that the body can stop with SIGSTOP."""
    target.mkdir()
    process = subprocess.Popen(["bindfs", "-f", "-r", str(source), str(target)])
    try:
        wait_until(lambda: bool(mounts_at(target)), "bindfs mounts")
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(PATIENCE_S)
        if mounts_at(target):
            subprocess.run(["umount", "--lazy", str(target)], check=True, timeout=10)


def test_ready_is_told_when_the_mount_is_loaded_and_served(place: Place, engine: str, manager: Manager) -> None:
    ready = partition()
    place.producer.write_and_publish(ready, "r1", b"bytes\n")
    with mounted(place, engine=engine) as daemon:
        message = manager.wait_for("READY")
        assert message["READY"] == "1"
        assert message["STATUS"] == "serving 1 ready partitions"
        assert daemon.of(ready).read_bytes() == b"bytes\n"


def test_hangup_reloads_and_says_so(place: Place, engine: str, manager: Manager) -> None:
    with mounted(place, engine=engine) as daemon:
        manager.wait_for("READY")
        later = partition()
        place.producer.write_and_publish(later, "r1", b"bytes\n")
        daemon.process.send_signal(signal.SIGHUP)
        assert "MONOTONIC_USEC" in manager.wait_for("RELOADING")
        assert manager.wait_for("READY")["STATUS"] == "serving 1 ready partitions"
        assert daemon.of(later).exists()


def test_stop_is_told_before_the_mount_goes(place: Place, engine: str, manager: Manager) -> None:
    daemon = start(place, engine=engine)
    try:
        manager.wait_for("READY")
        assert daemon.stop() == 0
        assert manager.wait_for("STOPPING")["STOPPING"] == "1"
    finally:
        take_down(daemon)


def test_an_outage_shows_in_the_status_line(place: Place, engine: str, manager: Manager) -> None:
    with mounted(place, "--interval", "50ms", engine=engine) as daemon:
        manager.wait_for("READY")
        place.state.rename(place.base / "away")
        wait_until(lambda: "state cannot be read" in manager.wait_for("STATUS")["STATUS"], "the status line says so")
        (place.base / "away").rename(place.state)
        wait_until(lambda: daemon.status()["state_error"] is None, "the outage ends")


def feeds_for(manager: Manager, count: int) -> None:
    """Return once the watchdog was fed so many times from now on."""
    manager.drain()
    for _ in range(count):
        manager.wait_for("WATCHDOG")


def test_watchdog_is_fed_while_the_raw_store_hangs(
    place: Place, engine: str, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    ready = partition()
    place.producer.write_and_publish(ready, "r1", b"bytes\n")
    with stopped_passthrough(place.raw, place.base / "slow") as passthrough:
        daemon = start(place, "--raw", str(place.base / "slow"), engine=engine)
        reader = None
        try:
            feeds_for(manager, 2)
            passthrough.send_signal(signal.SIGSTOP)
            reader = subprocess.Popen(
                ["cat", str(daemon.of(ready))], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            feeds_for(manager, 5)
            assert reader.poll() is None
            assert os.listdir(daemon.path) == ["c1"]
        finally:
            passthrough.send_signal(signal.SIGCONT)
            if reader is not None:
                reader.wait(PATIENCE_S)
            take_down(daemon)


def test_watchdog_is_fed_while_the_state_store_hangs(
    place: Place, engine: str, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    place.producer.write_and_publish(partition(), "r1", b"bytes\n")
    state_dir = place.base / "state"
    state_dir.mkdir()
    place.producer.close()
    place.state.rename(state_dir / "state.db")
    with stopped_passthrough(state_dir, place.base / "slow") as passthrough:
        daemon = start(place, "--state", str(place.base / "slow" / "state.db"), "--interval", "50ms", engine=engine)
        try:
            feeds_for(manager, 2)
            passthrough.send_signal(signal.SIGSTOP)
            wait_until(lambda: (daemon.status()["refreshing_seconds"] or 0) > 0.5, "a refresh hangs")  # type: ignore[operator]
            feeds_for(manager, 5)
            assert os.listdir(daemon.path) == ["c1"]
        finally:
            passthrough.send_signal(signal.SIGCONT)
            take_down(daemon)


def test_watchdog_is_not_fed_while_the_daemon_is_stuck(
    place: Place, engine: str, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    with mounted(place, engine=engine) as daemon:
        feeds_for(manager, 2)
        daemon.process.send_signal(signal.SIGSTOP)
        manager.drain()
        assert manager.is_silent_for(1.0)
        daemon.process.send_signal(signal.SIGCONT)
        feeds_for(manager, 1)


def test_nothing_is_told_of_a_start_that_failed(place: Place, manager: Manager) -> None:
    place.state.unlink()
    with pytest.raises(AssertionError, match="does not exist"):
        start(place)
    assert manager.is_silent_for(0.2)
