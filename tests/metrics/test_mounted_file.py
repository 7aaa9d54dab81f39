"""The metrics file of a real daemon: refused where it would do harm, kept during an outage, left behind by a kill."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from readyfs.errors import ExitCode
from tests.metrics.test_monitoring import sample
from tests.mount.daemon import Place, mounted, partition, running, try_to_mount, wait_until


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    with closing(found.producer):
        found.producer.write_and_publish(partition(), "r1", b"{}\n")
        yield found


def test_metrics_file_below_the_mount_point_is_refused(place: Place) -> None:
    done = try_to_mount(place, "--metrics-file", str(place.mountpoint / "x.prom"))
    assert done.returncode == ExitCode.MOUNT_POINT
    assert "metrics file" in done.stderr


def test_metrics_file_in_a_missing_directory_is_refused(place: Place) -> None:
    done = try_to_mount(place, "--metrics-file", str(place.base / "none" / "x.prom"))
    assert done.returncode == ExitCode.USAGE
    assert "--metrics-file" in done.stderr


def test_an_outage_is_told_and_its_end_too(place: Place) -> None:
    """V11."""
    file, hidden = place.base / "x.prom", place.base / "hidden.db"
    with mounted(place, "--metrics-file", str(file), "--interval", "100ms") as daemon:
        wait_until(lambda: sample(file, "readyfs_outage") == 0, "all is well")
        place.state.rename(hidden)
        wait_until(lambda: sample(file, "readyfs_outage") == 1, "the outage is told")
        wait_until(lambda: (sample(file, "readyfs_outage_seconds") or 0) > 0, "and for how long")
        assert (sample(file, "readyfs_refreshes_total", outcome="failed") or 0) > 0
        hidden.rename(place.state)
        daemon.refresh()
        wait_until(lambda: sample(file, "readyfs_outage") == 0, "its end is told")


def test_a_directory_that_is_gone_hurts_nobody_and_a_new_one_is_used(place: Place) -> None:
    directory = place.base / "prom"
    directory.mkdir()
    file = directory / "x.prom"
    with mounted(place, "--metrics-file", str(file), "--interval", "100ms") as daemon:
        wait_until(file.exists, "it is written")
        directory.rename(place.base / "moved")
        wait_until(lambda: bool(daemon.events("the metrics file cannot be written")), "it is logged")
        assert daemon.of(partition()).read_bytes() == b"{}\n"
        directory.mkdir()
        wait_until(file.exists, "it is written again")
        assert len(daemon.events("the metrics file cannot be written")) == 1


def test_a_killed_daemon_leaves_its_file(place: Place) -> None:
    file = place.base / "x.prom"
    with running(place, "--metrics-file", str(file)) as daemon:
        wait_until(file.exists, "it is written")
        daemon.kill()
        assert sample(file, "readyfs_up") == 1
