"""V11: through a real mount, a table that was emptied is held back, over restarts too, until somebody accepts it."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Final

import pytest

from readyfs.demo.producer import LogicalPartition
from readyfs.errors import ExitCode
from tests.mount.daemon import (
    EACH_ENGINE_ONCE,
    PATIENCE_S,
    Daemon,
    Place,
    fails_with,
    files_below,
    mounted,
    partition,
    running,
    try_to_mount,
    wait_until,
)
from tests.mount.forked import run_forked
from tests.postgres.database import StateDatabase

GUARDED: Final = ("--max-retract", "50%", "--retract-floor", "3")
EMPTY: Final = "UPDATE partition_state SET status = 'pending'"
REFILL: Final = "UPDATE partition_state SET status = 'success'"
DAYS: Final = range(1, 9)


@pytest.fixture(params=EACH_ENGINE_ONCE)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def day(number: int) -> LogicalPartition:
    return partition(date=f"2024-06-{number:02}")


@pytest.fixture
def filled(place: Place) -> Place:
    """A table of eight partitions."""
    for number in DAYS:
        place.producer.write_and_publish(day(number), "r1", b"%d\n" % number)
    return place


def command(place: Place, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command that asks the daemon."""
    name, *rest = words
    return run_forked([name, str(place.mountpoint), "--runtime-dir", str(place.runtime_dir), *rest], PATIENCE_S)


def fingerprint(daemon: Daemon) -> str:
    held = daemon.status()["held_back_fingerprint"]
    assert isinstance(held, str)
    return held


def assert_whole(daemon: Daemon) -> None:
    """Check that all eight partitions are there, to a walk and to a reader."""
    assert sorted(os.listdir(daemon.path / "c1/q1")) == [f"2024-06-{number:02}" for number in DAYS]
    for number in DAYS:
        assert daemon.of(day(number)).read_bytes() == b"%d\n" % number


def test_emptied_table_is_held_back_and_told_and_shown_when_it_is_accepted(filled: Place, engine: str) -> None:
    with mounted(filled, *GUARDED, "--interval", "50ms", engine=engine) as daemon:
        before = daemon.status()
        assert len(files_below(daemon.path)) == 16
        filled.change(EMPTY)
        wait_until(lambda: daemon.status()["held_back_fingerprint"] is not None, "it is held back")
        assert_whole(daemon)
        during = daemon.status()
        assert (during["revision"], during["fingerprint"]) == (before["revision"], before["fingerprint"])
        assert during["held_back_partitions"] == 0
        cause = "the state would retract 8 of 8 partitions, more than --max-retract 50% allows"
        assert during["state_error"] == cause
        accept = f"readyfs refresh {daemon.path} --accept {fingerprint(daemon)}"
        (line,) = daemon.events("a catalog is held back, serving the one before")
        assert (line["cause"], line["accept"]) == (cause, accept)

        refused = command(filled, "refresh", "--wait")
        assert refused.returncode == ExitCode.REFRESH_FAILED
        assert refused.stderr == (
            f"readyfs: the state is held back: {cause}; if that is right: {accept}; the last good catalog is still "
            "served\n"
        )
        assert accept in command(filled, "status").stdout
        doctor = command(filled, "doctor", "--only", "daemon", "--json")
        (finding,) = json.loads(doctor.stdout)["findings"]
        assert (doctor.returncode, finding["verdict"]) == (ExitCode.FOUND, "problem")
        assert cause in finding["summary"] and finding["remedy"].startswith(accept)

        other = command(filled, "refresh", "--accept", "0" * 32)
        assert other.returncode == ExitCode.REFRESH_FAILED
        assert f"the state has the fingerprint {fingerprint(daemon)} now" in other.stderr and accept in other.stderr
        assert_whole(daemon)
        assert command(filled, "refresh", "--accept", "rubbish").returncode == ExitCode.USAGE

        accepted = command(filled, *accept.split()[1:2], *accept.split()[3:])
        assert (accepted.returncode, accepted.stderr) == (0, "")
        assert accepted.stdout == f"refreshed {daemon.path}: 8 retracted (revision 2)\n"
        assert os.listdir(daemon.path) == []
        assert daemon.status()["state_error"] is None
        (line,) = daemon.events("no catalog is held back any more")
        assert line["reason"] == "accepted"


