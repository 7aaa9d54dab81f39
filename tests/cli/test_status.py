from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from readyfs.cli.daemon_lookup import KernelView
from readyfs.cli.status_text import render_age, render_silent, render_status
from tests.cli.conftest import FakeDaemons, Run


@pytest.fixture(autouse=True)
def no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests may have mounts of other users."""
    monkeypatch.setattr("readyfs.cli.status.read_mount_table", lambda: ())


def test_status_is_an_aligned_block(daemons: FakeDaemons, run: Run) -> None:
    daemons.start("serve")
    code, out, err = run("status", str(daemons.mountpoint))
    title, *rows = out.splitlines()
    assert (code, err, title) == (0, "", str(daemons.mountpoint))
    assert rows[0] == "  serving     12,345 ready partitions, revision 1"
    assert "  refreshed   3.2 s ago, every 10 s" in rows
    assert "  withheld    bad_row 2" in rows


def test_status_as_json_is_what_the_daemon_says(daemons: FakeDaemons, run: Run) -> None:
    daemons.start("serve")
    code, out, _ = run("status", str(daemons.mountpoint), "--json")
    assert code == 0
    assert json.loads(out)["partitions"] == 12345


def test_status_has_one_form_at_a_time_and_json_has_a_short_name(daemons: FakeDaemons, run: Run) -> None:
    daemons.start("serve")
    place = str(daemons.mountpoint)
    assert (
        json.loads(run("status", place, "--format", "json")[1]).keys()
        == json.loads(run("status", place, "--json")[1]).keys()
    )
    assert run("status", place, "--format", "text")[1].startswith(f"{place}\n")
    code, _, err = run("status", place, "--json", "--format", "prometheus")
    assert code == 2
    assert "--json and --format prometheus exclude each other" in err


def test_status_for_prometheus_holds_every_mount(daemons: FakeDaemons, run: Run) -> None:
    assert run("status", "--format", "prometheus")[::2] == (0, "")
    daemons.start("serve")
    code, out, _ = run("status", "--format", "prometheus")
    assert code == 0
    assert f'readyfs_partitions{{mountpoint="{daemons.mountpoint}"}} 12345.0' in out.splitlines()


def test_status_for_prometheus_of_a_place_without_a_daemon_is_down(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("status", str(tmp_path), "--format", "prometheus")
    assert code == 8
    assert f'readyfs_up{{mountpoint="{tmp_path}"}} 0.0' in out.splitlines()


def test_status_without_a_mount_point_shows_all_of_ours(daemons: FakeDaemons, run: Run) -> None:
    daemons.start("serve")
    code, out, _ = run("status", "--json")
    assert code == 0
    assert [json.loads(line)["mountpoint"] for line in out.splitlines()] == [str(daemons.mountpoint)]
    assert str(daemons.mountpoint) in run("status")[1]


def test_status_without_any_mount_says_so(run: Run) -> None:
    assert run("status") == (0, "no readyfs mounts\n", "")
    assert run("status", "--json") == (0, "", "")


def test_status_of_a_place_without_a_daemon_is_not_running(run: Run, tmp_path: Path) -> None:
    error = f"no readyfs is mounted at {tmp_path}; `readyfs status` lists what is"
    assert run("status", str(tmp_path)) == (8, "", f"readyfs: {error}\n")
    code, out, err = run("status", str(tmp_path), "--json")
    assert (code, err) == (8, f"readyfs: {error}\n")
    assert json.loads(out) == {"mountpoint": str(tmp_path), "error": error, "exit_code": 8, "kernel": None}


def test_status_finds_the_daemon_through_another_spelling(daemons: FakeDaemons, run: Run, tmp_path: Path) -> None:
    daemons.start("serve")
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    assert run("status", f"{tmp_path}/link/./ready/")[0] == 0


def test_status_of_a_hung_daemon_shows_the_kernel_and_gives_up(daemons: FakeDaemons, run: Run, tmp_path: Path) -> None:
    process = daemons.start("serve")
    process.send_signal(signal.SIGSTOP)
    for arguments in ([str(daemons.mountpoint)], []):
        began = time.monotonic()
        code, out, err = run("status", *arguments)
        assert time.monotonic() - began < 8
        assert code == 9
        assert out.splitlines()[0] == str(daemons.mountpoint)
        assert "  kernel      no readyfs mount here" in out
        assert f"(pid {process.pid}) of {daemons.mountpoint} did not answer within 2s" in err
        assert err.count("\n") == 1
    code, out, _ = run("status", str(daemons.mountpoint), "--json")
    assert code == 9
    assert json.loads(out)["kernel"] is None


def test_registration_of_a_dead_daemon_without_a_mount_is_passed_over(
    daemons: FakeDaemons, run: Run, tmp_path: Path
) -> None:
    process = daemons.start("serve")
    process.kill()
    process.wait()
    assert run("status") == (0, "no readyfs mounts\n", "")


def test_outage_and_staleness_are_in_the_block() -> None:
    """V11: age and cause are in the status."""
    answer = {"mountpoint": "/m", "state": "sqlite:///s.db", "state_error": "locked\n", "stale": False}
    assert "  state       sqlite:///s.db, outage: locked\\n" in render_status(answer)
    assert "STALE: locked" in render_status({**answer, "stale": True})


def test_held_back_state_is_in_the_block_with_the_command_that_shows_it() -> None:
    """V11."""
    answer = {"mountpoint": "/m n", "state": "s", "state_error": "why", "held_back_fingerprint": "ab", "partitions": 9}
    text = render_status({**answer, "held_back_partitions": 1})
    assert "  state       s, held back: why\n" in text
    assert "  held back   1 partition; to show them: readyfs refresh '/m n' --accept ab" in text
    assert "held back" not in render_status({**answer, "held_back_fingerprint": None, "state_error": None})


def test_history_that_cannot_be_written_is_in_the_block() -> None:
    text = render_status({"mountpoint": "/m", "history_error": "No space left on device"})
    assert "  history     cannot be written, so a restart forgets what was shown: No space left on device" in text
    assert "history" not in render_status({"mountpoint": "/m", "history_error": None})


def test_baseline_that_cannot_be_written_is_in_the_block() -> None:
    text = render_status({"mountpoint": "/m", "baseline_error": "No space left on device"})
    assert "  baseline    cannot be written, so a restart may pass --max-retract by: No space left on device" in text


def test_trouble_with_listening_is_in_the_block() -> None:
    """V3: changes come with the timer only, and the status says why."""
    answer = {"mountpoint": "/m", "listen_error": "a pooler"}
    assert "  listening   not notified of changes, the timer finds them: a pooler" in render_status(answer)
    assert "listening" not in render_status({**answer, "listen_error": None})


def test_draining_mount_does_not_look_alive() -> None:
    answer = {
        "mountpoint": "/m",
        "partitions": 7,
        "phase": "draining",
        "draining_seconds_left": 12.04,
        "holders": ["pid 123 bash (cwd)"],
    }
    text = render_status(answer)
    assert text.splitlines()[1] == (
        "  DRAINING    unmounted, no path leads here; open files are served for 12.0 s more; held by pid 123 bash (cwd)"
    )
    assert "serving" not in text
    assert "STOPPING" in render_status({"mountpoint": "/m", "partitions": 7, "phase": "stopping"})


def test_stale_mount_is_said_to_refuse_walks_from_its_root() -> None:
    """V11: past the limit a walk from the root fails, and the status says so."""
    answer = {"mountpoint": "/m", "partitions": 7, "phase": "serving", "stale": True, "max_staleness_seconds": 3600.0}
    text = render_status(answer)
    assert text.splitlines()[1] == (
        "  REFUSING    every walk from the mount root fails with EIO (Input/output error): "
        "the catalog is older than 1 h 0 min"
    )
    assert "serving" not in text


@pytest.mark.parametrize(
    ("count", "longest", "words"),
    [
        (0, None, "  raw         /raw"),
        (1, 0.5, "  raw         /raw, 1 request waits for it, the longest for 0.5 s"),
        (3, 75.0, "  raw         /raw, 3 requests wait for it, the longest for 1 min 15 s"),
    ],
)
def test_requests_that_wait_for_the_raw_store_are_shown(count: int, longest: float | None, words: str) -> None:
    answer = {"mountpoint": "/m", "raw": "/raw", "raw_waiting": count, "raw_waiting_longest_seconds": longest}
    assert words in render_status(answer).splitlines()


def test_control_characters_in_a_status_do_not_reach_the_terminal() -> None:
    text = render_status({"mountpoint": "/m\x1b[2J", "engine": "\x07", "withheld": {"a\nb": 1}})
    assert all(line.isprintable() for line in text.splitlines())
    assert len(text.splitlines()) == 3


@pytest.mark.parametrize(
    ("waiting", "words"),
    [(3, "3 requests without an answer"), (None, "mount -t fusectl none /sys/fs/fuse/connections")],
)
def test_block_of_a_silent_daemon_shows_what_the_kernel_knows(waiting: int | None, words: str) -> None:
    text = render_silent("/m", "did not answer", KernelView("readyfs:s.db", 52, waiting))
    assert "FUSE connection 52" in text
    assert words in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (61, "1 min 1 s"), (3 * 3600 + 12 * 60, "3 h 12 min"), (90000, "1 d 1 h")],
)
def test_ages_have_at_most_two_units(seconds: float, text: str) -> None:
    assert render_age(seconds) == text
