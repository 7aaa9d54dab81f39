"""Each unit's service, lived through with what the unit grants: mount, read, refresh, a stop while in use, an end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from readyfs.errors import ExitCode
from readyfs.fuse.kernel_read_ahead import READ_AHEAD_KB
from readyfs.privileges import Capability
from tests.mount.daemon import ENGINES, Daemon, Place, partition, wait_until
from tests.systemd.service import (
    READER,
    SERVICE,
    Machine,
    as_user,
    close_to_others,
    machine,
    open_to_all,
    serving,
    thread_status,
    world,
)
from tests.systemd.units import PRIVILEGED, UNPRIVILEGED, shell_script

GRANTED = 1 << Capability.SYS_ADMIN | 1 << Capability.DAC_READ_SEARCH

UNPRIVILEGED_ENGINES = [name for name, arguments in ENGINES.items() if "passthrough" not in arguments]
"""Passthrough is what an ordinary user cannot have."""


@pytest.fixture
def place() -> Iterator[Place]:
    with world() as made:
        made.producer.write_and_publish(partition(), "r1", b"x\n")
        yield made


@pytest.fixture
def host() -> Iterator[Machine]:
    with machine() as made:
        yield made


@pytest.fixture
def privileged(host: Machine, place: Place, request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """The service of readyfs@.service over state and runs that only their owner may look at."""
    close_to_others(place)
    with serving(host, PRIVILEGED, place, engine=request.param) as daemon:
        yield daemon


@pytest.fixture
def unprivileged(host: Machine, place: Place, request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """The service of readyfs-unprivileged@.service over state and runs that everybody may look at."""
    open_to_all(place)
    os.chown(place.mountpoint, SERVICE, SERVICE)
    with serving(host, UNPRIVILEGED, place, engine=request.param) as daemon:
        yield daemon


as_privileged = pytest.mark.parametrize("privileged", ENGINES, indirect=True)
as_unprivileged = pytest.mark.parametrize("unprivileged", UNPRIVILEGED_ENGINES, indirect=True)


def read_as(host: Machine, user: int, path: Path) -> str:
    done = host.run(*as_user(user, "cat", path))
    return done.stdout + done.stderr


def publish(place: Place) -> Path:
    """Publish a second partition, closed to others; return its path below the mount."""
    place.producer.write_and_publish(partition(date="2024-06-02"), "r2", b"y\n")
    close_to_others(place)
    return Path(partition(date="2024-06-02").path, "payload.jsonl")


def hold(host: Machine, user: int, daemon: Daemon) -> subprocess.Popen[str]:
    """Start a reader that stays in a run's directory and reads again when it is told to."""
    directory = daemon.directory(partition())
    script = f"cd {directory} && cat payload.jsonl && read line && cat payload.jsonl"
    return subprocess.Popen(
        host.inside(*as_user(user, "sh", "-c", script)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def stop_while_held(host: Machine, user: int, daemon: Daemon) -> None:
    """A stop detaches the mount, the holder reads on, and the daemon ends when it has gone (V5)."""
    with hold(host, user, daemon) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "x\n", daemon.log_text()
        daemon.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not host.mounts_at(daemon.path), "the mount is detached")
        assert daemon.process.poll() is None
        said, _ = holder.communicate("\n", timeout=20)
        assert said == "x\n"
    assert daemon.wait_ended() == ExitCode.OK, daemon.log_text()
    assert daemon.events("mount is busy, detached it and goes on for open files")


def assert_ends_in_order(host: Machine, daemon: Daemon) -> None:
    assert daemon.stop() == ExitCode.OK, daemon.log_text()
    assert not host.mounts_at(daemon.path)
    assert not daemon.events("unmount failed, detaching") + daemon.events("detach failed")


# ---- readyfs@.service -----------------------------------------------------------------------------------------------


@as_privileged
def test_service_with_capabilities_serves_with_what_the_unit_grants_and_is_stopped_while_in_use(
    host: Machine, privileged: Daemon, place: Place
) -> None:
    """Files of mode 0600 below directories of mode 0700 are read, through a refresh too, by any user of the mount.

    Every thread holds what the unit grants and can pass on nothing.
    """
    mount = host.mounts_at(privileged.path)[-1]
    assert mount.owner[0] == SERVICE
    assert "allow_other" in mount.super_options
    assert read_as(host, READER, privileged.of(partition())) == "x\n"
    assert "Permission denied" in read_as(host, READER, place.state)
    second = publish(place)
    assert privileged.refresh()["appeared"] == 1
    assert read_as(host, READER, privileged.path / second) == "y\n"
    threads = thread_status(privileged.pid)
    assert len(threads) > 1
    for status in threads:
        assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd")} == {GRANTED}, status
        assert {int(status[name], 16) for name in ("CapInh", "CapAmb")} == {0}, status
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        assert status["Uid"].split() == [str(SERVICE)] * 4
    stop_while_held(host, READER, privileged)


@pytest.mark.parametrize("engine", ENGINES)
def test_service_with_capabilities_needs_no_set_uid_program(host: Machine, place: Place, engine: str) -> None:
    helper = shutil.which("fusermount3")
    assert helper is not None
    hide = host.run("mount", "--bind", "/dev/null", helper)
    assert hide.returncode == 0, hide.stderr
    with serving(host, PRIVILEGED, place, engine=engine) as daemon:
        assert read_as(host, READER, daemon.of(partition())) == "x\n"
        assert_ends_in_order(host, daemon)


@as_privileged
def test_killed_service_with_capabilities_is_cleared_away_by_its_unit(host: Machine, privileged: Daemon) -> None:
    privileged.kill()
    done = host.run("env", "EXIT_CODE=killed", "sh", "-c", shell_script(PRIVILEGED, "ExecStopPost"), privileged.path)
    assert (done.returncode, done.stderr) == (0, "")
    assert not host.mounts_at(privileged.path)


# ---- readyfs-unprivileged@.service ----------------------------------------------------------------------------------


@as_unprivileged
def test_service_without_privileges_serves_what_it_may_read_and_is_stopped_while_in_use(
    host: Machine, unprivileged: Daemon, place: Place
) -> None:
    """V10: a run that is closed to the service is broken; it is neither absent nor empty."""
    assert read_as(host, SERVICE, unprivileged.of(partition())) == "x\n"
    assert "Permission denied" in read_as(host, READER, unprivileged.of(partition()))
    for status in thread_status(unprivileged.pid):
        assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {0}, status
        assert status["NoNewPrivs"] == "0"
    place.producer.write_and_publish(partition(date="2024-06-02"), "r2", b"y\n")
    open_to_all(place)
    assert unprivileged.refresh()["appeared"] == 1
    assert read_as(host, SERVICE, unprivileged.of(partition(date="2024-06-02"))) == "y\n"
    place.producer.write_and_publish(partition(date="2024-06-03"), "r3", b"z\n")
    run = next(path for path in place.raw.rglob("*r3*") if path.is_dir())
    (run / "payload.jsonl").chmod(0o600)
    assert unprivileged.refresh()["appeared"] == 1
    said = read_as(host, SERVICE, unprivileged.of(partition(date="2024-06-03")))
    assert "Input/output error" in said
    assert unprivileged.events("run is broken")
    assert read_as(host, SERVICE, unprivileged.of(partition())) == "x\n"
    stop_while_held(host, SERVICE, unprivileged)


@as_unprivileged
def test_unit_without_privileges_raises_the_readahead_and_clears_away_a_killed_service(
    host: Machine, unprivileged: Daemon
) -> None:
    """Although root may not look into the mount."""
    major, minor = host.mounts_at(unprivileged.path)[-1].device
    setting = Path(f"/sys/class/bdi/{major}:{minor}/read_ahead_kb")
    assert int(setting.read_text()) < READ_AHEAD_KB
    done = host.run("sh", "-c", shell_script(UNPRIVILEGED, "ExecStartPost"), unprivileged.path)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(setting.read_text()) == READ_AHEAD_KB
    unprivileged.kill()
    assert host.mounts_at(unprivileged.path)
    script = shell_script(UNPRIVILEGED, "ExecStopPost")
    done = host.run("env", "EXIT_CODE=killed", *as_user(SERVICE, "sh", "-c", script, unprivileged.path))
    assert (done.returncode, done.stderr) == (0, "")
    assert not host.mounts_at(unprivileged.path)


# ---- both -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "engine"),
    [(PRIVILEGED, name) for name in ENGINES] + [(UNPRIVILEGED, name) for name in UNPRIVILEGED_ENGINES],
)
def test_stopped_mount_is_no_empty_tree_to_an_ordinary_user(
    host: Machine, place: Place, unit: Path, engine: str
) -> None:
    """Whoever mirrors it is told so, and deletes nothing; the service mounts on the unreadable directory."""
    (open_to_all if unit == UNPRIVILEGED else close_to_others)(place)
    if unit == UNPRIVILEGED:
        os.chown(place.mountpoint, SERVICE, SERVICE)
    assert host.run("sh", "-c", shell_script(unit, "ExecStartPre"), place.mountpoint).returncode == 0
    reader = SERVICE if unit == UNPRIVILEGED else READER
    assert "Permission denied" in host.run(*as_user(reader, "ls", place.mountpoint)).stderr
    with serving(host, unit, place, engine=engine) as daemon:
        assert read_as(host, reader, daemon.of(partition())) == "x\n"
        assert_ends_in_order(host, daemon)
    done = host.run(*as_user(reader, "ls", place.mountpoint))
    assert (done.returncode, done.stdout) == (2, "")
    assert "Permission denied" in done.stderr
