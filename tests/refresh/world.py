"""A refresher among fakes: a state store and a kernel that a test plays, and trio's clock."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import trio

from readyfs.errors import StateError
from readyfs.layout import RawLayout
from readyfs.partition import WithheldReason, WithheldTally
from readyfs.raw.local import LocalRawStore
from readyfs.refresh.baseline import BaselineFile
from readyfs.refresh.baseline_keeper import BaselineKeeper
from readyfs.refresh.loader import CatalogLoader
from readyfs.refresh.refresher import Refresher
from readyfs.refresh.retraction_guard import MountIdentity, RetractionGuard, RetractionLimit
from readyfs.refresh.schedule import Schedule
from readyfs.state.store import StateLoad
from readyfs.vfs.attributes import Presentation
from readyfs.vfs.file_filter import FileFilter
from readyfs.vfs.filesystem import Filesystem
from readyfs.vfs.freshness import Freshness
from readyfs.vfs.invalidation import Invalidation
from readyfs.vfs.runs import Runs
from tests.catalog.rows import NOW_NS, Row, as_series, shape


class FakeStore:
    """A state store in memory: `rows` are what is committed, `version` is the token of that."""

    label = "fake:/state"

    def __init__(self, *rows: Row) -> None:
        self.rows = list(rows)
        self.withheld: list[tuple[WithheldReason, str]] = []
        self.version: Hashable | None = 0
        self.is_exact = True
        self.failure: Exception | None = None
        self.probes = 0
        self.loads = 0
        self.forgotten = 0
        self.attempts: list[float] = []
        self.during_load: Callable[[], None] = lambda: None

    def commit(self, *rows: Row) -> None:
        """Replace all rows, as a producer's transaction does."""
        self.rows = list(rows)
        assert isinstance(self.version, int)
        self.version += 1

    def probe(self) -> Hashable | None:
        self.probes += 1
        self.attempts.append(trio.current_time())
        self._fail()
        return self.version

    def load(self) -> StateLoad:
        self.loads += 1
        token, rows = self.version, list(self.rows)
        self.during_load()
        self._fail()
        tally = WithheldTally()
        for reason, subject in self.withheld:
            tally.add(reason, subject, "why")
        return StateLoad(token, as_series(rows), tally, len(rows), lock_ms=1.5)

    def start_over(self) -> None:
        self.forgotten += 1

    def close(self) -> None:
        pass

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


class FakeKernel:
    """A kernel's cache that notes what it was told and runs a hook before it has taken it."""

    def __init__(self) -> None:
        self.told: list[list[Invalidation]] = []
        self.before: Callable[[], None] = lambda: None
        self.gate: trio.Event | None = None

    async def invalidate(self, plan: Iterable[Invalidation]) -> None:
        self.before()
        await trio.lowlevel.checkpoint()
        if self.gate is not None:
            await self.gate.wait()
        self.told.append(list(plan))


def make_guard(
    directory: Path, limit: RetractionLimit, settings: Mapping[str, str] | None = None, boot_id: str = "boot"
) -> RetractionGuard:
    """Return a guard whose baseline lies below a directory, on trio's clock."""
    keeper = BaselineKeeper(BaselineFile(directory, MOUNTPOINT))
    identity = MountIdentity(MOUNTPOINT, settings or {"state": "fake:/state"}, boot_id)
    return RetractionGuard(limit, keeper, identity, trio.current_time, lambda: NOW_NS)


MOUNTPOINT = Path("/mnt/ready")
OUTAGE = StateError("the disk is gone", "bring it back")


@dataclass(slots=True)
class World:
    """A refresher over fakes, constructed as the daemon does it; needs a trio loop."""

    directory: Path
    store: FakeStore
    schedule: Schedule = field(default_factory=lambda: Schedule(10.0))
    jitter: Callable[[], float] = lambda: 0.0
    kernel: FakeKernel = field(default_factory=FakeKernel)
    limit: RetractionLimit | None = None
    outcomes: int = 0
    guard: RetractionGuard | None = field(init=False, default=None)
    loader: CatalogLoader = field(init=False)
    freshness: Freshness = field(init=False)
    fs: Filesystem = field(init=False)
    refresher: Refresher = field(init=False)

    def __post_init__(self) -> None:
        self.freshness = Freshness(trio.current_time, lambda: NOW_NS)
        self.loader = CatalogLoader(self.store, shape(), lambda: NOW_NS)
        began = self.freshness.start()
        first = self.loader.load_first()
        self.freshness.succeeded(began)
        raw = LocalRawStore(self.directory, RawLayout.parse())
        runs = Runs(raw, [b"payload.jsonl"], FileFilter(()))
        self.fs = Filesystem(first.catalog, raw, runs, Presentation(0, 0), self.freshness, 10, lambda damage: None)
        if self.limit is not None:
            self.guard = make_guard(self.directory, self.limit)
        self.refresher = Refresher(
            self.loader,
            first,
            self.fs,
            self.kernel,
            self.freshness,
            self.schedule,
            self.jitter,
            self._count,
            self.guard,
        )
        self.store.loads = 0

    @property
    def revision(self) -> int:
        """The revision of the catalog in force."""
        return self.fs.in_force.revision

    @property
    def partitions(self) -> int:
        """How many partitions are in force."""
        return self.fs.in_force.catalog.partitions

    def _count(self) -> None:
        self.outcomes += 1
