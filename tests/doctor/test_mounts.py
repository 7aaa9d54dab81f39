"""Dead, hung and living mounts, the place of the next one and who sees it: on real mounts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from readyfs.doctor.finding import Finding, Verdict
from readyfs.doctor.mounts import look_at_daemons, look_at_dead_mounts, look_at_place, look_at_propagation
from readyfs.doctor.subject import Places
from readyfs.fuse.mount_point import Reserved
from tests.doctor import shared_namespace
from tests.doctor.subjects import make_subject, the, verdicts
from tests.fuse.live_mount import COMMAND_S, foreign_mount, readyfs_mount, table_lines
from tests.mount.daemon import Daemon, Place, running

ROOT = Path(__file__).parents[2]


def of(place: Path, findings: Iterator[Finding]) -> list[Finding]:
    """Return what is said of one mount: others may mount here meanwhile."""
    return [one for one in findings if str(place) in one.summary]


@pytest.fixture
def mountpoint(tmp_path: Path) -> Path:
    made = tmp_path / "a place"
    made.mkdir()
    return made


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Place]:
    """An empty state table, an empty raw root and a mount point."""
    found = Place(tmp_path)
    yield found
    found.producer.close()


def test_a_dead_mount_is_a_problem_and_the_remedy_clears_it(mountpoint: Path) -> None:
    with readyfs_mount(mountpoint) as daemon:
        assert of(mountpoint, look_at_dead_mounts()) == []
        assert the("dead-mounts", iter(list(look_at_dead_mounts())[-1:])).verdict is Verdict.OK
        daemon.kill()
        daemon.wait(COMMAND_S)
        (found,) = of(mountpoint, look_at_dead_mounts())
        assert (found.verdict, found.remedy) == (Verdict.PROBLEM, f"readyfs umount '{mountpoint}'")
        remedy = found.remedy.replace("readyfs", f"{sys.executable} -m readyfs", 1)
        subprocess.run(["sh", "-c", remedy], check=True, timeout=30, stdout=subprocess.DEVNULL)
        assert table_lines(mountpoint) == []


def test_a_hung_mount_is_a_problem_and_is_not_waited_for(mountpoint: Path) -> None:
    with readyfs_mount(mountpoint, "statfs=hang"):
        (found,) = of(mountpoint, look_at_dead_mounts(timeout_s=0.5))
        assert found.verdict is Verdict.PROBLEM
        assert "does not answer within 500ms" in found.summary


def test_a_stopped_daemon_is_a_hung_mount(mountpoint: Path) -> None:
    with readyfs_mount(mountpoint) as daemon:
        daemon.send_signal(signal.SIGSTOP)
        try:
            (found,) = of(mountpoint, look_at_dead_mounts(timeout_s=0.5))
        finally:
            daemon.send_signal(signal.SIGCONT)
        assert "stopped or stuck" in found.summary


def test_a_dead_mount_below_another_file_system_is_not_asked(mountpoint: Path) -> None:
    with readyfs_mount(mountpoint) as daemon:
        daemon.kill()
        daemon.wait(COMMAND_S)
        with foreign_mount(mountpoint):
            assert of(mountpoint, look_at_dead_mounts()) == []


def test_a_fit_place_is_fine_and_left_as_it_is(mountpoint: Path, tmp_path: Path) -> None:
    before = mountpoint.stat()
    reserved = [Reserved(tmp_path / "raw", "raw root")]
    assert the("mount-point", look_at_place(mountpoint, reserved)).verdict is Verdict.OK
    assert mountpoint.stat() == before


def test_a_missing_place_is_a_problem_that_the_remedy_mends(mountpoint: Path) -> None:
    place = mountpoint / "b c"
    found = the("mount-point", look_at_place(place, ()))
    assert found.verdict is Verdict.PROBLEM
    subprocess.run(["sh", "-c", found.remedy], check=True, timeout=10)
    assert the("mount-point", look_at_place(place, ())).verdict is Verdict.OK


def test_overlap_is_a_problem_before_and_after_the_mount(mountpoint: Path) -> None:
    raw = [Reserved(mountpoint.parent, "raw root")]
    assert "lies inside the raw root" in the("mount-point", look_at_place(mountpoint, raw)).summary
    with readyfs_mount(mountpoint):
        assert "lies inside the raw root" in the("mount-point", look_at_place(mountpoint, raw)).summary
        assert the("mount-point", look_at_place(mountpoint, ())).verdict is Verdict.OK


def test_a_place_with_files_or_a_mount_is_a_problem(mountpoint: Path) -> None:
    with foreign_mount(mountpoint):
        assert "tmpfs" in the("mount-point", look_at_place(mountpoint, ())).summary
    (mountpoint / "file").touch()
    assert "not empty" in the("mount-point", look_at_place(mountpoint, ())).summary


def test_a_dead_mount_is_not_cleared_by_looking_at_its_place(mountpoint: Path) -> None:
    with readyfs_mount(mountpoint) as daemon:
        daemon.kill()
        daemon.wait(COMMAND_S)
        list(look_at_place(mountpoint, ()))
        assert table_lines(mountpoint) == ["fuse.readyfs"]


def test_propagation_is_told_for_shared_private_and_slave_mounts(tmp_path: Path) -> None:
    """A private mount namespace with one mount of each kind; the remedy makes a private one shared."""
    done = subprocess.run(
        [sys.executable, shared_namespace.__file__, tmp_path],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
    )
    lines = dict(line.split(": ") for line in done.stdout.splitlines())
    assert lines == {
        "shared": "ok",
        "private": "note a private mount",
        "slave": "note a slave mount",
        "remedied": "ok",
        "own namespace": "warning",
    }


def test_the_first_namespace_is_no_warning(tmp_path: Path) -> None:
    places = Places(first_namespace=Path("/proc/self/ns/mnt"))
    assert "warning" not in verdicts(look_at_propagation(make_subject(places=places))).values()
    unknown = Places(first_namespace=tmp_path / "unreadable")
    assert "warning" not in verdicts(look_at_propagation(make_subject(places=unknown))).values()


def test_without_a_daemon_there_is_nothing_to_say(mountpoint: Path, tmp_path: Path) -> None:
    subject = make_subject(mountpoint=mountpoint, runtime_dir=tmp_path / "run")
    assert "no daemon serves" in the("daemon", look_at_daemons(subject)).summary
    assert "has registered" in the("daemon", look_at_daemons(make_subject(runtime_dir=tmp_path / "run"))).summary


def test_a_mount_whose_daemon_does_not_listen_is_a_warning(mountpoint: Path, tmp_path: Path) -> None:
    with readyfs_mount(mountpoint):
        subject = make_subject(mountpoint=mountpoint, runtime_dir=tmp_path / "run")
        found = the("daemon", look_at_daemons(subject))
    assert (found.verdict, "no daemon listens" in found.summary) == (Verdict.WARNING, True)


def test_a_daemon_is_fresh_until_its_state_is_gone(world: Place) -> None:
    with running(world) as daemon:
        subject = make_subject(mountpoint=daemon.path, runtime_dir=world.runtime_dir)
        assert the("daemon", look_at_daemons(subject)).verdict is Verdict.OK
        everything = make_subject(runtime_dir=world.runtime_dir)
        assert "is served" in the("daemon", look_at_daemons(everything)).summary
        lose_state(daemon)
        found = the("daemon", look_at_daemons(subject))
        assert (found.verdict, "the state is unreadable" in found.summary) == (Verdict.PROBLEM, True)


def test_a_mount_that_shows_nothing_of_a_full_table_is_a_warning_without_any_settings(world: Place) -> None:
    world.insert("ads", "001", "q", "2024-06-01", "r1")
    world.change("UPDATE partition_state SET status = 'SUCCESS'")
    with running(world) as daemon:
        found = the("daemon", look_at_daemons(make_subject(mountpoint=daemon.path, runtime_dir=world.runtime_dir)))
    assert found.verdict is Verdict.WARNING
    assert "0 of 1 rows are ready: column status" in found.summary


def test_a_daemon_that_does_not_answer_is_a_problem(world: Place) -> None:
    with running(world) as daemon:
        os.kill(daemon.pid, signal.SIGSTOP)
        try:
            subject = make_subject(mountpoint=daemon.path, runtime_dir=world.runtime_dir)
            found = the("daemon", look_at_daemons(subject))
        finally:
            os.kill(daemon.pid, signal.SIGCONT)
        assert (found.verdict, "did not answer" in found.summary) == (Verdict.PROBLEM, True)


def lose_state(daemon: Daemon) -> None:
    daemon.place.state.rename(daemon.place.base / "elsewhere.db")
    subprocess.run(
        [sys.executable, "-m", "readyfs", "refresh", daemon.path, "--runtime-dir", daemon.place.runtime_dir, "--wait"],
        check=False,
        timeout=30,
        capture_output=True,
    )
