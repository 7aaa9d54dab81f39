"""AppArmor's refusal of fusermount3, as it looks from outside: a helper that says so, and files that tell why."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from readyfs.errors import ExitCode, FuseError
from readyfs.fuse import fusermount
from readyfs.fuse.direct.mounting import open_mounted
from readyfs.fuse.fusermount import allowing_command, is_confined


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which AppArmor has a profile for the helper, and a helper that it does not let mount."""
    (tmp_path / "enabled").write_text("Y\n")
    profile = tmp_path / "fusermount3.profile"
    profile.touch()
    monkeypatch.setattr(fusermount.is_confined, "__defaults__", (tmp_path / "enabled", profile))
    helper = tmp_path / "fusermount3"
    helper.write_text('#!/bin/sh\necho "fusermount3: mount failed: $SAYS" >&2\nexit 1\n')
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return profile


def refusal(says: str, monkeypatch: pytest.MonkeyPatch) -> FuseError:
    monkeypatch.setenv("SAYS", says)
    with pytest.raises(FuseError) as caught:
        open_mounted("/srv/my ready", ["ro"], privileged=False)
    return caught.value


@pytest.mark.parametrize("says", ["Permission denied", "Operation not permitted"])
def test_refusal_names_apparmor_and_the_local_addition(
    profile: Path, monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    error = refusal(says, monkeypatch)
    assert error.exit_code is ExitCode.FUSE
    assert f"the mount was refused: fusermount3: mount failed: {says}; AppArmor confines fusermount3" in error.message
    assert "/etc/apparmor.d/local/fusermount3" in error.remedy


def test_other_refusals_do_not_name_it(profile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "AppArmor" not in str(refusal("Device or resource busy", monkeypatch))
    profile.unlink()
    assert "AppArmor" not in str(refusal("Permission denied", monkeypatch))


def test_apparmor_counts_only_where_it_is_on(profile: Path, tmp_path: Path) -> None:
    assert is_confined()
    (tmp_path / "enabled").write_text("N\n")
    assert not is_confined()


def test_command_adds_rules_for_the_place(tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    command = allowing_command("/srv/my ready", tmp_path / "fusermount3")
    writing, _, loading = command.replace("sudo ", "").partition(" && ")
    subprocess.run(["sh", "-c", writing], check=True, timeout=10, capture_output=True)
    assert (tmp_path / "local/fusermount3").read_text() == (
        '  mount fstype=fuse.readyfs -> "/srv/my ready/",\n  umount "/srv/my ready/",\n'
    )
    assert loading == f"apparmor_parser -r {tmp_path}/fusermount3"
