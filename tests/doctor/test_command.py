"""`readyfs doctor` on the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from readyfs.cli.main import main
from readyfs.doctor.examine import NAMES
from tests.fuse.live_mount import clear
from tests.mount.daemon import Place, partition, running


@pytest.fixture(autouse=True)
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if "READYFS" in name]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("READYFS_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("READYFS_STATE_DIR", str(tmp_path / "var"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    found = Place(tmp_path)
    found.producer.write_and_publish(partition(), "r1", b"{}\n")
    found.producer.close()
    return found


def run(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capfd.readouterr()
    code = main(["doctor", *arguments])
    captured = capfd.readouterr()
    return code, captured.out, captured.err


def test_it_needs_no_settings(capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capfd, "--only", "fuse-device", "--only", "kernel")
    assert (code, err) == (0, "")
    assert out.startswith("machine\n  ok       fuse-device      /dev/fuse can be read and written\n")
    assert out.endswith("\n\nnothing is wrong\n")


def test_every_check_is_made_where_everything_is_named(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = [str(place.mountpoint), "--state", str(place.state), "--raw", str(place.raw), "--json"]
    pins = place.base / "pins"
    pins.mkdir()
    _, out, err = run(capfd, *arguments, "--pin-store", str(pins))
    report = json.loads(out)
    assert err == ""
    assert list(dict.fromkeys(one["check"] for one in report["findings"])) == list(NAMES)
    assert set(report["findings"][0]) == {"group", "check", "finding", "verdict", "summary", "remedy"}
    assert [one for one in report["findings"] if one["verdict"] == "problem" and one["check"] != "dead-mounts"] == []


def test_a_problem_is_exit_code_12_and_its_remedy_is_shown(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    inside = place.raw / "mnt"
    code, out, _ = run(capfd, str(inside), "--only", "mount-point")
    assert code == 12
    assert f"fix: mkdir -p {inside}\n" in out
    assert out.endswith("1 problem\n")
    inside.mkdir()
    assert run(capfd, str(inside), "--only", "mount-point")[0] == 0
    code, out, _ = run(capfd, str(inside), "--only", "mount-point", "--raw", str(place.raw), "--json")
    assert (code, json.loads(out)["verdict"]) == (12, "problem")


def test_settings_at_odds_are_a_finding(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    stores = ["--state", str(place.state), "--raw", str(place.raw)]
    code, out, _ = run(capfd, *stores, "--only", "settings", "--since", "2024-02-01", "--until", "2024-01-01")
    assert code == 12
    assert "--since is later than --until" in out
    code, out, _ = run(capfd, *stores, "--state-file", "/nonexistent", "--only", "settings", "--only", "state")
    assert code == 12
    assert out.count("problem  ") == 1


def test_an_unknown_check_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capfd, "--only", "fuse")
    assert code == 2
    assert err.startswith("readyfs: no check is called fuse; choose from user, compiled-part, ")


def test_colours_are_for_terminals(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    assert "\x1b" not in run(capfd, "--only", "user")[1]
    command = f"{sys.executable} -m readyfs doctor --only user"
    for environ, expected in (({}, True), ({"NO_COLOR": "1"}, False)):
        shown = subprocess.run(
            ["script", "-qec", command, "/dev/null"],
            env={**os.environ, "TERM": "xterm", **environ},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=30,
            check=True,
        ).stdout
        assert ("\x1b[32m" in shown) is expected


def test_a_dead_mount_of_the_daemon_is_found_and_nothing_hangs(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    with running(place) as daemon:
        daemon.kill()
        code, out, _ = run(capfd, str(place.mountpoint), "--only", "dead-mounts", "--only", "daemon")
        assert code == 12
        assert f"the readyfs mount at {place.mountpoint} is dead" in out
        clear(place.mountpoint)
