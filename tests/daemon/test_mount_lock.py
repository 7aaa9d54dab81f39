from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from readyfs.daemon.mount_lock import hold_mount_lock
from readyfs.errors import ExitCode, MountPointError, UsageError

HOLD = """
import sys
from pathlib import Path
from readyfs.daemon.mount_lock import hold_mount_lock
with hold_mount_lock(Path(sys.argv[1]), Path(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_lock_is_held_for_as_long_as_the_context_and_no_longer(tmp_path: Path) -> None:
    """Two daemons can never serve one place."""
    mountpoint = tmp_path / "mnt"
    with hold_mount_lock(tmp_path / "var", mountpoint):
        with pytest.raises(MountPointError) as caught, hold_mount_lock(tmp_path / "var", mountpoint):
            pass
        assert str(mountpoint) in caught.value.message
        assert "readyfs umount" in caught.value.remedy
        assert caught.value.exit_code is ExitCode.MOUNT_POINT
    with hold_mount_lock(tmp_path / "var", mountpoint):
        pass


def test_lock_ends_with_an_exception(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), hold_mount_lock(tmp_path, tmp_path / "mnt"):
        raise ZeroDivisionError
    with hold_mount_lock(tmp_path, tmp_path / "mnt"):
        pass


def test_refused_attempt_does_not_release_the_lock(tmp_path: Path) -> None:
    with hold_mount_lock(tmp_path, tmp_path / "mnt"):
        for _ in range(2):
            with pytest.raises(MountPointError), hold_mount_lock(tmp_path, tmp_path / "mnt"):
                pass


def test_other_mount_points_have_locks_of_their_own(tmp_path: Path) -> None:
    with (
        hold_mount_lock(tmp_path, tmp_path / "one"),
        hold_mount_lock(tmp_path, tmp_path / "other"),
        hold_mount_lock(tmp_path, Path(os.fsdecode(b"/\xff"))),
    ):
        pass


def test_lock_ends_with_the_process_that_held_it(tmp_path: Path) -> None:
    """V14: whatever ends it, SIGKILL included."""
    mountpoint = tmp_path / "mnt"
    command = [sys.executable, "-c", HOLD, str(tmp_path), str(mountpoint)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(MountPointError), hold_mount_lock(tmp_path, mountpoint):
            pass
        process.kill()
        process.wait(20)
    with hold_mount_lock(tmp_path, mountpoint):
        pass


def test_lock_is_not_inherited_by_a_command_that_is_run(tmp_path: Path) -> None:
    """The mount helper would keep it."""
    with hold_mount_lock(tmp_path, tmp_path / "mnt"):
        held = {os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if exists(fd)}
        assert any(path.endswith(".lock") for path in held)
        seen = subprocess.run(
            ["ls", "-l", "/proc/self/fd"], capture_output=True, text=True, check=True, close_fds=False
        )
    assert ".lock" not in seen.stdout


def exists(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


def test_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    directory = tmp_path / "var" / "readyfs"
    with hold_mount_lock(directory, tmp_path / "mnt"):
        (lock,) = (directory / "locks").iterdir()
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert stat.S_IMODE((directory / "locks").stat().st_mode) == 0o700
        assert stat.S_IMODE(lock.stat().st_mode) == 0o600


def test_directory_that_cannot_be_made_is_a_mistake_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError) as caught, hold_mount_lock(tmp_path / "file" / "var", tmp_path / "mnt"):
        pass
    assert "--state-dir" in caught.value.remedy
    assert str(tmp_path / "file" / "var") in caught.value.message


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with hold_mount_lock(tmp_path, tmp_path / "mnt"):
        with pytest.raises(MountPointError), hold_mount_lock(tmp_path, tmp_path / "mnt"):
            pass
        assert len(os.listdir("/proc/self/fd")) == before + 1
    assert len(os.listdir("/proc/self/fd")) == before
