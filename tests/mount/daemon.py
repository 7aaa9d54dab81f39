"""A daemon under test: the real program in a process of its own, over a real kernel mount.

`start` starts it and waits until it serves: by fork, see `forked`, or `afresh` as a new program. `mounted` and
`running` take it down again whatever happened: in an orderly way if it still answers, by signals and a lazy unmount if
not. The reader is always the test's process or a child of it.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import pytest

from readyfs.control.client import ControlClient
from readyfs.control.protocol import socket_path
from readyfs.control.public_client import PublicClient
from readyfs.demo.producer import LogicalPartition, Producer
from readyfs.fuse.mount_table import mounts_at
from readyfs.layout import DEFAULT_MOUNT_LAYOUT, MountLayout
from readyfs.partition import SeriesKey, parse_date
from tests.mount.forked import NO_WRAPPER, ForkedProcess, StemWrapper, run_forked, stem


@dataclass(frozen=True, slots=True)
class Traits:
    """What an engine and its way of reading have the kernel do without asking: all that a reader can tell them by.

    `arguments` choose it. Decisions 0017 and 0029 give the reasons and say what follows from each.
    """

    arguments: tuple[str, ...]
    kernel_lists: bool = False
    """Listings are kept: a second walk asks for nothing."""
    kernel_opens: bool = False
    """No open is asked for: what cannot be served fails when it is read, what was read stays readable, and what was not
    needs the raw file, which nobody keeps open for the reader."""
    kernel_reads: bool = False
    """Bytes come from the raw file, no longer and no shorter than it is, dead or alive as the daemon may be."""
    layout: str = DEFAULT_MOUNT_LAYOUT
    """Where partitions lie."""

    def in_layout(self, layout: str) -> Traits:
        """Return the same with another layout."""
        return replace(self, arguments=(*self.arguments, "--layout", layout), layout=layout)


TRAITS: Final[dict[str, Traits]] = {
    "pyfuse3": Traits(("--engine", "pyfuse3")),
    "passthrough": Traits(("--engine", "direct", "--reads", "passthrough"), kernel_lists=True, kernel_reads=True),
    "opened": Traits(("--engine", "direct", "--reads", "opened"), kernel_lists=True),
    "shadow": Traits(
        ("--engine", "direct", "--reads", "opened", "--engine-loop", "shadow", "--no-push"), kernel_lists=True
    ),
    "cached": Traits(("--engine", "direct", "--reads", "cached"), kernel_lists=True, kernel_opens=True),
}
"""Every engine and way of reading by name; each mount test runs on each.

The direct engine answers in compiled code what it can, but in `shadow` Python does, and compares the other's answers.
"""

IN_LAYOUTS: Final[dict[str, Traits]] = {
    "hive": TRAITS["cached"].in_layout("hive"),
    "by-date": TRAITS["passthrough"].in_layout("by-date"),
    "date in parts": TRAITS["pyfuse3"].in_layout("{year}/{customer_id}/{query_name}/{month}-{day}"),
}
"""Layouts of every kind: dates last, first, and in parts around the rest; each on another way of serving."""
in_each_layout: Final = pytest.mark.parametrize("engine", [*TRAITS, *IN_LAYOUTS])
"""For a test of a promise that asks its daemon for paths: on every engine, and in every kind of layout."""

ENGINES: Final[dict[str, tuple[str, ...]]] = {name: traits.arguments for name, traits in TRAITS.items()}
EACH_ENGINE_ONCE: Final = [
    name if name in ("pyfuse3", "opened") else pytest.param(name, marks=pytest.mark.long) for name in ENGINES
]
"""For tests of what lies behind the answers, such as the state: ways of reading differ in what the kernel is let do."""

PATIENCE_S: Final = 20.0
WITHOUT_DAC: Final = StemWrapper(("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--"))
"""Takes from root what lets it read everything, setpriv(1)."""
VIEWING: Final = StemWrapper((sys.executable, str(Path(__file__).with_name("viewing_daemon.py"))))
"""Has the daemon keep every catalog as a view; see `tests.mount.views`."""


def wait_until(condition: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
    """Return once the condition holds; fail the test if it does not within the time."""
    deadline = time.monotonic() + patience_s
    pause_s = 0.01
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience_s} s: {what}")
        time.sleep(pause_s)
        pause_s = min(1.2 * pause_s, 0.05)  # asking a daemon costs it, and others, as much time as many a test takes


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

    @property
    def public_dir(self) -> Path:
        """Where the daemon's public socket lies."""
        return self.base / "public"

    def change(self, statement: str, *values: object) -> None:
        """Execute one statement on the state file, for rows that no producer would write."""
        with closing(sqlite3.connect(self.state, isolation_level=None)) as state:
            state.execute(statement, values)

    def insert(self, *row: object, updated_at: object = "2024-06-02T05:00:00+00:00") -> None:
        """Write a `success` row of source, customer, query, date and run id, of any types."""
        self.change(
            "INSERT INTO partition_state"
            "(source, customer_id, query_name, logical_date, current_run_id, updated_at, status)"
            " VALUES (?, ?, ?, ?, ?, ?, 'success')",
            *row,
            updated_at,
        )


