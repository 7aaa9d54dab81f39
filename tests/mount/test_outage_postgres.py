"""V11 on a real PostgreSQL server: killed, suspended, cut off, locked, or changed in a way that nobody can read."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from readyfs.errors import RefreshFailedError
from readyfs.fuse.mount_table import mounts_at
from tests.mount.daemon import (
    EACH_ENGINE_ONCE,
    Daemon,
    Place,
    fails_with,
    held_descriptors,
    mounted,
    partition,
    running,
    wait_until,
)
from tests.postgres.database import READER, READER_PASSWORD, StateDatabase
from tests.postgres.proxy import Proxy

ENTERED = "state cannot be read, serving the last good catalog"
LEFT = "state can be read again"
ROWS = 3000
"""Beside those that a test looks at: enough for an answer of many packets."""


@pytest.fixture(params=EACH_ENGINE_ONCE)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@dataclass(slots=True)
class World:
    """A daemon's state database, reached through a proxy; what `held` holds ends with an outage."""

    database: StateDatabase
    proxy: Proxy
    held: ExitStack = field(default_factory=ExitStack)

    @property
    def options(self) -> tuple[str, ...]:
        """What has a daemon read it, often and with little patience."""
        return ("--state", self.database.url(port=self.proxy.port), "--interval", "100ms", "--state-timeout", "300ms")

    def end_sessions(self) -> None:
        """Have whoever reads connect anew."""
        self.database.server.end_sessions(self.database.name)


@pytest.fixture
def world(own_postgres: StateDatabase) -> Iterator[World]:
    own_postgres.fill(ROWS)
    with Proxy(own_postgres.server.port) as proxy:
        found = World(own_postgres, proxy)
        with found.held:
            yield found


def kill(world: World) -> None:
    world.database.server.kill()


def stop(world: World) -> None:
    world.database.server.stop()


def start(world: World) -> None:
    world.database.server.start()


def suspend(world: World) -> None:
    world.database.server.pause()


def resume(world: World) -> None:
    world.database.server.resume()


def cut_in_mid_result(world: World) -> None:
    world.proxy.cut_after = 40_000
    # Else there would be no long result: who comes back asks only for what changed.
    world.database.execute("UPDATE partition_state SET attempt_count = attempt_count + 1")
    world.end_sessions()


def stop_cutting(world: World) -> None:
    assert world.proxy.cuts, "no result was cut"
    world.proxy.cut_after = None


def change_password(world: World) -> None:
    world.database.execute(f"ALTER ROLE {READER} PASSWORD 'another'")
    world.end_sessions()


def change_password_back(world: World) -> None:
    world.database.execute(f"ALTER ROLE {READER} PASSWORD '{READER_PASSWORD}'")


def refuse_sessions(world: World) -> None:
    world.database.execute(f"ALTER DATABASE {world.database.name} CONNECTION LIMIT 0")
    world.end_sessions()


def allow_sessions(world: World) -> None:
    world.database.execute(f"ALTER DATABASE {world.database.name} CONNECTION LIMIT -1")


def lock_table(world: World) -> None:
    session = world.held.enter_context(world.database.connect())
    session.execute("BEGIN")
    session.execute("LOCK TABLE partition_state IN ACCESS EXCLUSIVE MODE")


def unlock_table(world: World) -> None:
    world.held.close()


def executing(statement: str) -> Callable[[World], None]:
    def execute(world: World) -> None:
        world.database.execute(statement)

    return execute


@dataclass(frozen=True, slots=True)
class Trouble:
    """How an outage begins and ends, and a word of the cause that status and log give."""

    begin: Callable[[World], None]
    end: Callable[[World], None]
    cause: str = ""


TROUBLES = {
    "killed": Trouble(kill, start),
    "restarted": Trouble(stop, start),
    "suspended": Trouble(suspend, resume),
    "cut": Trouble(cut_in_mid_result, stop_cutting),
    "password": Trouble(change_password, change_password_back, "password authentication failed"),
    "sessions": Trouble(refuse_sessions, allow_sessions, "too many connections"),
    "locked": Trouble(lock_table, unlock_table, "lock"),
    "column": Trouble(
        executing("ALTER TABLE partition_state DROP COLUMN status"),
        executing("ALTER TABLE partition_state ADD COLUMN status TEXT NOT NULL DEFAULT 'success'"),
        "status",
    ),
    "renamed": Trouble(
        executing("ALTER TABLE partition_state RENAME TO away"),
        executing("ALTER TABLE away RENAME TO partition_state"),
        "partition_state",
    ),
    "rights": Trouble(
        executing(f"REVOKE SELECT ON partition_state FROM {READER}"),
        executing(f"GRANT SELECT ON partition_state TO {READER}"),
        "permission denied",
    ),
}


@contextmanager
def outage(daemon: Daemon, world: World, trouble: Trouble) -> Iterator[None]:
    """Have the state unreadable, known to the daemon, for the body."""
    trouble.begin(world)
    daemon.client.refresh(wait=False)  # a change that moves no row need not be seen by a look at what changed
    wait_until(lambda: daemon.status()["state_error"] is not None, "the outage is in the status", 40)
    try:
        yield
    finally:
        trouble.end(world)


