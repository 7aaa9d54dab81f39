"""The commands against a real mount whose daemon is dead, or out of reach."""

from __future__ import annotations

import os
import select
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from readyfs.cli.daemon_lookup import look_at_kernel
from readyfs.control.client import ControlClient
from readyfs.control.protocol import socket_path
from readyfs.fuse.mount_table import mounts_at
from tests.cli.conftest import SOURCE, Run


@pytest.fixture
def mountpoint(tmp_path: Path) -> Iterator[Path]:
    """A real mount of an empty state table, taken away at the end whatever became of it."""
    connection = sqlite3.connect(tmp_path / "state.db")
    connection.execute(
        "CREATE TABLE partition_state (source TEXT, customer_id TEXT, query_name TEXT, logical_date DATE, status TEXT, "
        "current_run_id TEXT)"
    )
    connection.close()
    path = tmp_path / "ready"
    for one in (path, tmp_path / "raw"):
        one.mkdir()
    command = [sys.executable, "-m", "readyfs", "mount", str(path), "--daemon"]
    stores = ["--state", str(tmp_path / "state.db"), "--raw", str(tmp_path / "raw")]
    environ = {**os.environ, "PYTHONPATH": str(SOURCE)}
    subprocess.run([*command, *stores], env=environ, check=True, timeout=60, capture_output=True)
    yield path
    if mounts_at(path):
        subprocess.run(["umount", "-l", str(path)], check=True, timeout=20)


def kill_daemon(mountpoint: Path, runtime_dir: Path) -> int:
    pid = ControlClient(socket_path(runtime_dir, mountpoint), 10).peer_pid()
    descriptor = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    assert poller.poll(20_000)
    os.close(descriptor)
    return pid


def test_dead_mount_is_named_by_each_command_and_cleared_by_umount(
    mountpoint: Path, runtime_dir: Path, run: Run
) -> None:
    """V14: a dead daemon is not an empty tree, and what it left can be cleared."""
    pid = kill_daemon(mountpoint, runtime_dir)
    reason = (
        f"the readyfs mount at {mountpoint} is dead: its daemon (pid {pid}) is gone; "
        f"clear it with: readyfs umount {mountpoint}"
    )
    for arguments in (["status", str(mountpoint)], ["refresh", str(mountpoint)]):
        assert run(*arguments) == (8, "", f"readyfs: {reason}\n")
    code, out, err = run("status")
    assert (code, err) == (8, f"readyfs: {reason}\n")
    assert f"  daemon      {reason}" in out
    assert "  kernel      mounted from " in out
    assert "waiting" not in out
    assert run("umount", str(mountpoint)) == (0, f"cleared the dead mount at {mountpoint}\n", "")
    assert mounts_at(mountpoint) == []
    assert list(runtime_dir.iterdir()) == []
    assert run("status") == (0, "no readyfs mounts\n", "")
    assert run("umount", str(mountpoint))[0] == 8


def test_live_mount_of_another_runtime_directory_is_left_alone(
    mountpoint: Path, runtime_dir: Path, run: Run, tmp_path: Path
) -> None:
    for command in ("umount", "status", "refresh"):
        code, _, err = run(command, str(mountpoint), "--runtime-dir", str(tmp_path / "x"))
        assert code == 8
        assert f"does not listen in the runtime directory {tmp_path}/x; give the one" in err
    assert len(mounts_at(mountpoint)) == 1
    assert run("umount", str(mountpoint)) == (0, f"unmounted {mountpoint}\n", "")
    assert mounts_at(mountpoint) == []


def test_place_inside_a_mount_is_told_from_one_without(mountpoint: Path, run: Run) -> None:
    for command in ("umount", "status", "refresh"):
        line = f"readyfs: {mountpoint}/0777 lies inside the readyfs mount at {mountpoint}; name that one\n"
        assert run(command, f"{mountpoint}/0777") == (8, "", line)
    assert run("umount", str(mountpoint))[0] == 0


def test_mount_of_another_user_is_named_as_theirs(
    mountpoint: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: 65533)
        for command in ("umount", "status", "refresh"):
            code, _, err = run(command, str(mountpoint), "--runtime-dir", str(tmp_path / "x"))
            assert code == 8
            assert err == (
                f"readyfs: the readyfs mount at {mountpoint} was made by root; run the command as that user\n"
            )
    assert run("umount", str(mountpoint))[0] == 0


def test_config_of_a_live_mount_can_be_checked(mountpoint: Path, run: Run, tmp_path: Path) -> None:
    code, out, _ = run("config", "check", "--state", str(tmp_path / "state.db"), "--raw", str(tmp_path / "raw"))
    assert code == 0
    assert out.startswith("OK: 0 partitions in ")
    assert run("umount", str(mountpoint))[0] == 0


def test_kernel_view_names_the_connection_of_the_mount(mountpoint: Path, run: Run) -> None:
    view = look_at_kernel(mountpoint)
    assert view is not None
    assert view.connection == os.stat(mountpoint).st_dev
    assert run("umount", str(mountpoint))[0] == 0
