"""The hidden control directory: reachable by name, never listed."""

from __future__ import annotations

import errno
import json
import os
import subprocess

from tests.mount.daemon import Place, fails_with, files_below, mounted, partition


def test_control_directory_is_reachable_and_never_listed(place: Place, engine: str) -> None:
    """V1, V12: no tool that walks or globs finds it; its explicit path works."""
    place.producer.write_and_publish(partition(), "r1", b"x\n")
    with mounted(place, engine=engine) as daemon:
        assert os.listdir(daemon.path / ".readyfs") == ["at", "socket", "status.json", "views"]
        for _ in range(2):
            assert os.listdir(daemon.path) == ["c1"]
            assert all(path.startswith("c1/") for path in files_below(daemon.path))
        found = subprocess.run(["find", daemon.path, "-name", "*.json"], capture_output=True, timeout=30, check=True)
        assert found.stdout.count(b"\n") == 1
        listed = subprocess.run(["ls", "-a", daemon.path], capture_output=True, timeout=30, check=True)
        assert listed.stdout.split() == [b".", b"..", b"c1"]
        assert not (daemon.path / ".readyfs/other").exists()
        assert not (daemon.path / "c1/.readyfs").exists()
        with fails_with(errno.EISDIR):
            os.open(daemon.path / ".readyfs", os.O_WRONLY)


def test_status_file_says_what_the_status_command_says(place: Place, engine: str) -> None:
    """V11: made anew for every open, and whole for whoever has it open."""
    place.producer.write_and_publish(partition(), "r1", b"x\n")
    with mounted(place, engine=engine) as daemon:
        file = daemon.path / ".readyfs/status.json"
        with open(file, "rb") as held:
            first = json.loads(file.read_bytes())
            assert first.keys() == daemon.status().keys()
            assert (first["partitions"], first["revision"]) == (1, 1)
            place.producer.set_ready(partition(date="2024-06-02"), "r1")
            daemon.refresh()
            again = json.loads(file.read_bytes())
            assert (again["partitions"], again["revision"]) == (2, 2)
            assert json.loads(held.read())["revision"] == 1
        assert int(subprocess.run(["wc", "-c", file], capture_output=True, check=True).stdout.split()[0]) > 100


def test_status_has_every_promised_member(place: Place, engine: str) -> None:
    """V11: age and cause of an outage among them."""
    with mounted(place, engine=engine) as daemon:
        promised = (
            "mountpoint pid engine revision fingerprint partitions withheld broken refreshed_at age_seconds stale "
            "state_error interval_seconds lock_ms open_handles inodes uptime_seconds version"
        )
        status = daemon.status()
        assert set(promised.split()) <= status.keys()
        assert (status["mountpoint"], status["pid"]) == (str(daemon.path), daemon.pid)
