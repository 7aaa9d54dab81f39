"""A filesystem over real raw files in a temporary directory, without a mount."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from readyfs.catalog.delta import compare
from readyfs.layout import RawLayout
from readyfs.partition import Partition
from readyfs.raw.local import LocalRawStore
from readyfs.raw.store import RawEntry, RawFile, RawStat, RawStore, UnreadableFileError
from readyfs.vfs.attributes import Entry, NegativeEntry, Presentation
from readyfs.vfs.damage_cause import Cause, DamageKind
from readyfs.vfs.file_filter import FileFilter
from readyfs.vfs.filesystem import Filesystem
from readyfs.vfs.freshness import Freshness
from readyfs.vfs.handles import HandleNumber
from readyfs.vfs.inode_number import ROOT_INODE, InodeNumber
from readyfs.vfs.invalidation import Invalidation
from readyfs.vfs.listing import ListedEntry
from readyfs.vfs.look_ahead import LookAhead
from readyfs.vfs.nodes import AboveNode
from readyfs.vfs.runs import Runs
from readyfs.vfs.views import View
from tests.catalog.rows import NOW_NS, Row, build
from tests.vfs.views_in_memory import ViewsInMemory

PAYLOAD: Final = b"payload.jsonl"
METADATA: Final = b"metadata.json"
REQUIRED: Final = (PAYLOAD, METADATA)
DAY_1: Final = b"2024-06-01"


class WatchedStore:
    """A raw store that passes every call on, counts it, and can be made to fail or to act before it answers."""

    def __init__(self, real: RawStore) -> None:
        self._real = real
        self.calls: Counter[str] = Counter()
        self.failure: OSError | None = None
        self.before: Callable[[str], None] = lambda operation: None

    @property
    def label(self) -> str:
        return self._real.label

    def list_directory(
        self, partition: Partition, relpath: tuple[bytes, ...] = (), readable: Collection[bytes] = ()
    ) -> tuple[RawEntry, ...]:
        self._note("list")
        entries = self._real.list_directory(partition, relpath, readable)
        for name in readable:
            try:
                self._note("open")
            except OSError as error:
                raise UnreadableFileError(name, error) from None
        return entries

    def open_file(self, partition: Partition, relpath: tuple[bytes, ...]) -> RawFile:
        self._note("open")
        return self._real.open_file(partition, relpath)

    def hold_file(self, partition: Partition, fd: int, stat: RawStat) -> RawFile:
        return self._real.hold_file(partition, fd, stat)

    def place_of(self, partition: Partition) -> bytes:
        return self._real.place_of(partition)

    def describe(self, partition: Partition) -> str:
        return self._real.describe(partition)

    def check(self) -> None:
        self._real.check()

    def _note(self, operation: str) -> None:
        self.calls[operation] += 1
        self.before(operation)
        if self.failure is not None:
            raise self.failure


@dataclass(slots=True)
class Clock:
    """The time that the filesystem sees, in seconds."""

    now_s: float = 100.0

    def monotonic(self) -> float:
        return self.now_s

    def wall_ns(self) -> int:
        return NOW_NS + int(self.now_s * 1e9)


@dataclass(slots=True)
class Place:
    """One world: a raw root, and a filesystem over a catalog that starts empty."""

    base: Path
    files: tuple[str, ...] = ()
    look: Presentation = field(default_factory=lambda: Presentation(uid=7, gid=8))
    max_open_files: int = 100
    sealed_bytes: int = 1 << 20
    clock: Clock = field(default_factory=Clock)
    damage: list[Invalidation] = field(default_factory=list)
    told: list[Invalidation] = field(default_factory=list)
    store: WatchedStore = field(init=False)
    runs: Runs = field(init=False)
    freshness: Freshness = field(init=False)
    views: ViewsInMemory = field(default_factory=ViewsInMemory)
    fs: Filesystem = field(init=False)

    def __post_init__(self) -> None:
        self.base.mkdir(exist_ok=True)
        self.store = WatchedStore(LocalRawStore(self.base, RawLayout.parse()))
        self.runs = Runs(self.store, REQUIRED, FileFilter(self.files), self.sealed_bytes)
        self.freshness = Freshness(self.clock.monotonic, self.clock.wall_ns)
        self.fs = Filesystem(
            build([]),
            self.store,
            self.runs,
            self.look,
            self.freshness,
            self.max_open_files,
            self.damage.append,
            LookAhead(),
            self.clock.monotonic,
            self.views,
        )

    # ---- what the producer does -------------------------------------------------------------------------------

    def run_directory(self, row: Row) -> Path:
        """Return where a row's run lies."""
        return self.base.joinpath(*map(os.fsdecode, RawLayout.parse().directory_of(row.partition)))

    def write(self, row: Row, payload: bytes = b"{}\n", **others: bytes) -> Path:
        """Write a whole run, with further files by their names (`__` for a slash, `_` for a dot)."""
        directory = self.run_directory(row)
        directory.mkdir(parents=True, exist_ok=True)
        for name, data in others.items():
            path = directory / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        (directory / "payload.jsonl").write_bytes(payload)
        (directory / "metadata.json").write_bytes(b"{}")
        return directory

    def publish(self, *rows: Row) -> None:
        """Put a catalog of exactly these rows into force."""
        before = self.fs.in_force.catalog
        catalog = build(rows, before)
        delta = compare(before, catalog, self.fs.is_known, known=self.fs.known_series())
        plan = [*self.fs.announce(delta)]
        self.fs.publish(catalog)
        plan += self.fs.plan_invalidations(delta)
        self.told = [one for one in plan if not isinstance(self.fs.inodes.peek(one.directory), AboveNode)]

    def keep(self) -> View:
        """Keep the catalog in force as a view."""
        return self.views.add(self.fs.in_force.catalog, self.clock.wall_ns())

    def view(self, view: View) -> InodeNumber:
        """Look up the root of a view."""
        return self.inode(b".readyfs", b"views", view.fingerprint.encode())

    def serve(self, row: Row, payload: bytes = b"{}\n", **others: bytes) -> Path:
        """Write a run and publish it alone."""
        directory = self.write(row, payload, **others)
        self.publish(row)
        return directory

    # ---- what the kernel does ---------------------------------------------------------------------------------

    def find(self, *names: bytes, start: InodeNumber = ROOT_INODE) -> Entry | NegativeEntry:
        """Look up a path; every name but the last must be there. Each step counts one lookup."""
        inode = start
        for name in names[:-1]:
            entry = self.fs.lookup(inode, name, may_block=True)
            assert isinstance(entry, Entry), name
            inode = entry.node.inode
        return self.fs.lookup(inode, names[-1], may_block=True)

    def entry(self, *names: bytes, start: InodeNumber = ROOT_INODE) -> Entry:
        """Look up a path that must be there."""
        entry = self.find(*names, start=start)
        assert isinstance(entry, Entry), names
        return entry

    def inode(self, *names: bytes, start: InodeNumber = ROOT_INODE) -> InodeNumber:
        """Look up a path that must be there; return its inode number."""
        return self.entry(*names, start=start).node.inode

    def day(self, day: bytes = DAY_1) -> InodeNumber:
        """Look up a date of the series that tests use by default."""
        return self.inode(b"c", b"q", day)

    def listed(self, inode: InodeNumber) -> list[ListedEntry]:
        """List a directory in one pass; nothing is counted."""
        return list(self.fs.read_directory(inode, 0, may_block=True))

    def names(self, inode: InodeNumber) -> list[bytes]:
        """Return the names that a pass over a directory shows, dots left out."""
        return [entry.name for entry in self.listed(inode) if entry.counted]

    def open(self, *names: bytes) -> HandleNumber:
        """Open a file by its path."""
        return self.fs.open_file(self.inode(*names)).handle

    def read(self, *names: bytes) -> bytes:
        """Return a file's bytes by its path."""
        handle = self.open(*names)
        try:
            return self.fs.read(handle, 0, 1 << 20)
        finally:
            self.fs.close_file(handle)


def named(text: str) -> Cause:
    """Return a cause of damage for tests to which its kind does not matter."""
    return Cause(DamageKind.UNREADABLE, text)


def kinds(names: Sequence[ListedEntry]) -> dict[bytes, str]:
    """Return the kind of each listed node by its name."""
    return {entry.name: entry.entry.node.kind.value.decode() for entry in names}
