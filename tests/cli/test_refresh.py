from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import FakeDaemons, Run


def test_refresh_returns_at_once_without_wait(daemons: FakeDaemons, run: Run) -> None:
    daemons.start("serve")
    assert run("refresh", str(daemons.mountpoint)) == (0, f"refresh of {daemons.mountpoint} asked for\n", "")


def test_refresh_with_wait_tells_what_changed(daemons: FakeDaemons, run: Run) -> None:
    daemons.start("serve")
    code, out, _ = run("refresh", str(daemons.mountpoint), "--wait")
    assert (code, out) == (0, f"refreshed {daemons.mountpoint}: 3 appeared, 1 retracted (revision 2)\n")
    assert json.loads(run("refresh", str(daemons.mountpoint), "--wait", "--json")[1])["waited"] is True


def test_refresh_that_accepts_waits_and_tells_what_changed(daemons: FakeDaemons, run: Run) -> None:
    """V11."""
    daemons.start("serve")
    words = ("refresh", str(daemons.mountpoint), "--accept", "0" * 31 + "A")
    assert run(*words) == (0, f"refreshed {daemons.mountpoint}: 10 retracted (revision 7)\n", "")
    assert json.loads(run(*words, "--json")[1])["waited"] is True


@pytest.mark.parametrize("word", ["", "abc", "0" * 33, "g" * 32])
def test_what_is_no_fingerprint_is_a_usage_error(run: Run, tmp_path: Path, word: str) -> None:
    code, _, err = run("refresh", str(tmp_path), "--accept", word)
    assert (code, err.count("\n")) == (2, 1)
    assert "is no fingerprint; give the 32 digits" in err


def test_refresh_that_ends_in_an_outage_has_its_own_exit_code(daemons: FakeDaemons, run: Run) -> None:
    daemons.start("outage")
    code, out, err = run("refresh", str(daemons.mountpoint), "--wait")
    assert (code, out) == (10, "")
    assert err == "readyfs: the state cannot be read; the last good catalog is still served\n"


def test_refusal_is_an_object_too_with_json(daemons: FakeDaemons, run: Run, tmp_path: Path) -> None:
    daemons.start("outage")
    code, out, err = run("refresh", str(daemons.mountpoint), "--wait", "--json")
    assert code == 10
    error = "the state cannot be read; the last good catalog is still served"
    assert json.loads(out) == {"mountpoint": str(daemons.mountpoint), "error": error, "exit_code": 10}
    assert err == f"readyfs: {error}\n"
    code, out, _ = run("refresh", str(tmp_path), "--json")
    assert (code, json.loads(out)["exit_code"]) == (8, 8)


def test_refresh_without_a_daemon_is_not_running(run: Run, tmp_path: Path) -> None:
    code, _, err = run("refresh", str(tmp_path))
    assert (code, err) == (8, f"readyfs: no readyfs is mounted at {tmp_path}; `readyfs status` lists what is\n")
