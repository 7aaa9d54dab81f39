from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from readyfs.control.runtime_dir import list_registrations
from tests.cli.conftest import FakeDaemons, Run


def test_umount_returns_when_the_daemon_is_gone(daemons: FakeDaemons, run: Run, tmp_path: Path) -> None:
    daemons.start("serve")
    [registration] = list_registrations(daemons.runtime_dir)
    assert run("umount", str(daemons.mountpoint)) == (0, f"unmounted {daemons.mountpoint}\n", "")
    assert not Path(f"/proc/{registration.pid}/exe").exists()
    assert list(registration.socket.parent.iterdir()) == []


def test_second_umount_says_that_nothing_is_there(daemons: FakeDaemons, run: Run) -> None:
    daemons.start("serve")
    assert run("umount", str(daemons.mountpoint))[0] == 0
    for _ in range(2):
        code, out, err = run("umount", str(daemons.mountpoint))
        assert (code, out) == (8, "")
        assert err == f"readyfs: no readyfs is mounted at {daemons.mountpoint}; `readyfs status` lists what is\n"


def test_umount_of_a_foreign_mount_leaves_it_alone_and_names_it(run: Run) -> None:
    code, _, err = run("umount", "/proc")
    assert code == 8
    assert "(proc is mounted there)" in err
    assert Path("/proc/self").exists()


def test_umount_of_a_daemon_that_does_not_end_gives_up_in_time(daemons: FakeDaemons, run: Run) -> None:
    daemons.start("deaf")
    code, _, err = run("umount", str(daemons.mountpoint), "--timeout", "300ms")
    assert code == 9
    assert "is still there after 300ms" in err.splitlines()[-1]


def test_umount_names_who_holds_the_mount_while_it_waits(daemons: FakeDaemons, run: Run) -> None:
    daemons.start("deaf")
    _, _, err = run("umount", str(daemons.mountpoint), "--timeout", "300ms")
    assert err.splitlines()[0] == (
        f"{daemons.mountpoint} is detached; the daemon still serves files that are open: "
        "pid 12 bash (cwd), pid 13 less (open file)"
    )


def test_umount_of_a_hung_daemon_gives_up_after_the_timeout(daemons: FakeDaemons, run: Run) -> None:
    process = daemons.start("serve")
    process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    code, _, err = run("umount", str(daemons.mountpoint), "--timeout", "500ms")
    assert code == 9
    assert "did not answer within 500ms" in err
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("command", ["mount", "umount", "status", "refresh"])
def test_empty_mount_point_is_refused_and_not_taken_for_the_working_directory(run: Run, command: str) -> None:
    code, out, err = run(command, "")
    assert (code, out) == (2, "")
    assert err.startswith("readyfs: the mount point is empty; ")


def test_umount_of_a_hung_daemon_gives_up_naming_the_process(daemons: FakeDaemons, run: Run, tmp_path: Path) -> None:
    process = daemons.start("serve")
    process.send_signal(signal.SIGSTOP)
    code, _, err = run("umount", str(daemons.mountpoint), "--timeout", "300ms")
    assert code == 9
    assert f"pid {process.pid}" in err


def test_bad_timeout_is_a_usage_error(run: Run, tmp_path: Path) -> None:
    code, _, err = run("umount", str(tmp_path), "--timeout", "5")
    assert code == 2
    assert "write 5s if seconds are meant" in err
    assert err.count("\n") == 1
