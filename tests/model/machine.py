"""The state machine: random life of a pipeline and of its readers over a real mount, judged by the reference model.

Each example has a world and a daemon of its own. The daemon's timer never fires, so that a refresh happens when the
machine asks for one: mostly waiting for its end (then one version is right), sometimes not (then any since will do).
"""

from __future__ import annotations

import errno
import os
import tempfile
import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path as FilePath
from typing import ClassVar, Final, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from readyfs.demo.producer import LogicalPartition
from readyfs.errors import RefreshFailedError
from readyfs.fuse.mount_table import mounts_at
from tests.model.observer import PartialListing, attempt, list_whole, look, open_file, read_whole, seen
from tests.model.pipeline import EXTRA, Pipeline
from tests.model.reference import (
    PLAIN,
    REQUIRED,
    Ambiguous,
    Answer,
    FileRules,
    Meaning,
    Mismatch,
    Path,
    Ready,
    Reference,
    RunKey,
    RunTruth,
    Seen,
    Version,
    looks_broken,
    shown_path,
)
from tests.mount.daemon import TRAITS, VIEWING, Daemon, Place, start, take_down, wait_until
from tests.mount.forgetting import drop_names
from tests.mount.viewing_daemon import ORDERS
from tests.mount.views import Views

T = TypeVar("T")

DATES: Final = [f"2024-06-{day:02d}" for day in range(1, 13)]
USUAL: Final = [
    *(LogicalPartition("s1", "007", "q1", date) for date in DATES),
    LogicalPartition("s1", "007", "q2", DATES[0]),
    LogicalPartition("s1", "a:b", "q1", DATES[0]),
    LogicalPartition("s1", "a:b", "q1", DATES[1]),
]
RIVAL: Final = LogicalPartition("s2", "007", "q1", DATES[0])
"""Claims the path of the first usual partition (V13)."""
UNUSABLE: Final = [
    LogicalPartition("s1", "..", "q1", DATES[0]),
    LogicalPartition("s1", "007", "q/1", DATES[0]),
    LogicalPartition("s1", "007", "q1", "2024-06-31"),
]
LAYOUTS: Final = (
    PLAIN,
    "{logical_date}/{customer_id}/{query_name}",
    "{query_name}/{year}-{month}/c={customer_id}/{day}",
)
"""Dates last, first, and in parts."""
NAMES: Final = [*sorted(REQUIRED), EXTRA, b".payload.jsonl.crc"]
STRANGERS: Final = [(b"nobody",), (b".git",), (b"007", b"q9"), (b"007", b"q1", b"2031-01-01"), (b"a:b",), (b"..x",)]

DEATH: Final = frozenset({errno.ENOTCONN, errno.ECONNABORTED, errno.EIO})
PATIENCE_S: Final = 90.0
EVENTS_APART: Final = 8
"""Rare and slow events (restarts, dropped caches) keep so many changes of the state between them."""

partitions = st.sampled_from(USUAL)


def chosen(choices: Callable[[ReadyfsMachine], Sequence[T]]) -> st.SearchStrategy[T]:
    """Return a strategy for one of what the machine that draws it has to choose from."""
    return st.runner().flatmap(lambda machine: st.sampled_from(choices(machine)))


templates = chosen(lambda machine: machine.layouts)
paths = chosen(lambda machine: machine.all_paths)
places_above = chosen(lambda machine: machine.all_above)
shown_directories = chosen(lambda machine: [*machine.all_above, *machine.all_paths])
places_of_dates = chosen(lambda machine: sorted({path[:-1] for path in machine.all_paths}))
directories = chosen(lambda machine: [*machine.all_above, *machine.all_paths, *STRANGERS])
names = st.sampled_from(NAMES)
choices = st.integers(0, 1000)
lengths = st.sampled_from([0, 1, 3, 40, 4000])


@dataclass(slots=True)
class HeldFile:
    """An open file, and the runs whose file it can be; each observation leaves fewer.

    None at all: a file of a run that could not be served when a kernel that opens by itself opened it.
    """

    descriptor: int
    name: bytes
    inode: int
    candidates: list[RunTruth]


@dataclass(slots=True)
class HeldDirectory:
    """An open date directory, and what it can mean; the path says where it stood."""

    descriptor: int
    path: Path
    meanings: list[Meaning]


@dataclass(slots=True)
class HeldPass:
    """A listing of a directory above the dates that was read in part, and the names that it may have in the end."""

    descriptor: int
    path: Path
    listing: PartialListing
    possible: list[frozenset[bytes]]


