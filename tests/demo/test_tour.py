"""The tour through a real mount, as a user starts it: true output, and nothing left behind however it ends."""

from __future__ import annotations

import os
import pty
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from readyfs.demo import tour
from readyfs.demo.steps import STEPS, Stage, TourFailedError, mount_world
from readyfs.demo.world import TOUR_DAYS, WorldSpec
from readyfs.errors import ExitCode, UsageError
from readyfs.fuse.mount_table import mounts_at

SMALL = ["--customers", "2", "--queries", "1", "--days", str(TOUR_DAYS)]
SOURCES = Path(tour.__file__).parents[2]


SHORT = """
import sys
from readyfs.demo import steps, tour
tour.STEPS = (steps.mount_world, steps.listing)
from readyfs.__main__ import main
sys.exit(main())
"""
"""`readyfs` with a tour of two steps, for what hangs only on how a tour begins and ends."""


def demo(*arguments: str, is_short: bool = False) -> list[str]:
    return [sys.executable, *(("-c", SHORT) if is_short else ("-m", "readyfs")), "demo", *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(SOURCES)}


def run(*arguments: str, is_short: bool = False) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        demo(*arguments, is_short=is_short),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@contextmanager
def started(*arguments: str, is_short: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    command = demo(*arguments, is_short=is_short)
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        with process:
            yield process
    finally:
        process.kill()


def wait_for(process: subprocess.Popen[bytes], text: bytes, timeout_s: float = 60) -> bytes:
    """Return what the process printed up to and with `text`."""
    assert process.stdout is not None
    printed, deadline = b"", time.monotonic() + timeout_s
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while text not in printed:
            assert selector.select(deadline - time.monotonic()), f"no {text!r} in time, only {printed!r}"
            chunk = os.read(process.stdout.fileno(), 65536)
            assert chunk, f"ended without {text!r}: {printed!r}"
            printed += chunk
    return printed


@pytest.mark.parametrize("seed", ["1", pytest.param("2", marks=pytest.mark.long)])
def test_tour_takes_every_step_in_the_smallest_world_and_unmounts(tmp_path: Path, seed: str) -> None:
    """`test_readme` takes it in the usual one."""
    size = ["--customers", "1", "--queries", "1", "--days", str(TOUR_DAYS), "--seed", seed]
    done = run(str(tmp_path / "demo"), "--no-wait", *size)
    assert (done.returncode, done.stderr) == (0, "")
    headings = [(step.__doc__ or "").splitlines()[0] for step in STEPS]
    assert [line for line in done.stdout.splitlines() if line in headings] == headings
    assert done.stdout.count("$ readyfs ") >= 5
    assert "\x1b" not in done.stdout
    assert "5 partitions of 1 customer, 5 ready:" in done.stdout
    assert "which nobody should read: superseded runs." in done.stdout
    assert mounts_at(tmp_path / "demo" / "mount") == []


def test_change_is_seen_when_the_tour_asks_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    seen_by_itself = "timeout 3 sh -c 'until ls mount/*/*/2024-07-01 2>/dev/null; do sleep 0.1; done'"

    def publish_unseen(stage: Stage) -> None:
        """A change that waits."""
        day = stage.world.settled[0]._replace(logical_date="2024-07-01")
        stage.producer.write_and_publish(day, "2024-07-02T04:05:06.789Z", b"{}\n")
        stage.type(seen_by_itself, fails=True)
        stage.refresh("1 appeared")

    monkeypatch.setattr(tour, "STEPS", (mount_world, publish_unseen))
    tour.run_demo(tmp_path, WorldSpec(customers=1, queries=1, days=6), wait=False)
    assert "1 appeared (revision 2)" in capfd.readouterr().out


def test_demo_directory_is_used_again(tmp_path: Path) -> None:
    assert run(str(tmp_path), "--no-mount", *SMALL).returncode == 0
    done = run(str(tmp_path), "--no-wait", *SMALL, is_short=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".readyfs-demo.json",
        "mount",
        "raw",
        "readyfs.log",
        "state.db",
        "var",
    ]


def test_temporary_world_is_removed_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    done = run("--no-wait", *SMALL, is_short=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []


def test_no_mount_only_writes_the_world(tmp_path: Path) -> None:
    done = run(str(tmp_path), "--no-mount", *SMALL)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".readyfs-demo.json", "raw", "state.db"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo_that_waits_unmounts_at_a_signal_and_exits_0(tmp_path: Path, number: int) -> None:
    with started(str(tmp_path), "--wait", *SMALL, is_short=True) as process:
        wait_for(process, b"Ctrl-C unmounts it")
        assert len(mounts_at(tmp_path / "mount")) == 1
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert mounts_at(tmp_path / "mount") == []


def test_demo_that_is_ended_in_mid_tour_unmounts(tmp_path: Path) -> None:
    with started(str(tmp_path), "--no-wait", *SMALL) as process:
        wait_for(process, b"What you see is what is ready")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert mounts_at(tmp_path / "mount") == []


def test_demo_whose_reader_goes_away_unmounts(tmp_path: Path) -> None:
    with started(str(tmp_path), "--no-wait", *SMALL) as process:
        wait_for(process, b"What you see is what is ready")
        assert process.stdout is not None
        process.stdout.close()
        process.wait(60)
    assert process.returncode != 0
    assert mounts_at(tmp_path / "mount") == []


def test_step_that_shows_something_else_fails_the_demo_and_unmounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def claim(stage: Stage) -> None:
        """A claim that is not true."""
        stage.type("exec 3<mount/$(cd mount && find . -type f | head -n 1)")
        stage.type("ls mount", "no such customer")

    monkeypatch.setattr(tour, "STEPS", (mount_world, claim))
    with pytest.raises(TourFailedError, match="did not print 'no such customer'") as failure:
        tour.run_demo(tmp_path, WorldSpec(customers=1, queries=1, days=6), wait=False)
    assert failure.value.exit_code == ExitCode.INTERNAL
    assert mounts_at(tmp_path / "mount") == []
    printed = capfd.readouterr().out
    assert "the last lines of readyfs.log" in printed
    # The file that the step left open did not keep the mount busy.
    assert "detached" not in printed


def test_directory_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    done = run(str(tmp_path), "--no-wait")
    assert done.returncode == ExitCode.USAGE
    assert len(done.stderr.splitlines()) == 1
    assert "not empty" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_too_few_days_for_the_tour_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="too few"):
        tour.run_demo(tmp_path, WorldSpec(days=TOUR_DAYS - 1), wait=False)
    assert list(tmp_path.iterdir()) == []


def test_file_in_the_place_of_the_mount_point_is_refused(tmp_path: Path) -> None:
    assert run(str(tmp_path), "--no-mount", *SMALL).returncode == 0
    (tmp_path / "mount").touch()
    done = run(str(tmp_path), "--no-wait", *SMALL)
    assert (done.returncode, len(done.stderr.splitlines())) == (ExitCode.USAGE, 1)
    assert "mount is not a directory" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--no-mount"], "no DIR says where to"),
        (["d", "--no-mount", "--wait"], "nothing to wait for"),
        ([""], "DIR is empty"),
        (["/dev/null"], "/dev/null is not a directory"),
        (["/dev/null/d"], "no sample world can be written to /dev/null/d"),
        (["/proc/d", "--no-mount"], "no sample world can be written to /proc/d"),
    ],
)
def test_directory_that_cannot_be_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (ExitCode.USAGE, "")
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_are_for_terminals_that_want_them(tmp_path: Path, variables: dict[str, str], coloured: bool) -> None:
    reader, writer = pty.openpty()
    inherited = {name: value for name, value in environment().items() if name != "NO_COLOR"}
    process = subprocess.Popen(
        demo(str(tmp_path), "--no-mount", "--customers", "1", "--queries", "1", "--days", "1"),
        env={**inherited, **variables, "TERM": "xterm"},
        stdout=writer,
    )
    os.close(writer)
    assert process.wait(60) == 0
    printed = os.read(reader, 65536)
    os.close(reader)
    assert (re.search(rb"\x1b\[", printed) is not None) is coloured