def test_table_that_comes_back_is_shown_with_all_that_changed_meanwhile(filled: Place, engine: str) -> None:
    """V3, V4: and what it was held back for is never seen."""
    with mounted(filled, *GUARDED, engine=engine) as daemon:
        assert_whole(daemon)
        filled.change(EMPTY)
        assert command(filled, "refresh", "--wait").returncode == ExitCode.REFRESH_FAILED
        filled.producer.write_and_publish(day(2), "r2", b"new\n")
        filled.producer.write_and_publish(partition("c2"), "r1", b"other\n")
        assert command(filled, "refresh", "--wait").returncode == ExitCode.REFRESH_FAILED
        assert_whole(daemon)
        assert not daemon.of(partition("c2")).exists()
        filled.change(REFILL)
        filled.producer.delete_row(day(1))
        changed = daemon.refresh()
        assert {kind: changed[kind] for kind in ("appeared", "switched", "retracted")} == {
            "appeared": 1,
            "switched": 1,
            "retracted": 1,
        }
        assert daemon.of(day(2)).read_bytes() == b"new\n"
        assert daemon.of(day(3)).read_bytes() == b"3\n"
        assert daemon.of(partition("c2")).read_bytes() == b"other\n"
        assert not daemon.directory(day(1)).exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_restart_does_not_pass_the_guard_by(filled: Place, number: signal.Signals) -> None:
    """However it ended, and from what was shown last, not at the start."""
    with running(filled, *GUARDED) as daemon:
        for more in (9, 10):
            filled.producer.write_and_publish(day(more), "r1", b"x\n")
        daemon.refresh()
        daemon.stop(number)
    filled.change(f"{EMPTY} WHERE logical_date > '2024-06-04'")
    assert try_to_mount(filled, *GUARDED).returncode == ExitCode.STATE
    refused = try_to_mount(filled, *GUARDED)
    assert refused.returncode == ExitCode.STATE
    assert "would retract 6 of 10 partitions that were shown last" in refused.stderr
    assert "Traceback" not in refused.stderr
    shown = refused.stderr.rpartition("--accept ")[2].strip()
    assert try_to_mount(filled, *GUARDED, "--accept", "0" * 32).returncode == ExitCode.STATE
    with mounted(filled, *GUARDED, "--accept", shown) as daemon:
        assert len(os.listdir(daemon.path / "c1/q1")) == 4
    with mounted(filled, *GUARDED):  # what was accepted is the new baseline
        pass


def test_restart_while_something_is_held_back_serves_nothing_less(filled: Place) -> None:
    with running(filled, *GUARDED) as daemon:
        filled.change(EMPTY)
        assert command(filled, "refresh", "--wait").returncode == ExitCode.REFRESH_FAILED
        shown = fingerprint(daemon)
        daemon.kill()
    assert f"--accept {shown}" in try_to_mount(filled, *GUARDED).stderr
    filled.change(REFILL)
    with mounted(filled, *GUARDED) as daemon:
        assert_whole(daemon)


def test_emptied_table_that_stays_is_shown_after_a_while_and_after_restarts_too(filled: Place) -> None:
    options = (*GUARDED, "--interval", "50ms", "--retract-after", "1s")
    with running(filled, *options) as daemon:
        filled.change(EMPTY)
        wait_until(lambda: daemon.status()["held_back_fingerprint"] is not None, "it is held back")
        daemon.kill()
    refused = try_to_mount(filled, *GUARDED, "--retract-after", "1h")
    assert "or mount again in " in refused.stderr
    wait_until(lambda: try_to_mount_once(filled, *options), "what has been seen for a second is mounted")


def try_to_mount_once(place: Place, *options: str) -> bool:
    try:
        with mounted(place, *options) as daemon:
            assert os.listdir(daemon.path) == []
    except AssertionError as error:
        assert "would retract 8 of 8" in str(error)
        return False
    return True


def test_held_back_table_grows_too_old(filled: Place) -> None:
    options = (*GUARDED, "--interval", "50ms", "--max-staleness", "1s")
    with mounted(filled, *options) as daemon:
        filled.change(EMPTY)
        wait_until(lambda: daemon.status()["stale"] is True, "the catalog is too old")
        with fails_with(errno.EIO):
            os.listdir(daemon.path)
        daemon.client.refresh(wait=True, accept=fingerprint(daemon))
        assert os.listdir(daemon.path) == []