class ReadyfsMachine(RuleBasedStateMachine):
    """Drives pipeline, daemon and readers; subclasses choose the engine, and may start the daemon by a wrapper."""

    engine: ClassVar[str] = "pyfuse3"
    wrapper: ClassVar[tuple[str, ...]] = VIEWING
    layouts: ClassVar[tuple[str, ...]] = LAYOUTS

    def __init__(self) -> None:
        super().__init__()
        self._temporary = tempfile.TemporaryDirectory(prefix="readyfs-model-")
        self._place = Place(FilePath(self._temporary.name))
        self._mount = os.fsencode(self._place.mountpoint)
        self._reference = Reference()
        self._pipeline = Pipeline(self._place.producer, self._reference)
        self._kernel_lists, self._kernel_opens = TRAITS[self.engine].kernel_lists, TRAITS[self.engine].kernel_opens
        self._rules = FileRules(self._pipeline.runs, kernel_opens=self._kernel_opens)
        self._daemon: Daemon | None = None
        self._files: list[HeldFile] = []
        self._directories: list[HeldDirectory] = []
        self._above: list[tuple[int, Path]] = []
        self._passes: list[HeldPass] = []
        self._views: dict[str, Version] = {}
        self._expired: set[str] = set()
        self._inodes: dict[int, Hashable] = {}
        self._identities: dict[Hashable, int] = {}
        self._above_times: dict[Path, tuple[int, frozenset[bytes]]] = {}
        self._is_down = False
        self._last_event = self._pipeline.steps
        self._has_failed = False
        # A reader that waits for a daemon which does not answer can be freed by the daemon's death only.
        self._watchdog = threading.Timer(PATIENCE_S, self._kill_hanging)
        self._watchdog.daemon = True
        self._watchdog.start()

    @property
    def all_paths(self) -> list[Path]:
        """Where the usual partitions lie."""
        return sorted({path for path in map(self._shown_path, USUAL) if path is not None})

    @property
    def all_above(self) -> list[Path]:
        """The directories over them."""
        return sorted({path[:depth] for path in self.all_paths for depth in range(len(path))})

    def _shown_path(self, partition: LogicalPartition) -> Path | None:
        return shown_path(partition, self._reference.template)

    @initialize(
        layout=templates,
        ready=st.lists(partitions, unique=True, max_size=len(USUAL)),
        lines=lengths,
    )
    def begin_the_world(self, layout: str, ready: list[LogicalPartition], lines: int) -> None:
        self._reference.template = layout
        for one in ready:
            self._publish_new(one, lines)
        self._start()

    def teardown(self) -> None:
        try:
            if self._daemon is not None and not self._has_failed:
                self._conclude()
        finally:
            self._watchdog.cancel()
            self._let_go()
            if self._daemon is not None:
                take_down(self._daemon)
            self._place.producer.close()
            self._temporary.cleanup()

    # ---- the pipeline ---------------------------------------------------------------------------------------

    @rule(one=partitions, lines=lengths)
    def begin_run(self, one: LogicalPartition, lines: int) -> None:
        self._pipeline.begin(one, lines)

    @precondition(lambda self: self._can_write and self._pipeline.unsealed)
    @rule(choice=choices)
    def finish_run(self, choice: int) -> None:
        run = _pick(self._pipeline.unsealed, choice)
        self._pipeline.seal(run)
        self._pipeline.publish(run)

    @precondition(lambda self: self._pipeline.unsealed)
    @rule(choice=choices)
    def seal_without_publishing(self, choice: int) -> None:
        self._pipeline.seal(_pick(self._pipeline.unsealed, choice))

    @precondition(lambda self: self._can_write)
    @rule(one=partitions, lines=lengths)
    def run_again(self, one: LogicalPartition, lines: int) -> None:
        self._publish_new(one, lines)

    @precondition(lambda self: self._can_write)
    @rule(some=st.lists(partitions, unique=True, min_size=2, max_size=5), lines=lengths)
    def run_several_in_one_transaction(self, some: list[LogicalPartition], lines: int) -> None:
        runs = [self._pipeline.begin(one, lines) for one in some]
        with self._pipeline.one_transaction():
            for run in runs:
                self._pipeline.seal(run)
                self._pipeline.publish(run)

    @precondition(lambda self: self._can_write and self._pipeline.runs)
    @rule(choice=choices)
    def publish_any_run(self, choice: int) -> None:
        """An operator points a row at some run: an older one, one that is half-written, one that is damaged."""
        self._pipeline.publish(_pick(list(self._pipeline.runs.values()), choice))

    @precondition(lambda self: self._can_write)
    @rule(one=partitions)
    def fail(self, one: LogicalPartition) -> None:
        self._pipeline.fail(one)

    @precondition(lambda self: self._can_write)
    @rule(one=partitions)
    def requeue(self, one: LogicalPartition) -> None:
        self._pipeline.requeue(one)

    @precondition(lambda self: self._can_write)
    @rule(one=partitions)
    def expect(self, one: LogicalPartition) -> None:
        self._pipeline.expect(one)

    @precondition(lambda self: self._can_write)
    @rule(one=st.sampled_from([*USUAL, RIVAL, *UNUSABLE]))
    def delete_row(self, one: LogicalPartition) -> None:
        self._pipeline.delete_row(one)

    @precondition(lambda self: self._can_write and self._pipeline.ready_rows)
    @rule(choice=choices)
    def touch_row(self, choice: int) -> None:
        self._pipeline.touch(_pick(self._pipeline.ready_rows, choice))

    @precondition(lambda self: self._can_write)
    @rule(one=partitions, run_id=st.sampled_from([None, ""]))
    def accept_without_run(self, one: LogicalPartition, run_id: str | None) -> None:
        self._pipeline.set_ready(one, run_id, 1)

    @precondition(lambda self: self._can_write)
    @rule(one=st.sampled_from([RIVAL, *UNUSABLE]))
    def accept_what_cannot_be_served(self, one: LogicalPartition) -> None:
        self._pipeline.set_ready(one, "r1", 1)

    @precondition(lambda self: any(run.is_whole for run in self._pipeline.runs.values()))
    @rule(choice=choices, name=st.sampled_from([None, None, *sorted(REQUIRED)]))
    def lose_raw_files(self, choice: int, name: bytes | None) -> None:
        whole = [run for run in self._pipeline.runs.values() if run.is_whole]
        current = [run for run in whole if self._is_current(run.key)]
        self._pipeline.take_away(_pick(current or whole, choice), name)

    @precondition(lambda self: self._pipeline.damaged)
    @rule(choice=choices)
    def restore_raw_files(self, choice: int) -> None:
        self._pipeline.put_back(_pick(self._pipeline.damaged, choice))

    # ---- the daemon -----------------------------------------------------------------------------------------

    @rule()
    def refresh(self) -> None:
        if self._is_down:
            try:
                self._running.refresh()
            except RefreshFailedError:
                assert self._running.status()["state_error"]
                return
            raise AssertionError("a refresh succeeded without a state store")
        self._running.refresh()
        self._reference.refreshed()
        self._check_status()

    @rule()
    def refresh_and_look_at_everything(self) -> None:
        self.refresh()
        self._sweep()

    @precondition(lambda self: self._can_write)
    @rule()
    def ask_for_a_refresh(self) -> None:
        """Without waiting for it: until a later one has ended, any version since may answer."""
        self._reference.refresh_may_run()
        self._running.client.refresh(wait=False)

    @precondition(lambda self: not self._is_down and len(self._reference.alive) == 1)
    @rule()
    def lose_the_state_store(self) -> None:
        os.rename(self._place.state, self._place.base / "state.away")
        self._is_down = True
        self.refresh()

    @precondition(lambda self: self._is_down)
    @rule()
    def find_the_state_store(self) -> None:
        os.rename(self._place.base / "state.away", self._place.state)
        self._is_down = False

    @precondition(lambda self: self._is_event_due and os.geteuid() == 0)
    @rule(pages=st.booleans())
    def drop_caches(self, pages: bool) -> None:
        self._last_event = self._pipeline.steps
        if mounts_at(self._place.mountpoint):
            drop_names(self._place.mountpoint)
        for held in self._files if pages else ():
            os.posix_fadvise(held.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    @precondition(lambda self: self._is_event_due and self._can_start)
    @rule()
    def restart(self) -> None:
        """SIGTERM: what is open goes on being served (V5), then the daemon ends with 0."""
        self._last_event = self._pipeline.steps
        self._running.process.terminate()
        wait_until(lambda: not mounts_at(self._place.mountpoint), "the mount is detached")
        for held in self._files:
            self._read_held(held, 0, 1 << 16)
        for directory in self._directories:
            self._list_held(directory)
        self._let_go()
        assert self._running.wait_ended() == 0, self._running.log_text()
        self._start()

    @precondition(lambda self: self._is_event_due and self._can_start)
    @rule()
    def kill_and_start_again(self) -> None:
        """SIGKILL: errors and never an empty tree or other bytes (V14); the next start clears what is left."""
        self._last_event = self._pipeline.steps
        self._running.kill()
        with self._judging():
            dead = attempt(lambda: os.listdir(os.fsdecode(self._mount)))
            if isinstance(dead, list):
                # What the kernel keeps of a listing outlives the daemon; what it lists must have been there.
                kept = [version.names[()] for version in self._reference.alive]
                is_kept = self._kernel_lists and frozenset(map(os.fsencode, dead)) in kept
                self._require(is_kept, f"a dead mount lists {dead!r}")
            elif dead not in DEATH:
                raise Mismatch(f"a dead mount fails to be listed with {dead!r}")
            for held in self._files:
                data = attempt(partial(os.pread, held.descriptor, 1 << 16, 0))
                if isinstance(data, bytes):
                    self._narrow(held, data, 0, 1 << 16)
                elif data not in DEATH:
                    raise Mismatch(f"reading a file of a dead mount fails with {data}")
        self._start()
        self._let_go()

    # ---- readers by path ------------------------------------------------------------------------------------

    @rule(path=directories)
    def stat_directory(self, path: Path) -> None:
        self._stat_directory(path)

    @rule(path=directories)
    def list_directory(self, path: Path) -> None:
        self._list_directory(path)

    @rule(path=paths, name=names)
    def stat_file(self, path: Path, name: bytes) -> None:
        self._stat_file(path, name)

    @rule(path=paths, name=names)
    def read_file(self, path: Path, name: bytes) -> None:
        self._read_file(path, name)

    @rule(path=paths, name=st.sampled_from([None, *sorted(REQUIRED)]))
    def read_lineage(self, path: Path, name: bytes | None) -> None:
        """The extended attributes name the run, and the row as it is now."""
        where = self._at(path if name is None else (*path, name))
        observed = attempt(lambda: os.getxattr(where, "user.readyfs.run_id"))
        self._judge(("lineage", path, name), observed, lambda v: self._lineage_fits(v.tree.get(path), observed))
        if isinstance(observed, bytes) and name is None:
            count = attempt(lambda: os.getxattr(where, "user.readyfs.record_count"))
            self._judge(("count", path), count, lambda v: self._count_fits(v.tree.get(path), count))

    # ---- readers that hold something ------------------------------------------------------------------------

    @rule(path=paths, name=st.sampled_from([*sorted(REQUIRED), EXTRA]))
    def hold_file(self, path: Path, name: bytes) -> None:
        descriptor, failure = open_file(self._at((*path, name)))
        found = failure if descriptor is None else seen(os.fstat(descriptor))
        # Opening gives a descriptor or an errno; whose bytes it gives is found out by reading.
        fitting = self._judge(("read", path, name), found, lambda v: self._open_fits(v.tree.get(path), name, found))
        if descriptor is None or isinstance(found, int):
            return
        meanings = [version.tree[path] for version in fitting]
        runs = [self._pipeline.runs[meaning.run] for meaning in meanings if isinstance(meaning, Ready)]
        if self._kernel_opens and looks_broken(found):
            runs = []
        self._files.append(HeldFile(descriptor, name, found.inode, runs))

    @rule(choice=choices, offset=st.integers(0, 300_000), size=st.sampled_from([1, 100, 5000, 1 << 17, 1 << 20]))
    def read_held_file(self, choice: int, offset: int, size: int) -> None:
        held = _pick_any(self._files, choice)
        if held is None:
            return
        self._read_held(held, offset % (os.fstat(held.descriptor).st_size + 10), size)

    @rule(choice=choices)
    def close_held_file(self, choice: int) -> None:
        held = _pick_any(self._files, choice)
        if held is None:
            return
        self._files.remove(held)
        os.close(held.descriptor)

    @rule(path=paths)
    def hold_date_directory(self, path: Path) -> None:
        descriptor, failure = open_file(self._at(path), os.O_RDONLY | os.O_DIRECTORY)
        found = failure if descriptor is None else seen(os.fstat(descriptor))
        fitting = self._judge(("directory", path), found, lambda v: self._directory_fits(v, path, found))
        if descriptor is not None:
            self._directories.append(HeldDirectory(descriptor, path, [version.tree[path] for version in fitting]))

    @rule(choice=choices)
    def list_held_directory(self, choice: int) -> None:
        held = _pick_any(self._directories, choice)
        if held is not None:
            self._list_held(held)

    @rule(choice=choices, name=names)
    def read_in_held_directory(self, choice: int, name: bytes) -> None:
        """V6: whatever happened to the path, a held directory gives the files of one run."""
        held = _pick_any(self._directories, choice)
        if held is None:
            return
        answer = look(name, held.descriptor)
        with self._judging():
            held.meanings = [one for one in held.meanings if self._rules.stat_fits(one, name, answer)]
            self._require(held.meanings, f"held {held.path} shows {name!r} as {answer}")
        observed = read_whole(name, held.descriptor)
        with self._judging():
            held.meanings = [one for one in held.meanings if self._rules.open_fits(one, name, observed)]
            self._require(held.meanings, f"held {held.path} gives {_short(observed)} for {name!r}")
        self._note_read(held.meanings, name, observed)

    @rule(choice=choices)
    def close_held_directory(self, choice: int) -> None:
        held = _pick_any(self._directories, choice)
        if held is None:
            return
        self._directories.remove(held)
        os.close(held.descriptor)

    @rule(path=places_above)
    def hold_directory_above(self, path: Path) -> None:
        descriptor, failure = open_file(self._at(path), os.O_RDONLY | os.O_DIRECTORY)
        self._judge(("directory", path), failure, lambda v: failure == (0 if path in v.names else errno.ENOENT))
        if descriptor is not None:
            self._above.append((descriptor, path))

    @rule(choice=choices)
    def list_held_directory_above(self, choice: int) -> None:
        """V6: it follows the catalog, and lists empty while nothing ready lies below it."""
        held = _pick_any(self._above, choice)
        if held is None:
            return
        descriptor, path = held
        observed = list_whole(descriptor)
        names = frozenset(observed) if isinstance(observed, dict) else observed
        self._judge(("held listing", descriptor), names, lambda v: names == v.names.get(path, frozenset()))

    @rule(path=places_above)
    def begin_a_pass(self, path: Path) -> None:
        descriptor, failure = open_file(self._at(path), os.O_RDONLY | os.O_DIRECTORY)
        self._judge(("directory", path), failure, lambda v: failure == (0 if path in v.names else errno.ENOENT))
        if descriptor is not None:
            held = HeldPass(descriptor, path, PartialListing(descriptor), self._possible_names(path))
            self._passes.append(held)
            held.listing.read_some()

    @precondition(lambda self: self._can_write)
    @rule()
    def lose_a_name_in_the_middle_of_a_pass(self) -> None:
        """The oldest trap of all: what stands behind the lost name moves up, under the reader's position."""
        before, path = len(self._passes), self.all_paths[0][:-1]
        self.begin_a_pass(path)
        beside = [one for one in USUAL if (self._shown_path(one) or ())[:-1] == path]
        ready = [one for one in beside if one in self._pipeline.ready_rows]
        if ready:
            self._pipeline.requeue(ready[0])
        self.refresh()
        if len(self._passes) > before:
            self.end_a_pass(before)

    @rule(choice=choices)
    def go_on_with_a_pass(self, choice: int) -> None:
        held = _pick_any(self._passes, choice)
        if held is not None:
            held.listing.read_some()

    @rule(choice=choices)
    def end_a_pass(self, choice: int) -> None:
        """V7: whatever was refreshed meanwhile, one pass lists the names of one catalog."""
        held = _pick_any(self._passes, choice)
        if held is None:
            return
        self._passes.remove(held)
        with self._judging():
            names = frozenset(held.listing.rest())
            if names not in held.possible:
                raise Mismatch(f"one pass over {held.path} listed {sorted(names)}, possible {held.possible}")
        os.close(held.descriptor)

    @rule(choice=choices)
    def begin_a_pass_anew(self, choice: int) -> None:
        """V7: `rewinddir` starts a new pass."""
        held = _pick_any(self._passes, choice)
        if held is None:
            return
        held.listing.rewind()
        held.possible = self._possible_names(held.path)
        held.listing.read_some()

    # ---- views, and links ------------------------------------------------------------------------------------

    @precondition(lambda self: len(self._reference.alive) == 1)
    @rule()
    def take_a_view(self) -> None:
        """V16: from now on it has what is in force now, whatever comes."""
        fingerprint = os.getxattr(self._mount, "user.readyfs.fingerprint").decode()
        self._views.setdefault(fingerprint, self._reference.alive[0])

    @precondition(lambda self: self._views)
    @rule(choice=choices, path=paths, name=names)
    def read_in_a_view(self, choice: int, path: Path, name: bytes) -> None:
        view = _pick(sorted(self._views), choice)
        meaning = self._views[view].tree.get(path)
        where = self._at((b".readyfs", b"views", view.encode(), *path, name))
        observed, answer = read_whole(where), look(where)
        with self._judging():
            if view in self._expired and meaning is not None:
                self._require(observed == errno.EIO, f"expired {view} gives {_short(observed)} for {path}, {name!r}")
                return
            self._require(self._rules.stat_fits(meaning, name, answer), f"{view} shows {path}, {name!r} as {answer}")
            fits = self._rules.open_fits(meaning, name, observed)
            self._require(fits, f"{view} gives {_short(observed)} for {path}, {name!r}")
            if isinstance(observed, bytes) and isinstance(meaning, Ready):
                self._rules.note_read(meaning.run, name)

    @precondition(lambda self: self._views)
    @rule(choice=choices, path=shown_directories)
    def list_in_a_view(self, choice: int, path: Path) -> None:
        view = _pick(sorted(self._views), choice)
        version = self._views[view]
        listed = list_whole(self._at((b".readyfs", b"views", view.encode(), *path)))
        found = frozenset(listed) if isinstance(listed, dict) else listed
        with self._judging():
            self._require(self._listing_fits(version, path, found), f"{view} lists {path} as {found}")

    @precondition(lambda self: self._views)
    @rule(choice=choices)
    def expire_a_view(self, choice: int) -> None:
        """V18: names stay, and nothing can be opened any more."""
        view = _pick(sorted(self._views), choice)
        views = Views(self._running, self._place.base / "orders")
        views.expire(views.directory / view)
        self._expired.add(view)

    @rule(path=places_of_dates)
    def follow_latest(self, path: Path) -> None:
        """V19: it leads to the newest date, and is absent where there is none, or dates are not the last names."""
        is_last = self._reference.template == PLAIN
        observed = attempt(lambda: os.readlink(self._at((*path, b"latest"))))

        def fits(version: Version) -> bool:
            return observed == (max(version.names[path]) if is_last and path in version.names else errno.ENOENT)

        self._judge(("latest", path), observed, fits)

    # ---- what chance alone brings about too seldom ----------------------------------------------------------

    @precondition(lambda self: self._can_write)
    @rule(one=partitions, lines=lengths, name=st.sampled_from(sorted(REQUIRED)))
    def switch_under_readers(self, one: LogicalPartition, lines: int, name: bytes) -> None:
        """V5, V6: an open file and a held directory go on with their run, the path goes over to the next."""
        path = self._shown_path(one)
        assert path is not None
        files, directories = len(self._files), len(self._directories)
        self.hold_date_directory(path)
        self.hold_file(path, name)
        self._publish_new(one, lines)
        self.refresh()
        if len(self._files) > files:
            self.read_held_file(files, 0, 1 << 20)
        if len(self._directories) > directories:
            self.read_in_held_directory(directories, name)
            self.list_held_directory(directories)
        self._read_file(path, name)

    @precondition(lambda self: self._can_write)
    @rule(one=partitions, lines=lengths)
    def ask_before_and_after(self, one: LogicalPartition, lines: int) -> None:
        """I13: what the kernel remembers of a name, be it its absence or its time, is gone after a refresh."""
        path = self._shown_path(one)
        assert path is not None
        self._stat_directory(path)
        if one in self._pipeline.ready_rows:
            self._pipeline.touch(one)
        else:
            self._publish_new(one, lines)
        self.refresh()
        self._stat_directory(path)

    @precondition(lambda self: self._reference.alive[-1].tree)
    @rule(choice=choices, name=st.sampled_from([None, *sorted(REQUIRED)]))
    def lose_and_restore_what_is_read(self, choice: int, name: bytes | None) -> None:
        """V10: a current run breaks under its readers, and heals when its files come back."""
        current = [
            (path, self._pipeline.runs[meaning.run])
            for path, meaning in sorted(self._reference.alive[-1].tree.items())
            if isinstance(meaning, Ready) and self._pipeline.runs[meaning.run].is_whole
        ]
        if not current:
            return
        path, run = _pick(current, choice)
        self._pipeline.take_away(run, name)
        for _ in range(2):
            for one in sorted(REQUIRED):
                self._read_file(path, one)
                self._stat_file(path, one)
            self._list_directory(path)
            if run.away:
                self._pipeline.put_back(run)

    # ---- what the rules are made of -------------------------------------------------------------------------

    @property
    def _running(self) -> Daemon:
        assert self._daemon is not None
        return self._daemon

    @property
    def _can_write(self) -> bool:
        return not self._is_down

    @property
    def _can_start(self) -> bool:
        """A start needs the state store, and refuses ambiguous paths (V13)."""
        return not self._is_down and Ambiguous.AMBIGUOUS not in self._reference.committed.tree.values()

    @property
    def _is_event_due(self) -> bool:
        return self._pipeline.steps - self._last_event >= EVENTS_APART

    def _possible_names(self, path: Path) -> list[frozenset[bytes]]:
        return [version.names.get(path, frozenset()) for version in self._reference.alive]

    def _at(self, path: Path) -> bytes:
        return b"/".join((self._mount, *path))

    def _publish_new(self, one: LogicalPartition, lines: int) -> None:
        run = self._pipeline.begin(one, lines)
        self._pipeline.seal(run)
        self._pipeline.publish(run)

    def _is_current(self, key: RunKey) -> bool:
        path = self._shown_path(key.partition)
        meaning = self._reference.alive[-1].tree.get(path) if path else None
        return isinstance(meaning, Ready) and meaning.run == key

    def _start(self) -> None:
        orders = self._place.base / "orders"
        orders.mkdir(exist_ok=True)
        os.environ[ORDERS] = str(orders)
        settings = ("--name-timeout", "60s", "--layout", self._reference.template)
        self._daemon = start(self._place, *settings, engine=self.engine, wrapper=self.wrapper)
        self._views.clear()  # it keeps them in memory
        self._expired.clear()
        self._rules.daemon_started()
        self._reference.refreshed()
        self._above_times.clear()
        self._check_status()

    def _let_go(self) -> None:
        descriptors = [file.descriptor for file in self._files]
        descriptors += [directory.descriptor for directory in self._directories]
        descriptors += [one.descriptor for one in self._passes]
        descriptors += [descriptor for descriptor, _ in self._above]
        self._files, self._directories, self._passes, self._above = [], [], [], []
        for descriptor in descriptors:
            attempt(partial(os.close, descriptor))

    def _kill_hanging(self) -> None:
        if self._daemon is not None and self._daemon.process.poll() is None:
            self._daemon.process.kill()

    def _judging(self) -> _Judging:
        return _Judging(self)

    def _judge(self, subject: Hashable, observed: object, fits: Callable[[Version], bool]) -> tuple[Version, ...]:
        with self._judging():
            return self._reference.observe(subject, _short(observed), fits)

    def _require(self, condition: object, message: str) -> None:
        if not condition:
            raise Mismatch(message)

    def _conclude(self) -> None:
        """Compare everything once more, and see that the daemon lets go of everything."""
        if self._is_down:
            self.find_the_state_store()
        self.refresh_and_look_at_everything()
        self._let_go()
        wait_until(lambda: self._running.status()["open_handles"] == 0, "all handles are released")
        assert self._running.stop() == 0, self._running.log_text()
        assert not mounts_at(self._place.mountpoint)
        assert "unexpectedly" not in self._running.log_text(), self._running.log_text()
        self._pipeline.assert_untouched()

    def _check_status(self) -> None:
        status, version = self._running.status(), self._reference.alive[0]
        with self._judging():
            self._require(status["state_error"] is None, "an outage is over and still shown")
            self._require(status["partitions"] == version.partitions, f"{status['partitions']} partitions")
            withheld = status["withheld"]
            assert isinstance(withheld, dict)
            self._require(sum(withheld.values()) == version.withheld, f"{withheld} and not {version.withheld} withheld")

    def _sweep(self) -> None:
        """I6: after a refresh the whole mount equals the model."""
        # Names before listings: a listing carries attributes, and would hide that old ones were kept.
        for path in self.all_paths:
            for name in NAMES:
                self._stat_file(path, name)
                self._read_file(path, name)
            self.read_lineage(path, None)
        for path in (*self.all_paths, *reversed(self.all_above)):
            self._stat_directory(path)
            self._list_directory(path)

    def _stat_directory(self, path: Path) -> None:
        observed = look(self._at(path))
        fitting = self._judge(("directory", path), observed, lambda v: self._directory_fits(v, path, observed))
        if isinstance(observed, Seen):
            if len(fitting) == 1:
                self._check_inode(self._directory_identity(fitting[0], path), observed.inode)
            if len(self._reference.alive) == 1 and path in self._reference.alive[0].names:
                self._check_above_time(path, observed, self._reference.alive[0].names[path])

    def _directory_identity(self, version: Version, path: Path) -> Hashable:
        meaning = version.tree.get(path)
        return (path, meaning.run if isinstance(meaning, Ready) else meaning)

    def _directory_fits(self, version: Version, path: Path, observed: Answer) -> bool:
        if path in version.names:
            return isinstance(observed, Seen) and observed.is_directory
        match version.tree.get(path):
            case Ready(row=row):
                time_ns = round(row.updated_at.timestamp()) * 10**9
                return isinstance(observed, Seen) and observed.is_directory and observed.mtime_ns == time_ns
            case Ambiguous():
                return isinstance(observed, Seen) and observed.is_directory
            case _:
                return observed == errno.ENOENT

    def _check_above_time(self, path: Path, observed: Seen, names: frozenset[bytes]) -> None:
        """V9: a directory's time moves forward with its names, and never back."""
        before = self._above_times.get(path)
        self._above_times[path] = (observed.mtime_ns, names)
        with self._judging():
            if before is not None:
                self._require(observed.mtime_ns >= before[0], f"the time of {path} went back")
                self._require(names == before[1] or observed.mtime_ns > before[0], f"the time of {path} stood still")

    def _list_directory(self, path: Path) -> None:
        listed = list_whole(self._at(path))
        names = frozenset(listed) if isinstance(listed, dict) else listed
        fitting = self._judge(("listing", path), names, lambda v: self._listing_fits(v, path, names))
        if not isinstance(listed, dict) or len(self._reference.alive) > 1:
            return
        for name, inode in listed.items():
            found = look(self._at((*path, name)))
            with self._judging():
                # A name that fails is judged by itself; a broken run may heal or break between the two.
                is_steady = not isinstance(meaning := fitting[0].tree.get(path), Ready) or self._is_steady(meaning)
                if isinstance(found, Seen) and is_steady:
                    self._require(found.inode == inode, f"{path}/{name!r} is listed with another inode")

    def _is_steady(self, meaning: Ready) -> bool:
        return self._pipeline.runs[meaning.run].is_whole if meaning.run in self._pipeline.runs else True

    def _listing_fits(self, version: Version, path: Path, names: frozenset[bytes] | int) -> bool:
        if path in version.names:
            return names == version.names[path]
        return self._rules.listing_fits(version.tree.get(path), names)

    def _stat_file(self, path: Path, name: bytes) -> None:
        observed = look(self._at((*path, name)))
        fitting = self._judge(
            ("stat", path, name), observed, lambda v: self._rules.stat_fits(v.tree.get(path), name, observed)
        )
        meaning = fitting[0].tree.get(path)
        if isinstance(observed, Seen) and len(fitting) == 1 and isinstance(meaning, Ready):
            truth = self._pipeline.runs[meaning.run].files.get(name)
            broken = truth is None or observed.size != len(truth)
            self._check_inode((meaning.run, name, broken), observed.inode)

    def _read_file(self, path: Path, name: bytes) -> None:
        observed = read_whole(self._at((*path, name)))
        fitting = self._judge(
            ("read", path, name), observed, lambda v: self._rules.open_fits(v.tree.get(path), name, observed)
        )
        self._note_read([version.tree.get(path) for version in fitting], name, observed)

    def _note_read(self, meanings: Sequence[Meaning | None], name: bytes, observed: bytes | int) -> None:
        if isinstance(observed, bytes):
            for meaning in meanings:
                if isinstance(meaning, Ready):
                    self._rules.note_read(meaning.run, name)

    def _open_fits(self, meaning: Meaning | None, name: bytes, found: Answer) -> bool:
        """Return whether opening, without reading, can have ended so."""
        if self._kernel_opens:
            return self._rules.stat_fits(meaning, name, found)
        if isinstance(found, int):
            return self._rules.open_fits(meaning, name, found)
        if not isinstance(meaning, Ready):
            return False
        truth = self._pipeline.runs[meaning.run].files.get(name)
        return truth is not None and len(truth) == found.size and self._rules.open_fits(meaning, name, truth)

    def _read_held(self, held: HeldFile, offset: int, size: int) -> None:
        data = attempt(partial(os.pread, held.descriptor, size, offset))
        found = os.fstat(held.descriptor)
        with self._judging():
            self._require(found.st_ino == held.inode, "an open file changed its inode number")
            if not held.candidates:
                is_behind = offset >= found.st_size  # where the kernel reads nothing
                self._require(data == (b"" if is_behind else errno.EIO), f"a broken file gave {_short(data)}")
                return
            if isinstance(data, int):
                is_away = any(held.name in run.away for run in held.candidates)
                self._require(self._kernel_opens and is_away and data == errno.EIO, f"a held file gave {_short(data)}")
                return
            for run in held.candidates if data else ():
                self._rules.note_read(run.key, held.name)
            self._narrow(held, data, offset, size)
            self._require(found.st_size in {len(run.files[held.name]) for run in held.candidates}, "wrong size")

    def _narrow(self, held: HeldFile, data: bytes, offset: int, size: int) -> None:
        """V5: what is read fits one run for as long as the file is open."""
        held.candidates = [run for run in held.candidates if run.files[held.name][offset : offset + size] == data]
        self._require(held.candidates, f"a held {held.name!r} gave {_short(data)} at {offset}")

    def _list_held(self, held: HeldDirectory) -> None:
        listed = list_whole(held.descriptor)
        names = frozenset(listed) if isinstance(listed, dict) else listed
        with self._judging():
            held.meanings = [one for one in held.meanings if self._rules.listing_fits(one, names)]
            self._require(held.meanings, f"held {held.path} lists {names}")

    def _lineage_fits(self, meaning: Meaning | None, observed: bytes | int) -> bool:
        match meaning:
            case None:
                return observed == errno.ENOENT
            case Ambiguous():
                return observed == errno.ENODATA
            case Ready():
                return observed == meaning.run.run_id.encode()

    def _count_fits(self, meaning: Meaning | None, observed: bytes | int) -> bool:
        # Read by a second call: between the two the path may have gone or become ambiguous.
        return not isinstance(meaning, Ready) or observed == b"%d" % (meaning.row.record_count or 0)

    def _check_inode(self, identity: Hashable, inode: int) -> None:
        """I8, I12: a thing keeps its number, also over restarts, and no other thing ever has it."""
        with self._judging():
            self._require(self._inodes.setdefault(inode, identity) == identity, f"{identity} has another's inode")
            known = self._identities.setdefault(identity, inode)
            self._require(known == inode, f"{identity} changed its inode number")


@dataclass(frozen=True, slots=True)
class _Judging:
    """Notes on the machine that something in the block was wrong: then nothing more need be checked at the end."""

    machine: ReadyfsMachine

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.machine._has_failed = True


def _pick_any(some: Sequence[T], choice: int) -> T | None:
    """As `_pick`, or None if there is nothing.

    What is held depends on the daemon's answers, which may differ from one replay to the next; a precondition must not.
    """
    return _pick(some, choice) if some else None


def _pick(some: Sequence[T], choice: int) -> T:
    return some[choice % len(some)]


def _short(observed: object) -> object:
    if isinstance(observed, bytes) and len(observed) > 160:
        return f"{len(observed)} bytes {observed[:150]!r}..."
    return errno.errorcode.get(observed, observed) if isinstance(observed, int) else observed
