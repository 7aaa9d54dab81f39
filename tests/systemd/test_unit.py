"""The systemd unit: accepted by systemd, and free of settings that would hide the mount from the host."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "systemd" / "readyfs@.service"

# systemd.exec(5): each of these gives the service a mount namespace of its own.
NAMESPACE_SETTINGS = """
    BindPaths BindReadOnlyPaths DynamicUser ExecPaths InaccessiblePaths LogNamespace MountImages NoExecPaths
    PrivateDevices PrivateIPC PrivateMounts PrivateTmp PrivateUsers ProcSubset ProtectControlGroups ProtectHome
    ProtectKernelLogs ProtectKernelModules ProtectKernelTunables ProtectProc ProtectSystem ReadOnlyPaths
    ReadWritePaths RootDirectory RootImage TemporaryFileSystem
""".split()


def settings() -> list[tuple[str, str]]:
    """Return the unit's settings in order."""
    lines = UNIT.read_text(encoding="utf-8").splitlines()
    return [
        (name, value) for name, found, value in (line.partition("=") for line in lines if line[:1].isalpha()) if found
    ]


def value_of(name: str) -> str:
    return dict(settings())[name]


@pytest.mark.parametrize("instance", ["srv-ready", r"srv-my\x20ready-a\x2db"])
def test_unit_passes_systemd_analyze_verify(tmp_path: Path, instance: str) -> None:
    # Where no readyfs is installed, another command stands in for it: verify wants the file to be there.
    text = UNIT.read_text(encoding="utf-8").replace("/usr/local/bin/readyfs", "/bin/true")
    (tmp_path / "readyfs@.service").write_text(text, encoding="utf-8")
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / f"readyfs@{instance}.service"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")


def test_unit_has_no_setting_that_makes_a_mount_namespace() -> None:
    assert {name for name, _ in settings()}.isdisjoint(NAMESPACE_SETTINGS)


def test_system_call_filter_lets_the_daemon_mount() -> None:
    assert "@mount" in value_of("SystemCallFilter").split()


def test_stop_is_given_longer_than_open_files_are_served() -> None:
    match = re.fullmatch(r"(\d+)s", value_of("TimeoutStopSec"))
    assert match is not None
    assert int(match.group(1)) > 30


@pytest.mark.parametrize(("outcome", "unmounts"), [("exited", False), ("killed", True), ("dumped", True)])
def test_only_a_daemon_that_was_killed_is_unmounted_for(tmp_path: Path, outcome: str, unmounts: bool) -> None:
    script = re.fullmatch(r"-/bin/sh -c '(.*)' %f", value_of("ExecStopPost"))
    assert script is not None
    stand_in = tmp_path / "umount"
    stand_in.write_text('#!/bin/sh\necho "$@"\n', encoding="utf-8")
    stand_in.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", "-c", script.group(1).replace("$$", "$"), "/srv/ready"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "EXIT_CODE": outcome},
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
    )
    assert done.stdout == ("-l /srv/ready\n" if unmounts else "")
