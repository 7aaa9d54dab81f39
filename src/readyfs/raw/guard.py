"""A raw store of several file systems of which one hangs: its readers must not take every thread from the others.

A call that hangs keeps its thread, and nothing can end it. So while some calls hang on a *volume* (what lies on one
file system), only one more at a time is let through to it, which finds out whether it answers again; the others are
postponed, and their callers come back later without a thread. A volume is known by the mount table alone, which is
read only while calls hang. Nothing fails here: how long a request may wait is for the engine to say.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Hashable
from typing import Final

import structlog

from readyfs.errors import PostponedError
from readyfs.partition import Partition, SeriesKey
from readyfs.raw.store import RawEntry, RawFile, RawStat, RawStore

HANG_S: Final = 1.0
"""A call that takes longer hangs, for all that is known; every engine goes by it (V10)."""
MAX_HUNG: Final = 7
"""How many times the raw threads may hang beside those that work; every engine goes by it (V10)."""
VOLUMES_KEPT_S: Final = 1.0
"""How long it is remembered on which volume a series lies."""

log = structlog.get_logger("readyfs.raw")


class _Call:
    """One call under way, since a moment of `time.monotonic`; `volume` is known once that matters."""

    __slots__ = ("is_probe", "partition", "settled", "since", "volume")

    def __init__(self, partition: Partition, since: float) -> None:
        self.partition = partition
        self.since = since
        self.volume: Hashable = None
        self.is_probe = False
        self.settled = False
        """Whether a later call to its volume was answered: then it says nothing about the volume any more."""


class GuardedRawStore:
    """Another raw store, of which at most `limit` calls that hang on one volume are followed by more.

    `volume_of` names a partition's volume, or says None if that cannot be known; it must not touch the raw store. The
    calls under way are guarded by a lock of their own; they are kept in the order in which they began.
    """

    def __init__(
        self,
        raw: RawStore,
        volume_of: Callable[[Partition], Hashable],
        limit: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.label = raw.label
        self._raw = raw
        self._volume_of = volume_of
        self._limit = limit
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._calls: dict[_Call, None] = {}
        self._volumes: dict[SeriesKey, Hashable] = {}
        self._volumes_since = 0.0
        self._hanging: set[Hashable] = set()

    def list_directory(
        self, partition: Partition, relpath: tuple[bytes, ...] = (), readable: Collection[bytes] = ()
    ) -> tuple[RawEntry, ...]:
        """List a directory; raises `PostponedError`, else see `RawStore.list_directory`."""
        call = self._enter(partition)
        try:
            return self._raw.list_directory(partition, relpath, readable)
        finally:
            self._leave(call)

    def open_file(self, partition: Partition, relpath: tuple[bytes, ...]) -> RawFile:
        """Open a file; raises `PostponedError`, else see `RawStore.open_file`."""
        call = self._enter(partition)
        try:
            return _GuardedFile(self, partition, self._raw.open_file(partition, relpath))
        finally:
            self._leave(call)

    def hold_file(self, partition: Partition, fd: int, stat: RawStat) -> RawFile:
        """Return a file that was opened elsewhere, guarded from now on; see `RawStore.hold_file`."""
        return _GuardedFile(self, partition, self._raw.hold_file(partition, fd, stat))

    def place_of(self, partition: Partition) -> bytes:
        """Return where a run lies below the root; see `RawStore.place_of`."""
        return self._raw.place_of(partition)

    def describe(self, partition: Partition) -> str:
        """Return where a run is looked for; see `RawStore.describe`."""
        return self._raw.describe(partition)

    def check(self) -> None:
        """Raise `RawRootError` if the store cannot be used at all."""
        self._raw.check()

    def read_file(self, partition: Partition, file: RawFile, size: int, offset: int) -> bytes:
        """Read from a file that was opened here; raises `PostponedError`, else see `RawFile.pread`."""
        call = self._enter(partition)
        try:
            return file.pread(size, offset)
        finally:
            self._leave(call)

    def stat_file(self, partition: Partition, file: RawFile) -> RawStat:
        """Look at a file that was opened here; raises `PostponedError`, else see `RawFile.current_stat`."""
        call = self._enter(partition)
        try:
            return file.current_stat()
        finally:
            self._leave(call)

    def _enter(self, partition: Partition) -> _Call:
        call = _Call(partition, self._monotonic())
        with self._lock:
            hung = self._hung(call.since)
            if len(hung) < self._limit:
                self._calls[call] = None
                return call
            call.volume = self._find_volume(partition, call.since)
            for one in hung:
                if one.volume is None:
                    one.volume = self._find_volume(one.partition, call.since)
            if call.volume is not None and sum(one.volume == call.volume for one in hung) >= self._limit:
                self._probe(call)
            self._calls[call] = None
        return call

    def _hung(self, now: float) -> list[_Call]:
        found = []
        for call in self._calls:
            if now - call.since < HANG_S:
                break
            if not call.settled:
                found.append(call)
        return found

    def _probe(self, call: _Call) -> None:
        """Let a call find out whether its volume answers, unless another one does; the caller holds the lock."""
        if call.volume not in self._hanging:
            self._hanging.add(call.volume)
            where = self._raw.describe(call.partition)
            log.warning("part of the raw store hangs, its readers wait aside", path=where, calls=self._limit)
        if any(one.is_probe and one.volume == call.volume for one in self._calls):
            raise PostponedError
        call.is_probe = True

    def _leave(self, call: _Call) -> None:
        with self._lock:
            del self._calls[call]
            if call.is_probe:
                for one in self._calls:
                    one.settled = one.settled or (one.volume == call.volume and one.since < call.since)
            if call.volume in self._hanging and not any(
                one.volume == call.volume and not one.settled for one in self._calls
            ):
                self._hanging.remove(call.volume)
                log.info("the raw store answers again", path=self._raw.describe(call.partition))

    def _find_volume(self, partition: Partition, now: float) -> Hashable:
        if now - self._volumes_since > VOLUMES_KEPT_S:
            self._volumes.clear()
            self._volumes_since = now
        series = partition.key.series
        if series not in self._volumes:
            self._volumes[series] = self._volume_of(partition)
        return self._volumes[series]


class _GuardedFile:
    """An open file of a guarded store; closing it is never postponed."""

    __slots__ = ("_file", "_guard", "_partition")

    def __init__(self, guard: GuardedRawStore, partition: Partition, file: RawFile) -> None:
        self._guard = guard
        self._partition = partition
        self._file = file

    @property
    def stat(self) -> RawStat:
        return self._file.stat

    def pread(self, size: int, offset: int) -> bytes:
        return self._guard.read_file(self._partition, self._file, size, offset)

    def current_stat(self) -> RawStat:
        return self._guard.stat_file(self._partition, self._file)

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        self._file.close()
