from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from readyfs.daemon.service_manager import ServiceManager


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A service manager's socket, as a file and in the abstract namespace."""
    name = str(tmp_path / "notify") if request.param == "file" else f"@readyfs-test-{uuid4()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(5)
        receiver.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield receiver


@pytest.fixture
def service_manager(manager: socket.socket) -> Iterator[ServiceManager]:
    one = ServiceManager()
    yield one
    one.close()


def receive(manager: socket.socket) -> dict[str, str]:
    lines = manager.recv(4096).decode().split("\n")
    return dict(line.split("=", 1) for line in lines)


def test_ready_comes_with_a_status(manager: socket.socket, service_manager: ServiceManager) -> None:
    service_manager.ready("serving 3 partitions")
    assert receive(manager) == {"READY": "1", "STATUS": "serving 3 partitions"}


def test_reloading_carries_the_monotonic_time(manager: socket.socket, service_manager: ServiceManager) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    service_manager.reloading()
    message = receive(manager)
    assert message["RELOADING"] == "1"
    assert before <= int(message["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def test_stopping_watchdog_and_status_are_sent(manager: socket.socket, service_manager: ServiceManager) -> None:
    service_manager.stopping()
    service_manager.watchdog()
    service_manager.status("idle")
    assert receive(manager)["STOPPING"] == "1"
    assert receive(manager) == {"WATCHDOG": "1"}
    assert receive(manager) == {"STATUS": "idle"}


def test_status_with_newline_and_beyond_latin_1_is_one_escaped_field(
    manager: socket.socket, service_manager: ServiceManager
) -> None:
    service_manager.status("a\nREADY=1 \u2192")
    assert receive(manager) == {"STATUS": "a\\nREADY=1 \\u2192"}


def test_manager_that_takes_nothing_does_not_block_us(manager: socket.socket, service_manager: ServiceManager) -> None:
    for _ in range(10_000):
        service_manager.watchdog()
    assert receive(manager) == {"WATCHDOG": "1"}


def test_manager_that_went_away_is_no_error(manager: socket.socket, service_manager: ServiceManager) -> None:
    manager.close()
    service_manager.ready()


def test_without_a_manager_every_call_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    service_manager = ServiceManager()
    service_manager.ready()
    service_manager.reloading()
    service_manager.stopping()
    service_manager.watchdog()
    service_manager.close()
    assert service_manager.watchdog_interval_s() is None


def test_calls_after_close_do_nothing(manager: socket.socket) -> None:
    service_manager = ServiceManager()
    service_manager.close()
    service_manager.watchdog()
    service_manager.close()


def test_watchdog_interval_is_half_of_what_the_manager_allows() -> None:
    assert ServiceManager({"WATCHDOG_USEC": "30000000"}).watchdog_interval_s() == 15.0
    assert ServiceManager({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}).watchdog_interval_s() == 15.0


@pytest.mark.parametrize("usec", ["", "0", "-1", "soon"])
def test_unusable_watchdog_interval_means_nobody_watches(usec: str) -> None:
    assert ServiceManager({"WATCHDOG_USEC": usec}).watchdog_interval_s() is None


def test_watchdog_of_another_process_is_not_ours() -> None:
    assert ServiceManager({"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}).watchdog_interval_s() is None