def partition(
    customer: str = "c1", query: str = "q1", date: str = "2024-06-01", source: str = "s1"
) -> LogicalPartition:
    """Return a partition's name, with parts that tests do not care about filled in."""
    return LogicalPartition(source, customer, query, date)


@dataclass(slots=True)
class Daemon:
    """One running daemon; `path` is its mount point."""

    place: Place
    process: subprocess.Popen[bytes] | ForkedProcess
    log: Path
    traits: Traits = TRAITS["pyfuse3"]

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

    @property
    def public(self) -> PublicClient:
        """A client of the public socket."""
        return PublicClient(self.path, socket_path(self.place.public_dir, self.path))

    def of(self, partition: LogicalPartition, name: str = "payload.jsonl") -> Path:
        """Return the path of a partition's file in the mount."""
        return self.directory(partition) / name

    def directory(self, partition: LogicalPartition) -> Path:
        """Return the path of a partition's date directory in the mount."""
        date = parse_date(partition.logical_date.encode())
        assert date is not None
        names = MountLayout.parse(self.traits.layout).path_of(SeriesKey(*map(os.fsencode, partition[:3])), date)
        return self.path.joinpath(*map(os.fsdecode, names))

    def is_all(self, *partitions: LogicalPartition) -> bool:
        """Whether a walk finds the two files of these partitions and nothing else."""
        files = [self.of(one, name) for one in partitions for name in ("metadata.json", "payload.jsonl")]
        return files_below(self.path) == sorted(str(file.relative_to(self.path)) for file in files)

    def status(self) -> dict[str, object]:
        """Return the daemon's status."""
        return self.client.status()

    def count(self, name: str) -> int:
        """Return one number of the status."""
        value = self.status()[name]
        assert isinstance(value, int), value
        return value

    def withheld(self) -> dict[str, int]:
        """Return the reasons for which rows are withheld, with how many are."""
        counts = self.status()["withheld"]
        assert isinstance(counts, dict)
        return {reason: count for reason, count in counts.items() if count}

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

    def events(self, event: str) -> list[dict[str, object]]:
        """Return the log lines of one event."""
        lines = (line for line in self.log_text().splitlines() if line.startswith("{"))
        return [entry for entry in map(json.loads, lines) if entry["event"] == event]

    def assert_refused(self, path: str | Path) -> None:
        """Check that a file cannot be had: its open fails, or where the kernel opens by itself, its first read."""
        if not self.traits.kernel_opens:
            with fails_with(errno.EIO):
                os.open(path, os.O_RDONLY)
            return
        with open(path, "rb", buffering=0) as file, fails_with(errno.EIO):
            file.read(1)

    def held_raw_files(self) -> list[str]:
        """Return what the daemon has open below the raw root."""
        found = []
        for link in Path(f"/proc/{self.pid}/fd").iterdir():
            try:
                target = os.readlink(link)
            except FileNotFoundError:
                continue  # closed meanwhile
            if target.startswith(f"{self.place.raw}/"):
                found.append(target)
        return found

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; return its exit code."""
        self.process.send_signal(number)
        return self.wait_ended()

    def wait_ended(self) -> int:
        """Return its exit code once it has ended."""
        return self.process.wait(PATIENCE_S)

    def kill(self) -> None:
        """Kill it, which leaves a dead mount behind."""
        self.process.kill()
        self.process.wait(PATIENCE_S)


def traits_of(engine: str) -> Traits:
    """Return what is known of an engine, or of a layout that has one."""
    return TRAITS.get(engine) or IN_LAYOUTS[engine]


def mount_command(place: Place, *arguments: str, engine: str = "pyfuse3") -> list[str]:
    """Return the command line that mounts a place."""
    return [sys.executable, "-m", "readyfs", *mount_arguments(place, *arguments, engine=engine)]


def mount_arguments(place: Place, *arguments: str, engine: str = "pyfuse3") -> list[str]:
    """Return the arguments of `readyfs` that mount a place."""
    return [
        *("mount", str(place.mountpoint)),
        *("--state", str(place.state), "--raw", str(place.raw)),
        *("--runtime-dir", str(place.runtime_dir), "--state-dir", str(place.base / "var")),
        *("--public-dir", str(place.public_dir)),
        *traits_of(engine).arguments,
        *arguments,
    ]


def start(
    place: Place, *arguments: str, engine: str = "pyfuse3", wrapper: Sequence[str] = NO_WRAPPER, afresh: bool = False
) -> Daemon:
    """Start a daemon and wait until it serves; an `--interval` of an hour unless the arguments say otherwise.

    It is forked, or a new program: `afresh`, or behind a `wrapper` that no stem can have.
    """
    if "--interval" not in arguments:
        arguments = ("--interval", "1h", *arguments)
    log = place.base / "daemon.log"
    offset = log.stat().st_size if log.exists() else 0
    process: subprocess.Popen[bytes] | ForkedProcess
    with log.open("ab") as output:
        if afresh or (wrapper and not isinstance(wrapper, StemWrapper)):
            process = subprocess.Popen(
                [*wrapper, *mount_command(place, *arguments, engine=engine)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
            )
        else:
            words = mount_arguments(place, *arguments, engine=engine)
            origin = stem(wrapper) if isinstance(wrapper, StemWrapper) else stem()
            process = origin.fork(words, output.fileno(), output.fileno())
    daemon = Daemon(place, process, log, traits_of(engine))

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


def try_to_mount(place: Place, *arguments: str, engine: str = "pyfuse3") -> subprocess.CompletedProcess[str]:
    """Run a mount that should be refused; one that is not is taken down again after a while, and fails the test."""
    before = len(mounts_at(place.mountpoint))
    try:
        return run_forked(mount_arguments(place, *arguments, engine=engine), PATIENCE_S)
    finally:
        while len(mounts_at(place.mountpoint)) > before:
            subprocess.run(["umount", "--lazy", str(place.mountpoint)], check=True, timeout=10)


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
def running(
    place: Place,
    *arguments: str,
    engine: str = "pyfuse3",
    wrapper: Sequence[str] = (),
    afresh: bool = False,
) -> Iterator[Daemon]:
    """Mount a place for a body that ends the daemon itself, or not: whatever it leaves is taken down."""
    daemon = start(place, *arguments, engine=engine, wrapper=wrapper, afresh=afresh)
    try:
        yield daemon
    finally:
        take_down(daemon)


@contextmanager
def mounted(
    place: Place,
    *arguments: str,
    engine: str = "pyfuse3",
    wrapper: Sequence[str] = (),
    afresh: bool = False,
) -> Iterator[Daemon]:
    """Mount a place for the body and watch how it ends.

    Afterwards nothing may be open in the daemon, no request may have met a bug, and the daemon must end by itself with
    exit code 0 and leave no mount.
    """
    with running(place, *arguments, engine=engine, wrapper=wrapper, afresh=afresh) as daemon:
        yield daemon
        assert daemon.process.poll() is None, f"the daemon died:\n{daemon.log_text()}"
        if not daemon.traits.kernel_opens:  # else they are kept for seconds; see `test_resources`
            wait_until(lambda: daemon.count("open_handles") == 0, "every handle is closed")
            wait_until(lambda: not daemon.held_raw_files(), "every raw file is closed")
        assert daemon.stop() == 0, daemon.log_text()
        assert not mounts_at(daemon.path)
        assert 'unexpectedly"' not in daemon.log_text()  # libpq has the word in the middle of its own
        assert not daemon.events("the native loop answers otherwise than Python")


def files_below(top: Path) -> list[str]:
    """Return the relative paths of all files below a directory, sorted; an unreadable directory is an error."""

    def fail(error: OSError) -> None:
        raise error

    return sorted(
        os.path.relpath(os.path.join(directory, name), top)
        for directory, _, names in os.walk(top, onerror=fail)
        for name in names
    )


@contextmanager
def fails_with(*numbers: int) -> Iterator[None]:
    """Expect the body to fail with one of these errno."""
    with pytest.raises(OSError) as caught:
        yield
    assert caught.value.errno in numbers, caught.value


def held_descriptors(pid: int) -> int:
    """Return how many descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))
