from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from readyfs.cli.main import main
from readyfs.control.runtime_dir import list_registrations
from tests.mount.daemon import wait_until
from tests.mount.forked import ForkedProcess, StemWrapper, stem

SOURCE = Path(__file__).parents[2] / "src"
FAKE = Path(__file__).parent / "fake"
STANDING_IN = StemWrapper(("env", f"PYTHONPATH={os.pathsep.join([str(FAKE), str(SOURCE)])}"))
"""Has the daemons that a stem forks be stand-ins."""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def runtime_dir() -> Iterator[Path]:
    """A directory whose path is short enough for sockets, which pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="readyfs-") as directory:
        yield Path(directory)


@pytest.fixture
def public_dir() -> Iterator[Path]:
    """A directory for public sockets, whose path is short enough as well."""
    with tempfile.TemporaryDirectory(prefix="readyfs-") as directory:
        yield Path(directory)


@pytest.fixture(autouse=True)
def clean_environment(tmp_path: Path, runtime_dir: Path, public_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's settings reach a test, and its sockets stand in its own directory."""
    for name in list(os.environ):
        if "READYFS" in name:
            monkeypatch.delenv(name)
    monkeypatch.chdir(Path.cwd())  # what a command leaves is put back
    monkeypatch.setenv("READYFS_RUNTIME_DIR", str(runtime_dir))
    monkeypatch.setenv("READYFS_PUBLIC_DIR", str(public_dir))
    monkeypatch.setenv("READYFS_STATE_DIR", str(tmp_path / "lib"))


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command line in this process; return exit code, stdout and stderr."""

    def call(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main(arguments)
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return call


@dataclass
class FakeDaemons:
    """Starts `readyfs` as a process of its own in which `readyfs.daemon.run` is a stand-in."""

    directory: Path
    runtime_dir: Path
    mountpoint: Path = field(init=False)
    forked: list[ForkedProcess] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.mountpoint = self.directory / "ready"
        self.mountpoint.mkdir()

    @property
    def arguments(self) -> list[str]:
        return ["mount", str(self.mountpoint), "--state", "state.db", "--raw", "raw"]

    def popen(self, behaviour: str, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        path = os.pathsep.join([str(FAKE), str(SOURCE)])
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "readyfs", *self.arguments, *arguments],
            cwd=self.directory,
            env={**os.environ, "PYTHONPATH": path, "FAKE_DAEMON": behaviour, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, behaviour: str, *arguments: str, **variables: str) -> tuple[int, str, str]:
        """Run to the end, which must come: what a daemon holds open of our pipes would keep us waiting."""
        process = self.popen(behaviour, *arguments, **variables)
        out, err = process.communicate(timeout=30)
        return process.returncode, out, err

    def start(self, behaviour: str) -> ForkedProcess:
        """Start one in the foreground and wait until it is ready; by fork, unless how it starts is the question."""
        log = self.directory / "fake.log"
        with log.open("wb") as output, pytest.MonkeyPatch.context() as patch:
            patch.setenv("FAKE_DAEMON", behaviour)
            self.forked.append(stem(STANDING_IN).fork(self.arguments, output.fileno(), output.fileno()))
        wait_until(lambda: "after ready" in log.read_text(), "the daemon is ready")
        return self.forked[-1]

    def kill_all(self) -> None:
        """Kill whatever is still there."""
        for process in self.forked:
            process.kill()
            process.wait()
        for left in list_registrations(self.runtime_dir):
            try:
                os.kill(left.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # It ended without tidying up, as some of them are told to.


@pytest.fixture
def daemons(tmp_path: Path, runtime_dir: Path) -> Iterator[FakeDaemons]:
    """A maker of stand-in daemons; those still there at the end are killed."""
    found = FakeDaemons(tmp_path, runtime_dir)
    yield found
    found.kill_all()
