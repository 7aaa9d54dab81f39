"""One state table and one raw root, mounted on every engine and way of reading at once, and the raw side beside them.

The raw side is a read-only bind mount of a `ReferenceTree`: the kernel's own idea of an ordinary file system that
nobody can write to. Every change of the state is followed by a refresh of all mounts, so that between two changes all
sides have to say the same.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from readyfs.demo.producer import LogicalPartition, Producer
from tests.differential.reference_tree import ReferenceTree
from tests.mount.daemon import ENGINES, SHADOW, Daemon, Place, start, take_down
from tests.mount.forgetting import drop_names

RAW: Final = "raw"
"""The name of the raw side among the engines."""
LAYOUT: Final = "{source}/{customer_id}/{query_name}/{logical_date}"

_START: Final = datetime(2024, 6, 2, 4, 5, 6, 123456, tzinfo=UTC)
_SHOWN: Final = {"a:b": "a%3Ab"}
"""Values with characters that are shown in another way (V12)."""

LONG: Final = "n" * 255
CONTROL: Final = "a\nb\x01\t"
NOT_TEXT: Final = "\udcff\udcfe.bin"
SHAPES: Final[dict[str, dict[str, int]]] = {
    "small": {"payload.jsonl": 700},
    "empty": {"payload.jsonl": 0},
    "pages": {"payload.jsonl": 4096, "more.bin": 4097, "less.bin": 4095},
    "large": {"payload.jsonl": (1 << 20) + 13},
    "names": {"payload.jsonl": 90, LONG: 5, CONTROL: 6, NOT_TEXT: 7, "..x": 8, " ": 9, "ünï\\%2F": 10},
    "nested": {"payload.jsonl": 5000, "sub/inner.bin": 300, "sub/deep/leaf": 2},
    "sparse": {"payload.jsonl": 20, "sparse.bin": 300_000},
    "strange": {"payload.jsonl": 33},
}
"""What a run can be made of: sizes by name, `metadata.json` besides. Of `sparse.bin` only the middle is written; a
strange run holds a link, a dangling one and a fifo, which no mount shows."""
SPARSE: Final = "sparse.bin"


@dataclass(frozen=True, slots=True)
class Side:
    """One of the trees that are compared."""

    name: str
    top: Path


@dataclass(slots=True)
class SharedPlace(Place):
    """A mount point of its own, in a directory of its own, over state and raw root of the directory above."""

    @property
    def state(self) -> Path:
        """The state file."""
        return self.base.parent / "state.db"

    @property
    def raw(self) -> Path:
        """The raw root."""
        return self.base.parent / "raw"


@dataclass(slots=True)
class World:
    """The sides, and the pipeline that changes what they show.

    `examples` counts what was tried: each has a source of its own, so that nothing which a kernel or a daemon remembers
    of one example's names bears on another. `changes` counts the changes of the state.
    """

    base: Path
    arguments: tuple[str, ...] = ()
    wrapper: tuple[str, ...] = ()
    engines: tuple[str, ...] = (*ENGINES, SHADOW)
    examples: int = 0
    changes: int = 0
    tree: ReferenceTree = field(init=False)
    _places: dict[str, SharedPlace] = field(init=False, default_factory=dict)
    _daemons: dict[str, Daemon] = field(init=False, default_factory=dict)
    _runs: dict[LogicalPartition, list[str]] = field(init=False, default_factory=dict)
    _counts: dict[str, int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.tree = ReferenceTree(self.base / "tree", self.base / "aside")
        for engine in self.engines:
            (self.base / engine).mkdir()
            self._places[engine] = SharedPlace(self.base / engine)

    @property
    def source(self) -> str:
        """The source of this example's partitions: the first directory on every path."""
        return f"e{self.examples}"

    @property
    def sides(self) -> list[Side]:
        """The raw side first, then the mounts."""
        return [Side(RAW, self.raw_view), *(Side(name, place.mountpoint) for name, place in self._places.items())]

    @property
    def raw_view(self) -> Path:
        """Where the raw side is mounted."""
        return self.base / "view"

    def shown_path(self, partition: LogicalPartition) -> str:
        """Return where a partition is shown, by the letter of V1 and V12."""
        return "/".join(self._shown_at(partition))

    def begin_example(self) -> None:
        """Start what does not run, and take a new source."""
        self.examples += 1
        for engine, place in self._places.items():
            daemon = self._daemons.get(engine)
            if daemon is None or daemon.process.poll() is not None:
                if daemon is not None:
                    take_down(daemon)
                arguments = ("--layout", LAYOUT, *self.arguments)
                self._daemons[engine] = start(place, *arguments, engine=engine, wrapper=self.wrapper)

    def end_example(self) -> None:
        """Empty state, raw root and reference tree."""
        with self._producer.one_transaction():
            for partition in self._runs:
                self._producer.delete_row(partition)
        self._runs.clear()
        self.tree.clear()
        self.refresh()
        shutil.rmtree(self._place.raw / self.source, ignore_errors=True)

    def drop_names(self) -> None:
        """Have the kernel forget every name of every mount."""
        for place in self._places.values():
            drop_names(place.mountpoint)

    def kill(self) -> None:
        """Kill every daemon: frees who waits for one that does not answer."""
        for daemon in self._daemons.values():
            daemon.process.kill()

    def close(self) -> None:
        """Take everything down."""
        for daemon in self._daemons.values():
            take_down(daemon)
        for place in self._places.values():
            place.producer.close()

    # ---- the pipeline ---------------------------------------------------------------------------------------

    def publish(self, partition: LogicalPartition, shape: str) -> None:
        """Write a new run and make it current, without a refresh."""
        self.changes += 1
        partition = partition._replace(source=self.source)
        run_id = f"r{self.changes}"
        run = self._producer.begin_run(partition, run_id)
        times = (1_717_290_000_123_456_789 + 10**9 * self.changes + number for number in range(100))
        files = {}
        for name, size in SHAPES[shape].items():
            path = run.directory / name
            path.parent.mkdir(exist_ok=True, parents=True)
            files[name] = _write(path, f"{self.source} {run_id} {name} ", size), next(times)
        if shape == "strange":
            (run.directory / "latest").symlink_to("payload.jsonl")
            (run.directory / "dangling").symlink_to("nowhere")
            os.mkfifo(run.directory / "pipe")
        self._producer.seal_run(run)
        files["metadata.json"] = (run.directory / "metadata.json").read_bytes(), next(times)
        for name, (_, time_ns) in files.items():
            os.utime(run.directory / name, ns=(1, time_ns))
        directory_time_ns = next(times)
        for path in run.directory.rglob("*/"):
            os.utime(path, ns=(1, directory_time_ns), follow_symlinks=False)
        self.tree.add_run(run_id, files, directory_time_ns)
        self._runs.setdefault(partition, []).append(run_id)
        self._counts[run_id] = len(files)
        self._point(partition, run_id)

    def publish_again(self, partition: LogicalPartition, choice: int) -> None:
        """Point a row at one of the partition's runs: the current one (the row is touched) or an older one."""
        partition = partition._replace(source=self.source)
        runs = self._runs.get(partition)
        if runs:
            self.changes += 1
            self._point(partition, runs[choice % len(runs)])

    def retract(self, partition: LogicalPartition, how: str) -> None:
        """Turn a row to one that is not ready, or remove it."""
        self.changes += 1
        partition = partition._replace(source=self.source)
        match how:
            case "fail":
                self._producer.fail(partition)
            case "requeue":
                self._producer.requeue(partition)
            case _:
                self._producer.delete_row(partition)
        self._runs.setdefault(partition, [])
        self.tree.hide(self._shown_at(partition))

    def refresh(self) -> None:
        """Refresh every mount; they do so at the same time."""
        with ThreadPoolExecutor(len(self._daemons)) as at_once:
            for done in [at_once.submit(daemon.refresh) for daemon in self._daemons.values()]:
                done.result()

    def _point(self, partition: LogicalPartition, run_id: str) -> None:
        at = _START + timedelta(seconds=self.changes)
        self._producer.set_ready(partition, run_id, record_count=self._counts[run_id], schema_version="v1", at=at)
        lineage = {
            **partition._asdict(),
            "run_id": run_id,
            "updated_at": at.isoformat(),
            "record_count": str(self._counts[run_id]),
            "schema_version": "v1",
        }
        since_epoch = at - datetime(1970, 1, 1, tzinfo=UTC)
        self.tree.show(self._shown_at(partition), run_id, since_epoch // timedelta(microseconds=1) * 1000, lineage)

    def _shown_at(self, partition: LogicalPartition) -> tuple[str, ...]:
        words = partition._replace(source=self.source)
        return tuple(_SHOWN.get(word, word) for word in words)

    @property
    def _place(self) -> SharedPlace:
        return next(iter(self._places.values()))

    @property
    def _producer(self) -> Producer:
        return self._place.producer


@contextmanager
def all_mounted(base: Path, **options: object) -> Iterator[World]:
    """Make a world and mount the raw side; whatever stands afterwards is taken down."""
    world = World(base, **options)  # type: ignore[arg-type]
    world.raw_view.mkdir()
    mount = ["mount", "-o", "bind,ro,nosuid,nodev,noexec,noatime", str(world.tree.top), str(world.raw_view)]
    try:
        subprocess.run(mount, check=True, timeout=10)
        try:
            yield world
        finally:
            subprocess.run(["umount", "--lazy", str(world.raw_view)], check=True, timeout=10)
    finally:
        world.close()


def _write(path: Path, sign: str, size: int) -> bytes:
    """Write a file whose every piece tells whose it is, and return its content."""
    count = size // len(sign) + 1
    content = "".join(f"{sign}{number}\n" for number in range(count)).encode(errors="surrogateescape")[:size]
    if path.name == SPARSE:
        middle = content[131072:135168]
        content = bytes(131072) + middle + bytes(size - 135168)
        with path.open("wb") as file:
            file.truncate(size)
            os.pwrite(file.fileno(), middle, 131072)
    else:
        path.write_bytes(content)
    return content
