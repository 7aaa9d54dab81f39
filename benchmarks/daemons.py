"""A contender's own process: started apart from our terminal, looked at from outside, and surely ended."""

from __future__ import annotations

import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.work.timing import cpu_s_of
from readyfs.control.client import ControlClient
from readyfs.errors import UserError
from readyfs.fuse.mount_table import mounts_at

PATIENCE_S: Final = 60.0
_SIZES: Final = {"Rss": "rss", "Pss": "pss", "VmHWM": "peak"}


class BenchmarkError(Exception):
    """Something that is measured did not work, in words for the report."""


class MountError(BenchmarkError):
    """A contender did not mount, or not as what it was asked to be."""


@dataclass(slots=True)
class Daemon:
    """The process that serves a mount; with a control socket it also tells what it was asked.

    `ready_s` is the time from its start to the first answer of its mount, where somebody has measured it.
    """

    process: subprocess.Popen[bytes]
    client: ControlClient | None = None
    ready_s: float | None = None

    def requests(self) -> Counter[str]:
        """Return how many requests were answered so far, by operation; none if nobody counts."""
        if self.client is None:
            return Counter()
        counts = self.status()["requests"]
        assert isinstance(counts, dict)
        return Counter(counts)

    def status(self) -> dict[str, object]:
        """Return the status document."""
        return self._ask(ControlClient.status)

    def refresh(self, *, wait: bool) -> None:
        """Have it look at the state now; with `wait` until every reader sees what it found."""
        self._ask(partial(ControlClient.refresh, wait=wait))

    def _ask(self, question: Callable[[ControlClient], dict[str, object]]) -> dict[str, object]:
        assert self.client is not None
        try:
            return question(self.client)
        except UserError as error:
            raise BenchmarkError(f"its daemon does not answer: {error}") from error

    def cpu_s(self) -> float:
        """Return the processor time used so far by all threads, those that have ended included."""
        return cpu_s_of(self.process.pid)

    def memory(self) -> dict[str, int]:
        """Return resident and proportional size, and the largest resident size so far, in bytes (proc_pid_smaps(5))."""
        found = {}
        for file in ("smaps_rollup", "status"):
            for line in Path(f"/proc/{self.process.pid}/{file}").read_text().splitlines():
                name, _, value = line.partition(":")
                if name in _SIZES:
                    found[_SIZES[name]] = int(value.split()[0]) * 1024
        return found


def start(command: Sequence[str], output: Path) -> subprocess.Popen[bytes]:
    """Start a daemon whose messages go to a file; Ctrl-C reaches us and not it."""
    with output.open("ab") as file:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True)


def wait_mounted(path: Path, process: subprocess.Popen[bytes], output: Path, patience_s: float = PATIENCE_S) -> None:
    """Wait until something is mounted; raise `MountError` with the daemon's last words if it is not."""
    _wait("mount", lambda: bool(mounts_at(path)), process, output, patience_s)


def wait_answering(daemon: Daemon, output: Path, patience_s: float = PATIENCE_S) -> None:
    """Wait until a daemon answers on its socket, which may be a moment after it has mounted."""

    def answers() -> bool:
        try:
            daemon.status()
        except BenchmarkError:
            return False
        return True

    _wait("answer", answers, daemon.process, output, patience_s)


def stop(process: subprocess.Popen[bytes], path: Path) -> None:
    """End a daemon and its mount, politely at first."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
    unmount(path)
    process.wait(PATIENCE_S)


def unmount(path: Path) -> None:
    """Take every mount from a directory, by detaching it if it is busy."""
    commands = (["umount", str(path)], ["umount", "--lazy", str(path)], ["fusermount3", "-u", "-z", str(path)])
    for command in commands:
        if not mounts_at(path):
            return
        subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE_S)
    if mounts_at(path):
        raise BenchmarkError(f"{path} cannot be unmounted")


def last_complaint(output: Path) -> str | None:
    """Return the last line of a log that is worse than information, if there is one."""
    lines = output.read_text("utf-8", "replace").splitlines()
    return next((line for line in reversed(lines) if '"level":"info"' not in line), None)


def _wait(
    verb: str, is_done: Callable[[], bool], process: subprocess.Popen[bytes], output: Path, patience_s: float
) -> None:
    deadline = time.monotonic() + patience_s
    while not is_done():
        if process.poll() is not None:
            last = output.read_text("utf-8", "replace").strip().splitlines()[-1:]
            raise MountError(f"did not {verb}: {' '.join(last) or f'exit code {process.returncode}'}")
        if time.monotonic() > deadline:
            raise MountError(f"did not {verb} within {patience_s:.0f} s")
        time.sleep(0.005)
