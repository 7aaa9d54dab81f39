"""V11: while the state store cannot be read, the last good catalog is served, and its age is no secret."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from readyfs.errors import RefreshFailedError
from tests.mount.daemon import EACH_ENGINE_ONCE, Daemon, Place, fails_with, mounted, partition, wait_until


@pytest.fixture(params=EACH_ENGINE_ONCE)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def remove(state: Path) -> None:
    state.unlink()


def fill_with_garbage(state: Path) -> None:
    state.unlink()
    state.write_bytes(os.urandom(8192))


def empty(state: Path) -> None:
    state.unlink()
    state.write_bytes(b"")


def replace_by_directory(state: Path) -> None:
    state.unlink()
    state.mkdir()


def drop_table(state: Path) -> None:
    state.unlink()
    with closing(sqlite3.connect(state)) as other:
        other.execute("CREATE TABLE something_else(x)")


def put_back(state: Path, good: Path) -> None:
    if state.is_dir():
        state.rmdir()
    good.replace(state)


@pytest.mark.parametrize("damage", [remove, fill_with_garbage, empty, replace_by_directory, drop_table])
def test_last_good_catalog_is_served_through_an_outage(
    place: Place, engine: str, damage: Callable[[Path], None]
) -> None:
    """V11: no ENOENT and no empty listing because of it; cause in status and log, one line in and one line out."""
    part, unseen = partition(), partition(date="2024-06-02")
    place.producer.write_and_publish(part, "r1", b"x\n")
    with mounted(place, "--interval", "50ms", "--state-timeout", "100ms", engine=engine) as daemon:
        place.producer.close()
        good = place.state.with_name("good.db")
        os.link(place.state, good)
        before = daemon.status()
        damage(place.state)
        wait_until(lambda: daemon.status()["state_error"] is not None, "the outage is in the status")
        for _ in range(2):
            with pytest.raises(RefreshFailedError):
                daemon.refresh()
        assert os.listdir(daemon.path / "c1/q1") == ["2024-06-01"]
        assert daemon.of(part).read_bytes() == b"x\n"
        during = daemon.status()
        assert (during["revision"], during["partitions"], during["stale"]) == (before["revision"], 1, False)
        assert during["state_error_since"] is not None
        assert len(daemon.events("state cannot be read, serving the last good catalog")) == 1

        put_back(place.state, good)
        place.producer = type(place.producer)(place.state, place.raw)
        place.producer.write_and_publish(unseen, "r1", b"new\n")
        wait_until(daemon.of(unseen).exists, "the recovered state is seen")
        wait_until(lambda: daemon.status()["state_error"] is None, "the outage is over")
        assert len(daemon.events("state can be read again")) == 1


def test_age_grows_during_an_outage_and_not_in_a_quiet_state(place: Place, engine: str) -> None:
    """V11: age counts from the last look that succeeded, whether or not anything had changed."""
    place.producer.write_and_publish(partition(), "r1", b"x\n")
    with mounted(place, "--interval", "50ms", engine=engine) as daemon:
        first = daemon.status()["refreshed_at"]
        wait_until(lambda: daemon.status()["refreshed_at"] != first, "a quiet state is looked at")
        assert daemon.count("revision") == 1

        place.state.rename(place.state.with_name("away.db"))
        wait_until(lambda: daemon.status()["state_error"] is not None, "the outage is noticed")
        last = daemon.status()["refreshed_at"]
        wait_until(lambda: age(daemon) > 0.5, "the age grows")
        assert daemon.status()["refreshed_at"] == last
        assert float(os.getxattr(daemon.path, "user.readyfs.age_seconds")) > 0.5

        place.state.with_name("away.db").rename(place.state)
        daemon.refresh()
        wait_until(lambda: age(daemon) < 0.5, "the state is looked at again")


def age(daemon: Daemon) -> float:
    value = daemon.status()["age_seconds"]
    assert isinstance(value, float)
    return value


def test_walks_from_the_root_fail_past_the_staleness_limit(place: Place, engine: str) -> None:
    """V11: root lookups and the root listing answer EIO, cached ones too; who is below goes on; it ends by itself."""
    part = partition()
    place.producer.write_and_publish(part, "r1", b"x\n")
    options = ("--interval", "100ms", "--max-staleness", "2s", "--name-timeout", "1h")
    with mounted(place, *options, engine=engine) as daemon:
        assert os.listdir(daemon.path) == ["c1"]
        assert daemon.of(part).read_bytes() == b"x\n"
        asked = daemon.requests("lookup")
        for _ in range(2):
            assert not (daemon.path / "c2").exists()
        assert daemon.requests("lookup") == asked + 2, "an absence that is remembered outlasts the limit"
        below = os.open(daemon.path / "c1", os.O_RDONLY | os.O_DIRECTORY)
        root = os.open(daemon.path, os.O_RDONLY | os.O_DIRECTORY)
        opened = os.open(daemon.of(part), os.O_RDONLY)
        try:
            place.state.rename(place.state.with_name("away.db"))
            wait_until(lambda: daemon.status()["stale"] is True, "the catalog is too old")
            wait_until(lambda: fails_at_root(daemon, "c1"), "the kernel forgot the root's names")
            for path in ("c1", part.path, f"{part.path}/payload.jsonl", "c2"):
                with fails_with(errno.EIO):
                    os.stat(daemon.path / path)
            for listed in (daemon.path, root):
                with fails_with(errno.EIO):
                    os.listdir(listed)
            with fails_with(errno.EIO):
                os.stat("c1", dir_fd=root)

            assert os.listdir(below) == ["q1"]
            assert os.stat("q1/2024-06-01/payload.jsonl", dir_fd=below).st_size == 2
            with open(os.open("q1/2024-06-01/payload.jsonl", os.O_RDONLY, dir_fd=below), "rb") as file:
                assert file.read() == b"x\n"
            assert os.pread(opened, 2, 0) == b"x\n"
            status = json.loads((daemon.path / ".readyfs/status.json").read_bytes())
            assert status["stale"] is True
            assert status["state_error"]
            assert daemon.path.stat().st_mode

            place.state.with_name("away.db").rename(place.state)
            daemon.refresh()
            assert daemon.status()["stale"] is False
            assert os.listdir(daemon.path) == os.listdir(root) == ["c1"]
            assert daemon.of(part).read_bytes() == b"x\n"
            assert not (daemon.path / "c2").exists()
        finally:
            for held in (below, root, opened):
                os.close(held)
        assert len(daemon.events("catalog is too old, walks from the mount root fail")) == 1
        assert len(daemon.events("catalog is fresh again")) == 1


def fails_at_root(daemon: Daemon, name: str) -> bool:
    try:
        os.stat(daemon.path / name)
    except OSError as error:
        assert error.errno == errno.EIO
        return True
    return False


def test_locked_state_is_waited_for_then_an_outage(place: Place, engine: str) -> None:
    """V11: a writer that holds the lock too long is an outage, and nothing but that."""
    part = partition()
    place.producer.write_and_publish(part, "r1", b"x\n")
    with mounted(place, "--state-timeout", "200ms", engine=engine) as daemon:
        with closing(sqlite3.connect(place.state, isolation_level=None)) as writer:
            writer.execute("BEGIN EXCLUSIVE")
            with pytest.raises(RefreshFailedError):
                daemon.refresh()
            assert daemon.of(part).read_bytes() == b"x\n"
            writer.execute("ROLLBACK")
        daemon.refresh()
        assert daemon.status()["state_error"] is None


def test_replaced_state_file_is_read_anew(place: Place, engine: str, tmp_path: Path) -> None:
    """V11, V3: a restored backup is another file under the same name, and is what counts from then on."""
    part = partition()
    run = place.producer.write_and_publish(part, "r1", b"first\n")
    with mounted(place, engine=engine) as daemon:
        assert daemon.of(part).read_bytes() == b"first\n"
        place.producer.close()
        other = type(place.producer)(tmp_path / "restored.db", place.raw)
        other.write_run(part, "r2", b"second\n")
        other.set_ready(part, "r2")
        other.close()
        (tmp_path / "restored.db").replace(place.state)
        daemon.refresh()
        assert daemon.of(part).read_bytes() == b"second\n"
        assert run.directory.exists()
