"""The commands against a real mount whose daemon is dead, or out of reach."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from readyfs.cli.daemon_lookup import look_at_kernel
from readyfs.fuse.mount_table import mounts_at
from tests.cli.conftest import Run
from tests.mount.daemon import wait_until
from tests.mount.forked import ForkedProcess, stem


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[ForkedProcess]:
    """A daemon that serves an empty state table, ended and its mount taken away whatever became of them."""
    connection = sqlite3.connect(tmp_path / "state.db")
    connection.execute(
        "CREATE TABLE partition_state (source TEXT, customer_id TEXT, query_name TEXT, logical_date DATE, status TEXT, "
        "current_run_id TEXT)"
    )
    connection.close()
    path, log = tmp_path / "ready", tmp_path / "daemon.log"
    for one in (path, tmp_path / "raw"):
        one.mkdir()
    stores = ["--state", str(tmp_path / "state.db"), "--raw", str(tmp_path / "raw")]
    with log.open("wb") as output:
        process = stem().fork(["mount", str(path), *stores], output.fileno(), output.fileno())
    try:
        wait_until(lambda: '"event":"serving"' in log.read_text(), "the daemon serves")
        yield process
    finally:
        process.terminate()
        if mounts_at(path):
            subprocess.run(["umount", "-l", str(path)], check=True, timeout=20)
        process.wait(20)


@pytest.fixture
def mountpoint(daemon: ForkedProcess, tmp_path: Path) -> Path:
    """Where a daemon has mounted."""
    return tmp_path / "ready"


def test_dead_mount_is_named_by_each_command_and_cleared_by_umount(
    daemon: ForkedProcess, mountpoint: Path, runtime_dir: Path, run: Run
) -> None:
    """V14: a dead daemon is not an empty tree, and what it left can be cleared."""
    daemon.kill()
    daemon.wait()
    reason = (
        f"the readyfs mount at {mountpoint} is dead: its daemon (pid {daemon.pid}) is gone; "
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
            assert code == 19
            assert err == (
                f"readyfs: the readyfs mount at {mountpoint} was made by root; run the command as that user; `readyfs "
                f"latest {mountpoint}` and `readyfs why` are for everybody who may enter it\n"
            )
        code, out, err = run("status", "--runtime-dir", str(tmp_path / "x"))
        assert (code, out) == (0, "no readyfs mounts of this user\n")
        assert f"readyfs: the mount at {mountpoint} was made by root; `readyfs latest {mountpoint}` and" in err
        assert run("status", "--json", "--runtime-dir", str(tmp_path / "x")) == (0, "", "")
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