def test_baseline_that_cannot_be_written_is_told_and_stops_nothing(filled: Place) -> None:
    with mounted(filled, *GUARDED, "--interval", "50ms") as daemon:
        baselines = filled.base / "var/baselines"
        baselines.rename(baselines.with_name("away"))
        baselines.write_bytes(b"")
        filled.producer.delete_row(day(8))
        wait_until(lambda: daemon.status()["baseline_error"] is not None, "it is told")
        assert daemon.count("partitions") == 7
        doctor = command(filled, "doctor", "--only", "daemon", "--json")
        (finding,) = json.loads(doctor.stdout)["findings"]
        assert (finding["verdict"], "cannot write its baseline" in finding["summary"]) == ("warning", True)
        filled.change(EMPTY)
        wait_until(lambda: daemon.status()["held_back_fingerprint"] is not None, "the guard works on")
        baselines.unlink()
        baselines.with_name("away").rename(baselines)
        wait_until(lambda: daemon.status()["baseline_error"] is None, "it is written again")
        assert len(daemon.events("the baseline of retractions cannot be written")) == 1
        assert len(daemon.events("the baseline of retractions can be written again")) == 1


def test_reload_shows_nothing_that_is_held_back(filled: Place) -> None:
    with mounted(filled, *GUARDED) as daemon:
        filled.change(EMPTY)
        os.kill(daemon.pid, signal.SIGHUP)
        wait_until(lambda: daemon.status()["held_back_fingerprint"] is not None, "it is held back")
        assert_whole(daemon)


def test_mounts_of_one_table_have_their_own_baselines(filled: Place, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Place(tmp_path / "other")
    options = (*GUARDED, "--state", str(filled.state), "--raw", str(filled.raw), "--state-dir", str(tmp_path / "var"))
    with mounted(filled, *options):
        pass
    filled.change(EMPTY)
    with mounted(other, *options) as daemon:
        assert os.listdir(daemon.path) == []
    assert try_to_mount(filled, *options).returncode == ExitCode.STATE
    other.producer.close()


def test_mount_without_the_guard_keeps_no_baseline_and_ends_one(filled: Place) -> None:
    baselines = filled.base / "var/baselines"
    with mounted(filled):
        assert not baselines.exists()
    with mounted(filled, *GUARDED):
        assert len(os.listdir(baselines)) == 1
    filled.change(EMPTY)
    with mounted(filled):
        assert os.listdir(baselines) == []
    with mounted(filled, *GUARDED) as daemon:
        assert os.listdir(daemon.path) == []


def test_baseline_that_cannot_be_read_is_no_pass(filled: Place) -> None:
    with mounted(filled, *GUARDED):
        pass
    (baseline,) = (filled.base / "var/baselines").iterdir()
    baseline.write_bytes(baseline.read_bytes()[:40])
    filled.change(EMPTY)
    refused = try_to_mount(filled, *GUARDED)
    assert refused.returncode == ExitCode.STATE
    assert "the baseline of retractions cannot be read" in refused.stderr
    assert "Traceback" not in refused.stderr
    shown = refused.stderr.rpartition("--accept ")[2].strip()
    with mounted(filled, *GUARDED, "--accept", shown):
        pass


def test_emptied_postgresql_table_is_held_back_and_followed_rightly(place: Place, postgres: StateDatabase) -> None:
    """V3, V4: what the store remembers meanwhile is not what is in force."""
    for number in DAYS:
        postgres.publish(place.producer.write_run(day(number), "r1", b"%d\n" % number))
    with mounted(place, *GUARDED, "--state", postgres.url(), "--interval", "50ms") as daemon:
        postgres.execute(EMPTY)
        wait_until(lambda: daemon.status()["held_back_fingerprint"] is not None, "it is held back")
        first = fingerprint(daemon)
        postgres.publish(place.producer.write_run(day(2), "r2", b"new\n"))
        wait_until(lambda: fingerprint(daemon) != first, "a change is seen, and held back, too")
        assert_whole(daemon)
        postgres.execute(REFILL)
        wait_until(lambda: daemon.status()["state_error"] is None, "it is back")
        assert daemon.of(day(2)).read_bytes() == b"new\n"
        assert daemon.of(day(3)).read_bytes() == b"3\n"
        postgres.execute("TRUNCATE partition_state")
        wait_until(lambda: daemon.status()["held_back_fingerprint"] is not None, "it is held back")
        daemon.client.refresh(wait=True, accept=fingerprint(daemon))
        assert os.listdir(daemon.path) == []
