"""The systemd units: accepted by systemd, and free of settings that would hide the mount or stop its helper."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from readyfs.control import public_dir
from readyfs.privileges import DAEMON_CAPABILITIES
from tests.systemd.system_call_filter import allowed
from tests.systemd.units import PRIVILEGED, UNITS, UNPRIVILEGED, settings, shell_script, value_of, values_of

BOTH = [pytest.param(unit, id=unit.stem) for unit in (PRIVILEGED, UNPRIVILEGED)]

# systemd.exec(5): each of these gives the service a mount namespace of its own.
NAMESPACE_SETTINGS = """
    BindPaths BindReadOnlyPaths DynamicUser ExecPaths InaccessiblePaths LogNamespace MountImages NoExecPaths
    PrivateDevices PrivateIPC PrivateMounts PrivateTmp PrivateUsers ProcSubset ProtectControlGroups ProtectHome
    ProtectKernelLogs ProtectKernelModules ProtectKernelTunables ProtectProc ProtectSystem ReadOnlyPaths
    ReadWritePaths RootDirectory RootImage TemporaryFileSystem
""".split()

# systemd.exec(5): each of these implies NoNewPrivileges=yes for a user without CAP_SYS_ADMIN.
SETTINGS_THAT_DISABLE_SET_UID = """
    LockPersonality MemoryDenyWriteExecute ProtectClock ProtectHostname RestrictAddressFamilies RestrictNamespaces
    RestrictRealtime RestrictSUIDSGID SystemCallArchitectures SystemCallFilter SystemCallLog
""".split()


@pytest.mark.parametrize("unit", BOTH)
@pytest.mark.parametrize("instance", ["srv-ready", r"srv-my\x20ready-a\x2db"])
def test_unit_passes_systemd_analyze_verify(tmp_path: Path, unit: Path, instance: str) -> None:
    # Where no readyfs is installed, another command stands in for it: verify wants the file to be there.
    text = unit.read_text(encoding="utf-8").replace("/usr/local/bin/readyfs", "/bin/true")
    (tmp_path / unit.name).write_text(text, encoding="utf-8")
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / unit.name.replace("@", f"@{instance}")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")


@pytest.mark.parametrize("unit", BOTH)
def test_unit_has_no_setting_that_makes_a_mount_namespace(unit: Path) -> None:
    assert {name for name, _ in settings(unit)}.isdisjoint(NAMESPACE_SETTINGS)


def test_unprivileged_unit_has_no_setting_that_takes_the_set_uid_helper_away() -> None:
    assert {name for name, _ in settings(UNPRIVILEGED)}.isdisjoint(SETTINGS_THAT_DISABLE_SET_UID)
    assert value_of(UNPRIVILEGED, "NoNewPrivileges") == "no"


def test_unprivileged_unit_grants_the_daemon_no_capability() -> None:
    assert values_of(UNPRIVILEGED, "AmbientCapabilities") == []


@pytest.mark.parametrize("unit", BOTH)
def test_unit_does_not_run_as_root(unit: Path) -> None:
    assert (value_of(unit, "User"), value_of(unit, "Group")) == ("readyfs", "readyfs")


def test_privileged_unit_grants_only_what_the_daemon_keeps() -> None:
    granted = value_of(PRIVILEGED, "AmbientCapabilities").split()
    assert granted == value_of(PRIVILEGED, "CapabilityBoundingSet").split()
    assert {*granted} <= {f"CAP_{capability.name}" for capability in DAEMON_CAPABILITIES}


def test_system_call_filter_lets_the_daemon_mount_and_no_more_than_it_needs_of_that() -> None:
    calls = allowed(PRIVILEGED)
    assert {"mount", "umount2", "capset", "prctl", "openat2"} <= calls
    assert calls.isdisjoint({"chroot", "pivot_root", "bpf", "ptrace", "init_module", "reboot", "sethostname"})


@pytest.mark.parametrize("unit", BOTH)
def test_stop_is_given_longer_than_open_files_are_served(unit: Path) -> None:
    match = re.fullmatch(r"(\d+)s", value_of(unit, "TimeoutStopSec"))
    assert match is not None
    assert int(match.group(1)) > 30


@pytest.mark.parametrize("unit", BOTH)
def test_directories_of_the_sockets_are_where_root_looks_and_outlive_an_instance(unit: Path) -> None:
    control, public = (f"/run/{name}" for name in value_of(unit, "RuntimeDirectory").split())
    assert (control, public) == ("/run/readyfs", "/run/readyfs-public")
    environment = values_of(unit, "Environment")
    assert {f"READYFS_RUNTIME_DIR={control}", f"READYFS_PUBLIC_DIR={public}"} <= {*environment}
    assert value_of(unit, "RuntimeDirectoryPreserve") == "yes"
    assert int(value_of(unit, "RuntimeDirectoryMode"), 8) == public_dir.MODE


@pytest.mark.parametrize(("outcome", "unmounts"), [("exited", False), ("killed", True), ("dumped", True)])
@pytest.mark.parametrize(
    ("unit", "program", "arguments"),
    [(PRIVILEGED, "umount", "-l /srv/ready\n"), (UNPRIVILEGED, "fusermount3", "-u -z /srv/ready\n")],
    ids=["umount", "fusermount3"],
)
def test_only_a_daemon_that_was_killed_is_unmounted_for(
    tmp_path: Path, unit: Path, program: str, arguments: str, outcome: str, unmounts: bool
) -> None:
    stand_in = tmp_path / program
    stand_in.write_text('#!/bin/sh\necho "$@"\n', encoding="utf-8")
    stand_in.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", "-c", shell_script(unit, "ExecStopPost"), "/srv/ready"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "EXIT_CODE": outcome},
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
    )
    assert done.stdout == (arguments if unmounts else "")


@pytest.mark.parametrize(("unit", "mode"), [(PRIVILEGED, 0o000), (UNPRIVILEGED, 0o311)], ids=["000", "311"])
def test_directory_below_is_made_unreadable_unless_it_is_in_use(tmp_path: Path, unit: Path, mode: int) -> None:
    script = shell_script(unit, "ExecStartPre")
    empty, full, mounted = tmp_path / "empty", tmp_path / "full", tmp_path / "mounted"
    for place in (empty, full, mounted):
        place.mkdir(mode=0o755)
    (full / "file").touch()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "none", mounted], check=True, timeout=10)
    try:
        for place in (empty, empty, full, mounted):
            subprocess.run(["/bin/sh", "-c", script, place], timeout=10, check=False)
        assert [place.stat().st_mode & 0o777 for place in (empty, full, mounted)] == [mode, 0o755, 0o755]
    finally:
        subprocess.run(["umount", mounted], check=True, timeout=10)


def test_privileged_unit_makes_the_mount_point(tmp_path: Path) -> None:
    place = tmp_path / "srv" / "ready"
    subprocess.run(["/bin/sh", "-c", shell_script(PRIVILEGED, "ExecStartPre"), place], timeout=10, check=True)
    assert place.stat().st_mode & 0o777 == 0


def test_user_of_the_units_is_made_by_systemd_sysusers(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", UNITS / "readyfs.sysusers.conf"],
        capture_output=True,
        timeout=30,
        check=True,
    )
    (line,) = (tmp_path / "etc/passwd").read_text().splitlines()
    name, _, uid, _, _, home, shell = line.split(":")
    assert (name, home, shell) == ("readyfs", "/var/lib/readyfs", "/usr/sbin/nologin")
    assert 0 < int(uid) < 1000
