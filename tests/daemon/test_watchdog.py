from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from readyfs.daemon.service_manager import ServiceManager
from readyfs.daemon.watchdog import NOTIFICATION_STUCK_S, feed_watchdog
from readyfs.fuse.notifications import Notifications

INTERVAL_S = 15.0
MOUNT = Path("/mount")


class FakeNotifier:
    """A service manager that notes when it was fed."""

    def __init__(self, interval_s: float | None = INTERVAL_S) -> None:
        self._interval_s = interval_s
        self.fed: list[float] = []

    def watchdog_interval_s(self) -> float | None:
        return self._interval_s

    def watchdog(self) -> None:
        self.fed.append(trio.current_time())


class FakeCache:
    """A kernel cache whose notifications are stuck for as long as a test says."""

    seconds = 0.0

    def stuck_s(self) -> float:
        return self.seconds


@pytest.fixture
def manager() -> FakeNotifier:
    return FakeNotifier()


@pytest.fixture
def cache() -> FakeCache:
    return FakeCache()


@pytest.fixture
def answers(inline: None, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A mount that answers STATFS; what was asked is noted."""
    asked: list[Path] = []
    monkeypatch.setattr(os, "statvfs", asked.append)
    return asked


def start(nursery: trio.Nursery, manager: FakeNotifier, cache: FakeCache) -> None:
    nursery.start_soon(feed_watchdog, cast(ServiceManager, manager), MOUNT, cast(Notifications, cache))


async def test_nothing_is_asked_when_nobody_watches(
    answers: list[Path], cache: FakeCache, autojump_clock: MockClock
) -> None:
    await feed_watchdog(cast(ServiceManager, FakeNotifier(None)), MOUNT, cast(Notifications, cache))
    assert answers == []


async def test_mount_that_answers_feeds_the_watchdog_once_an_interval(
    answers: list[Path], manager: FakeNotifier, cache: FakeCache, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    start(nursery, manager, cache)
    await trio.sleep(3.5 * INTERVAL_S)
    assert manager.fed == [0.0, 15.0, 30.0, 45.0]
    assert answers == [MOUNT] * 4


async def test_mount_that_hangs_starves_it(
    manager: FakeNotifier,
    cache: FakeCache,
    nursery: trio.Nursery,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def hang(call: Callable[..., object], *arguments: object, **how: object) -> None:
        assert how["abandon_on_cancel"]
        await trio.sleep_forever()

    monkeypatch.setattr(trio.to_thread, "run_sync", hang)
    with capture_logs() as logs:
        start(nursery, manager, cache)
        await trio.sleep(4.5 * INTERVAL_S)
    assert manager.fed == []
    assert [(line["log_level"], line["event"]) for line in logs] == [("error", "the mount does not answer")] * 3


async def test_mount_that_fails_starves_it_and_says_why(
    inline: None,
    manager: FakeNotifier,
    cache: FakeCache,
    nursery: trio.Nursery,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(path: object) -> None:
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    monkeypatch.setattr(os, "statvfs", fail)
    with capture_logs() as logs:
        start(nursery, manager, cache)
        await trio.sleep(0.5 * INTERVAL_S)
    assert manager.fed == []
    assert logs[0]["error"] == "Transport endpoint is not connected"


async def test_stuck_notification_starves_it_without_asking_the_mount(
    answers: list[Path], manager: FakeNotifier, cache: FakeCache, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    cache.seconds = NOTIFICATION_STUCK_S + 1
    with capture_logs() as logs:
        start(nursery, manager, cache)
        await trio.sleep(0.5 * INTERVAL_S)
    assert manager.fed == []
    assert answers == []
    assert [line["seconds"] for line in logs] == [NOTIFICATION_STUCK_S + 1]


async def test_notification_that_takes_its_time_is_not_stuck(
    answers: list[Path], manager: FakeNotifier, cache: FakeCache, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    cache.seconds = NOTIFICATION_STUCK_S
    start(nursery, manager, cache)
    await trio.sleep(0.5 * INTERVAL_S)
    assert len(manager.fed) == 1


async def test_watchdog_is_fed_again_once_the_mount_answers(
    answers: list[Path], manager: FakeNotifier, cache: FakeCache, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    cache.seconds = NOTIFICATION_STUCK_S + 1
    with capture_logs():
        start(nursery, manager, cache)
        await trio.sleep(0.5 * INTERVAL_S)
        cache.seconds = 0.0
        await trio.sleep(INTERVAL_S)
    assert manager.fed == [15.0]
