"""One mount of a generated table, and what its daemon takes: what every measure of views asks."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.daemons import BenchmarkError, Daemon, start, stop, wait_answering, wait_mounted
from benchmarks.state.generate import generate
from benchmarks.state.shape import usual_shape
from readyfs.control.client import ControlClient
from readyfs.control.pin_requests import PinRequest
from readyfs.control.protocol import socket_path
from readyfs.control.public_client import PublicClient
from readyfs.errors import LimitError

PATIENCE_S: Final = 600.0


class Mounted:
    """One daemon and its clients."""

    def __init__(self, base: Path, daemon: Daemon) -> None:
        self.path = base / "mnt"
        self.daemon = daemon
        self.public = PublicClient(self.path, socket_path(base / "public", self.path))

    def pin(self, name: str | None = None) -> Path:
        """Pin, however many asked before, and return the view."""
        while True:
            try:
                return self.public.view(str(self.public.pin(PinRequest(name), PATIENCE_S)["fingerprint"]))
            except LimitError:
                time.sleep(0.05)  # more was asked for at once than one user may

    def history_bytes(self) -> int:
        """Return how much of the catalogs so far is on the disk."""
        found = self.daemon.status()["history_bytes"]
        assert isinstance(found, int)
        return found

    def settle(self, beyond: int = 0) -> None:
        """Wait until the catalog in force is on the disk, which has more then than so many bytes."""
        deadline = time.monotonic() + PATIENCE_S
        while self.history_bytes() <= beyond:
            if time.monotonic() > deadline:
                raise BenchmarkError("the history is not written")
            time.sleep(0.05)

    def resident_bytes(self) -> int:
        """Return what the process has in memory."""
        text = Path(f"/proc/{self.daemon.process.pid}/statm").read_text(encoding="ascii")
        return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> int:
        """Return how many descriptors the process has open."""
        return len(os.listdir(f"/proc/{self.daemon.process.pid}/fd"))

    def cpu_s(self) -> float:
        """Return the CPU seconds that the process has used."""
        fields = Path(f"/proc/{self.daemon.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def mounted(base: Path, *settings: str, world: Path | None = None) -> Iterator[Mounted]:
    """Mount the table and the runs of a world, which is the directory itself or another one, below a directory."""
    path, output, world = base / "mnt", base / "log", world or base
    path.mkdir(parents=True, exist_ok=True)
    command = [
        *(sys.executable, "-m", "readyfs", "mount", str(path), "--interval", "1h"),
        *("--state", f"sqlite:///{world}/state.db", "--raw", str(world / "raw"), "--state-dir", str(base / "var")),
        *("--runtime-dir", str(base / "run"), "--public-dir", str(base / "public"), *settings),
    ]
    # What is freed goes back at once, so that what is in memory is what is in use.
    process = start(["env", "MALLOC_TRIM_THRESHOLD_=65536", *command], output)
    try:
        wait_mounted(path, process, output, PATIENCE_S)
        daemon = Daemon(process, ControlClient(socket_path(base / "run", path), timeout_s=60.0))
        wait_answering(daemon, output, PATIENCE_S)
        yield Mounted(base, daemon)
    finally:
        stop(process, path)


def make_world(base: Path, partitions: int, runs: int) -> Path:
    """Make a table, and the runs of some of its partitions; return its directory."""
    base.mkdir()
    (base / "raw").mkdir()
    generate(usual_shape(partitions), f"sqlite:/{base}/state.db", base / "raw" if runs else None, runs)
    return base
