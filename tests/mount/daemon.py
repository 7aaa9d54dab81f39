"""A daemon under test: the real command in a process of its own, over a real kernel mount.

`Daemon` starts it, waits until it serves, and takes it down again whatever happened: in an orderly way if it still
answers, by signals and a lazy unmount if not. The reader is always the test's process (or a child of it).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from readyfs.control.client import ControlClient
from readyfs.control.protocol import socket_path
from readyfs.demo.producer import LogicalPartition, Producer
from readyfs.fuse.mount_table import mounts_at

ENGINES: Final[dict[str, tuple[str, ...]]] = {"pyfuse3": ()}
"""Every engine by name with the arguments that choose it; each mount test runs on each."""

PATIENCE_S: Final = 20.0


def wait_until(condition: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
    """Return once the condition holds; fail the test if it does not within the time."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience_s} s: {what}")
        time.sleep(0.01)


@dataclass(slots=True)
class Place:
    """A world of its own for one test: a state table, a raw root, a mount point, and directories for the daemon."""

    base: Path
    producer: Producer = field(init=False)

    def __post_init__(self) -> None:
        self.mountpoint.mkdir()
        self.producer = Producer(self.state, self.raw)

    @property
    def state(self) -> Path:
        """The state file."""
        return self.base / "state.db"

    @property
    def raw(self) -> Path:
        """The raw root."""
        return self.base / "raw"

    @property
    def mountpoint(self) -> Path:
        """Where the tests mount."""
        return self.base / "mnt"

    @property
    def runtime_dir(self) -> Path:
        """Where the daemon's socket lies."""
        return self.base / "run"


def partition(
    customer: str = "c1", query: str = "q1", date: str = "2024-06-01", source: str = "s1"
) -> LogicalPartition:
    """Return a partition's name, with parts that tests do not care about filled in."""
    return LogicalPartition(source, customer, query, date)


@dataclass(slots=True)
class Daemon:
    """One running daemon; `path` is its mount point."""

    place: Place
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def path(self) -> Path:
        """The mount point."""
        return self.place.mountpoint

    @property
    def pid(self) -> int:
        """The daemon's process."""
        return self.process.pid

    @property
    def client(self) -> ControlClient:
        """A client of the control socket."""
        return ControlClient(socket_path(self.place.runtime_dir, self.place.mountpoint), timeout_s=PATIENCE_S)

    def of(self, partition: LogicalPartition, name: str = "payload.jsonl") -> Path:
        """Return the path of a partition's file in the mount."""
        return self.path / partition.path / name

    def status(self) -> dict[str, object]:
        """Return the daemon's status."""
        return self.client.status()

    def refresh(self) -> dict[str, object]:
        """Refresh, and return once the kernel knows."""
        return self.client.refresh(wait=True)

    def requests(self, operation: str) -> int:
        """Return how many requests of a kind the kernel has sent."""
        requests = self.status()["requests"]
        assert isinstance(requests, dict)
        return int(requests.get(operation, 0))

    def log_text(self) -> str:
        """Return what the daemon logged so far."""
        return self.log.read_text("utf-8", "replace")

    def stop(self) -> int:
        """Ask it to end by SIGTERM; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    def kill(self) -> None:
        """Kill it, which leaves a dead mount behind."""
        self.process.kill()
        self.process.wait(PATIENCE_S)


def mount_command(place: Place, *arguments: str, engine: str = "pyfuse3") -> list[str]:
    """Return the command line that mounts a place."""
    return [
        *(sys.executable, "-m", "readyfs", "mount", str(place.mountpoint)),
        *("--state", str(place.state), "--raw", str(place.raw)),
        *("--runtime-dir", str(place.runtime_dir), "--state-dir", str(place.base / "var")),
        *ENGINES[engine],
        *arguments,
    ]


def start(place: Place, *arguments: str, engine: str = "pyfuse3", wrapper: Sequence[str] = ()) -> Daemon:
    """Start a daemon and wait until it serves; an `--interval` of an hour unless the arguments say otherwise."""
    if "--interval" not in arguments:
        arguments = ("--interval", "1h", *arguments)
    log = place.base / "daemon.log"
    offset = log.stat().st_size if log.exists() else 0
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*wrapper, *mount_command(place, *arguments, engine=engine)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
        )
    daemon = Daemon(place, process, log)

    def is_serving() -> bool:
        text = log.read_bytes()[offset:]
        assert process.poll() is None, f"the daemon ended at once:\n{text.decode()}"
        return b'"event":"serving"' in text

    try:
        wait_until(is_serving, "the daemon serves")
    except BaseException:
        take_down(daemon)
        raise
    return daemon


def take_down(daemon: Daemon) -> None:
    """End a daemon and its mount, whatever state they are in."""
    if daemon.process.poll() is None:
        daemon.process.send_signal(signal.SIGCONT)
        daemon.process.terminate()
        try:
            daemon.process.wait(10)
        except subprocess.TimeoutExpired:
            daemon.process.kill()
            daemon.process.wait(10)
    while mounts_at(daemon.path):
        subprocess.run(["umount", "--lazy", str(daemon.path)], check=True, timeout=10)


@contextmanager
def mounted(place: Place, *arguments: str, engine: str = "pyfuse3") -> Iterator[Daemon]:
    """Mount a place for the body; afterwards the daemon must end by itself with exit code 0 and leave no mount."""
    daemon = start(place, *arguments, engine=engine)
    try:
        yield daemon
        assert daemon.process.poll() is None, f"the daemon died:\n{daemon.log_text()}"
        assert daemon.stop() == 0, daemon.log_text()
        assert not mounts_at(daemon.path)
    finally:
        take_down(daemon)


def held_descriptors(pid: int) -> int:
    """Return how many descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))
