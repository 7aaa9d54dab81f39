"""A contender's own process: started apart from our terminal, looked at from outside, and surely ended."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from readyfs.control.client import ControlClient
from readyfs.fuse.mount_table import mounts_at

PATIENCE_S: Final = 60.0
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


class BenchmarkError(Exception):
    """Something that is measured did not work, in words for the report."""


class MountError(BenchmarkError):
    """A contender did not mount, or not as what it was asked to be."""


@dataclass(slots=True)
class Daemon:
    """The process that serves a mount; with a control socket it also tells what it was asked."""

    process: subprocess.Popen[bytes]
    client: ControlClient | None = None

    def requests(self) -> Counter[str]:
        """Return how many requests were answered so far, by operation; none if nobody counts."""
        if self.client is None:
            return Counter()
        counts = self.client.status()["requests"]
        assert isinstance(counts, dict)
        return Counter(counts)

    def cpu_s(self) -> float:
        """Return the processor time used so far (proc_pid_stat(5))."""
        # The command in parentheses may hold anything; utime and stime are the 12th and 13th word after it.
        words = Path(f"/proc/{self.process.pid}/stat").read_bytes().rpartition(b")")[2].split()
        return (int(words[11]) + int(words[12])) / _TICKS_PER_S

    def memory(self) -> dict[str, int]:
        """Return resident and proportional size in bytes (proc_pid_smaps(5))."""
        found = {}
        for line in Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in ("Rss", "Pss"):
                found[name.lower()] = int(value.split()[0]) * 1024
        return found


def start(command: Sequence[str], output: Path) -> subprocess.Popen[bytes]:
    """Start a daemon whose messages go to a file; Ctrl-C reaches us and not it."""
    with output.open("ab") as file:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True)


def wait_mounted(path: Path, process: subprocess.Popen[bytes], output: Path) -> None:
    """Wait until something is mounted; raise `MountError` with the daemon's last words if it is not."""
    deadline = time.monotonic() + PATIENCE_S
    while not mounts_at(path):
        if process.poll() is not None:
            last = output.read_text("utf-8", "replace").strip().splitlines()[-1:]
            raise MountError(f"did not mount: {' '.join(last) or f'exit code {process.returncode}'}")
        if time.monotonic() > deadline:
            raise MountError(f"did not mount within {PATIENCE_S:.0f} s")
        time.sleep(0.005)


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