@pytest.mark.parametrize(
    ("name", "engine"),
    [(name, "cached") for name in TROUBLES] + [("killed", "pyfuse3"), ("killed", "passthrough")],
)
def test_last_good_catalog_is_served_until_the_server_is_back(
    place: Place, world: World, name: str, engine: str
) -> None:
    """V11: nothing disappears, status and log say since when and why, and nobody has to restart anything."""
    trouble, part, unseen = TROUBLES[name], partition("seen"), partition("seen", date="2024-06-02")
    world.database.publish(place.producer.write_run(part, "r1", b"x\n"))
    with mounted(place, *world.options, engine=engine) as daemon:
        before = daemon.status()
        names = sorted(os.listdir(daemon.path))
        with outage(daemon, world, trouble):
            during = daemon.status()
            assert (during["revision"], during["partitions"], during["stale"]) == (1, before["partitions"], False)
            assert during["state_error_since"] is not None
            assert trouble.cause in str(during["state_error"])
            assert sorted(os.listdir(daemon.path)) == names
            assert os.listdir(daemon.path / "seen/q1") == ["2024-06-01"]
            assert daemon.of(part).read_bytes() == b"x\n"
            assert len(daemon.events(ENTERED)) == 1
            assert not daemon.events(LEFT)
        world.database.publish(place.producer.write_run(unseen, "r1", b"new\n"))
        wait_until(daemon.of(unseen).exists, "the recovered state is seen", 40)
        assert daemon.of(unseen).read_bytes() == b"new\n"
        wait_until(lambda: daemon.status()["state_error"] is None, "the outage is over")
        assert daemon.count("partitions") == ROWS + 2
        assert (len(daemon.events(ENTERED)), len(daemon.events(LEFT))) == (1, 1)
        assert READER_PASSWORD not in daemon.log_text()
        assert "hunter2" not in daemon.log_text()
    wait_until(lambda: world.database.sessions() == [], "the daemon's sessions end with it")


@pytest.mark.parametrize(
    ("name", "engine"), [("killed", "pyfuse3"), ("suspended", "passthrough"), ("locked", "cached")]
)
def test_walks_fail_past_the_staleness_limit_until_the_server_is_back(
    place: Place, world: World, name: str, engine: str
) -> None:
    """V11: closed, not open: readers get EIO and no old names, and it ends by itself."""
    part = partition("seen")
    world.database.publish(place.producer.write_run(part, "r1", b"x\n"))
    with mounted(place, *world.options, "--max-staleness", "2s", engine=engine) as daemon:
        assert daemon.of(part).read_bytes() == b"x\n"
        with outage(daemon, world, TROUBLES[name]):
            wait_until(lambda: daemon.status()["stale"] is True, "the catalog is too old")
            wait_until(lambda: is_refused(daemon.path / "seen"), "the kernel forgot the root's names")
            for path in (daemon.path / "seen", daemon.of(part), daemon.path / "absent"):
                with fails_with(errno.EIO):
                    os.stat(path)
            with fails_with(errno.EIO):
                os.listdir(daemon.path)
        wait_until(lambda: daemon.status()["stale"] is False, "it is fresh again", 40)
        wait_until(lambda: not is_refused(daemon.of(part)), "and is so for a look's time")
        assert daemon.of(part).read_bytes() == b"x\n"
        assert len(os.listdir(daemon.path)) == 11
        assert len(daemon.events("catalog is too old, walks from the mount root fail")) == 1
        assert len(daemon.events("catalog is fresh again")) == 1


def is_refused(path: Path) -> bool:
    try:
        os.stat(path)
    except OSError as error:
        assert error.errno == errno.EIO
        return True
    return False


def test_daemon_ends_although_the_server_never_answers(place: Place, world: World) -> None:
    """V11, V14: a suspended server holds up neither readers nor the end."""
    world.database.publish(place.producer.write_run(partition("seen"), "r1", b"x\n"))
    with running(place, *world.options, engine="cached") as daemon, outage(daemon, world, TROUBLES["suspended"]):
        assert daemon.of(partition("seen")).read_bytes() == b"x\n"
        assert daemon.stop() == 0
        assert not mounts_at(daemon.path)


@pytest.mark.parametrize(
    "cycles", [17, pytest.param(1000, marks=[pytest.mark.long, pytest.mark.timeout(0)], id="1000")]
)
def test_outages_leak_neither_sessions_nor_descriptors_nor_threads(place: Place, world: World, cycles: int) -> None:
    """V11: one trouble after the other, for as long as it takes."""
    names = ["cut", "password", "sessions", "locked", "column", "renamed", "rights", "killed"]
    world.database.publish(place.producer.write_run(partition("seen"), "r1", b"x\n"))
    with mounted(place, *world.options, engine="cached") as daemon:
        descriptors = threads = 0
        for cycle in range(cycles):
            trouble = TROUBLES[names[cycle % len(names)]]
            trouble.begin(world)
            with pytest.raises(RefreshFailedError):
                refresh_twice(daemon)
            trouble.end(world)
            daemon.refresh()
            assert daemon.count("partitions") == ROWS + 1
            if cycle <= len(names):
                threads = max(threads, count_threads(daemon))  # how many are at work at a time is chance
            if cycle == len(names):
                descriptors = held_descriptors(daemon.pid)
        wait_until(lambda: held_descriptors(daemon.pid) <= descriptors, "no descriptor is held for longer")
        wait_until(lambda: count_threads(daemon) <= threads, "no thread lives for longer")
        assert len(world.database.sessions()) <= 1
        assert len(daemon.events(ENTERED)) == len(daemon.events(LEFT))
    wait_until(lambda: world.database.sessions() == [], "the daemon's sessions end with it")


def refresh_twice(daemon: Daemon) -> None:
    """Refresh; one that was under way when the trouble began is followed by another."""
    daemon.refresh()
    daemon.refresh()


def count_threads(daemon: Daemon) -> int:
    return len(os.listdir(f"/proc/{daemon.pid}/task"))
