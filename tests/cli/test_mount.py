from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from readyfs.control.client import ControlClient
from readyfs.control.protocol import socket_path
from tests.cli.conftest import SOURCE, FakeDaemons, Run


def ask(daemons: FakeDaemons) -> dict[str, object]:
    return ControlClient(socket_path(daemons.runtime_dir, daemons.mountpoint), 10).status()


def wait_gone(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        assert poller.poll(20_000), f"process {pid} is still there"
    finally:
        os.close(descriptor)


def test_daemon_command_returns_once_the_daemon_serves(daemons: FakeDaemons) -> None:
    code, out, _ = daemons.run("serve", "--daemon")
    assert (code, out) == (0, "")
    assert ask(daemons)["partitions"] == 12345


def test_daemon_leaves_the_session_the_directory_and_the_terminal(daemons: FakeDaemons) -> None:
    assert daemons.run("serve", "--daemon")[0] == 0
    status = ask(daemons)
    assert status["session"] == status["pid"]
    assert status["cwd"] == "/"
    assert status["stdio"] == ["/dev/null"] * 3
    assert status["pipes"] == []


def test_daemon_sends_its_output_to_the_log_file(daemons: FakeDaemons) -> None:
    assert daemons.run("serve", "--daemon", "--log-file", "ready.log")[0] == 0
    log = daemons.directory / "ready.log"
    assert ask(daemons)["stdio"] == ["/dev/null", str(log), str(log)]
    assert [json.loads(line)["event"] for line in log.read_text().splitlines()] == ["serving", "after ready"]


def test_daemon_sees_relative_paths_from_where_the_command_was_given(daemons: FakeDaemons) -> None:
    assert daemons.run("serve", "--daemon")[0] == 0
    assert ask(daemons)["raw"] == str(daemons.directory / "raw")


def test_daemon_shows_what_it_logged_until_it_was_ready(daemons: FakeDaemons) -> None:
    _, _, err = daemons.run("serve", "--daemon")
    assert [json.loads(line)["event"] for line in err.splitlines()] == ["serving"]


def test_daemon_does_not_pass_on_that_it_was_a_child(daemons: FakeDaemons) -> None:
    assert daemons.run("serve", "--daemon")[0] == 0
    assert ask(daemons)["environment"] == ["READYFS_PUBLIC_DIR", "READYFS_RUNTIME_DIR", "READYFS_STATE_DIR"]


def test_daemon_imports_nothing_from_the_directory_the_command_was_given_in(daemons: FakeDaemons) -> None:
    for name in ("readyfs.py", "trio.py", "json.py"):
        (daemons.directory / name).write_text("raise SystemExit('imported from the working directory')")
    assert daemons.run("serve", "--daemon")[0] == 0


def test_daemon_that_refuses_gives_its_reason_in_one_line_and_its_exit_code(daemons: FakeDaemons) -> None:
    assert daemons.run("refuse", "--daemon") == (3, "", "readyfs: the state is locked\\nfor good; wait\n")


def test_refusal_inside_a_nursery_is_still_that_refusal(daemons: FakeDaemons) -> None:
    assert daemons.run("refuse in a nursery", "--daemon") == (4, "", "readyfs: no raw root; make it\n")
    assert daemons.run("refuse in a nursery") == (4, "", "readyfs: no raw root; make it\n")


def test_daemon_that_is_killed_is_reported_with_the_signal(daemons: FakeDaemons) -> None:
    code, _, err = daemons.run("die", "--daemon")
    assert (code, err) == (1, "readyfs: the daemon ended before it was ready (signal SIGKILL)\n")


def test_daemon_that_ends_without_a_report_is_reported_with_its_last_words(daemons: FakeDaemons) -> None:
    code, _, err = daemons.run("exit", "--daemon")
    assert (code, err) == (7, "readyfs: the daemon ended before it was ready (exit code 7): last words\n")


def test_helper_that_outlives_the_daemon_does_not_keep_the_command_waiting(daemons: FakeDaemons) -> None:
    code, _, err = daemons.run("leave a helper", "--daemon")
    os.kill(int(err.split()[-1]), signal.SIGKILL)
    assert code == 7


def test_daemon_that_ends_with_success_before_it_was_ready_is_a_failure(daemons: FakeDaemons) -> None:
    code, _, err = daemons.run("say nothing and exit", "--daemon")
    assert (code, err) == (1, "readyfs: the daemon ended before it was ready (exit code 0)\n")


def test_bug_in_the_daemon_is_one_line_with_the_type_and_not_its_text(daemons: FakeDaemons) -> None:
    code, _, err = daemons.run("bug", "--daemon")
    assert code == 1
    assert err.startswith("readyfs: internal error: RuntimeError at ")
    assert err.count("\n") == 1
    assert "s3cret" not in err


@pytest.mark.parametrize("arguments", [[], ["--daemon"]])
def test_log_file_that_is_the_state_database_is_refused_and_untouched(
    daemons: FakeDaemons, arguments: list[str]
) -> None:
    (daemons.directory / "state.db").write_bytes(b"rows")
    code, _, err = daemons.run("serve", "--log-file", "state.db", *arguments)
    assert code == 2
    assert "is the state database" in err
    assert (daemons.directory / "state.db").read_bytes() == b"rows"


@pytest.mark.parametrize("arguments", [[], ["--daemon"]])
def test_refused_mount_leaves_no_log_file(daemons: FakeDaemons, arguments: list[str]) -> None:
    before = sorted(daemons.directory.rglob("*"))
    secret = ["--state", "postgresql://me:s3cret@db/x"]  # warned of, and not in the log
    code, _, err = daemons.run("refuse", "--log-file", "ready.log", *secret, *arguments)
    assert code == 3
    assert "warning" in err
    assert sorted(daemons.directory.rglob("*")) == before


def test_failure_after_ready_goes_to_the_log_file(daemons: FakeDaemons) -> None:
    assert daemons.run("fail later", "--daemon", "--log-file", "ready.log")[0] == 0
    log = daemons.directory / "ready.log"
    for _ in range(1000):
        if "lost; wait" in log.read_text():
            return
        select.select([], [], [], 0.01)
    pytest.fail(log.read_text())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_to_the_waiting_command_ends_the_half_started_daemon(
    daemons: FakeDaemons, number: signal.Signals, code: int
) -> None:
    marker = daemons.directory / "pid"
    command = daemons.popen("never ready", "--daemon", FAKE_DAEMON_PID=str(marker))
    for _ in range(2000):
        if marker.exists() and marker.read_text().endswith("\n"):
            break
        select.select([], [], [], 0.01)
    command.send_signal(number)
    _, err = command.communicate(timeout=30)
    assert command.returncode == code
    assert "Traceback" not in err
    wait_gone(int(marker.read_text()))


def test_warning_about_a_password_is_given_once_and_without_it(daemons: FakeDaemons) -> None:
    _, _, err = daemons.run("refuse", "--state", "postgresql://me:s3cret@db/x", "--daemon")
    warning, reason = err.splitlines()
    assert warning.startswith("readyfs: warning: the password in --state")
    assert reason.startswith("readyfs: the state is locked")
    assert "s3cret" not in err


def test_foreground_mount_logs_the_warning_and_serves_until_stopped(daemons: FakeDaemons) -> None:
    process = daemons.popen("serve", "--state", "postgresql://me:s3cret@db/x")
    assert process.stderr is not None
    lines = [json.loads(process.stderr.readline()) for _ in range(3)]
    assert [line["level"] for line in lines] == ["warning", "info", "info"]
    assert ask(daemons)["cwd"] == "/"
    ControlClient(socket_path(daemons.runtime_dir, daemons.mountpoint), 10).stop()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "s3cret" not in err + json.dumps(lines)


def test_foreground_refusal_is_one_line_and_its_exit_code(daemons: FakeDaemons) -> None:
    assert daemons.run("refuse") == (3, "", "readyfs: the state is locked\\nfor good; wait\n")


def test_bad_setting_is_refused_before_a_daemon_is_started(run: Run, tmp_path: Path) -> None:
    code, _, err = run("mount", str(tmp_path), "--state", "s", "--raw", "r", "--interval", "3", "--daemon")
    assert (code, err) == (2, "readyfs: --interval: the duration 3 has no unit; write 3s if seconds are meant\n")


def test_help_needs_neither_fuse_nor_sql(daemons: FakeDaemons) -> None:
    script = (
        "import sys; sys.modules.update(dict.fromkeys(['pyfuse3', 'sqlalchemy', 'trio']));"
        "from readyfs.cli.main import main; sys.exit(main(['mount', '--help']))"
    )
    environ = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--name-timeout DURATION" in done.stdout
