"""What lies below a date directory: whether a run is sealed, which entries it shows, and what is damaged.

A run is *sealed* once all its required files were seen there, regular and readable; from then on it never changes
and its listing is kept in a bounded cache. A run that is not sealed shows its required files and opens none (V10). A
sealed run that was found damaged is sealed again only with files of the sizes that it had: a cut file stays broken.
Called on worker threads; the cache and the register are guarded by one lock, never held during I/O.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, TypeAlias

import structlog

from readyfs.errors import BrokenRunError, UsageError, WouldBlockError
from readyfs.partition import Partition, PartitionKey, escape_text
from readyfs.raw.store import EntryKind, RawEntry, RawStore

SEALED_RUNS_KEPT: Final = 4096

log = structlog.get_logger("readyfs.runs")

RelPath: TypeAlias = tuple[bytes, ...]
_RunKey: TypeAlias = tuple[PartitionKey, bytes, RelPath]


@dataclass(frozen=True, slots=True)
class RunView:
    """The entries of one directory of a sealed run, sorted by name."""

    entries: Mapping[bytes, RawEntry]

    def file_sizes(self) -> dict[bytes, int]:
        """Return the size in bytes of each file."""
        return {name: entry.stat.size for name, entry in self.entries.items() if entry.kind is EntryKind.FILE}


@dataclass(frozen=True, slots=True)
class BrokenView:
    """A run that cannot be served: the names it must still show, and why."""

    required: tuple[bytes, ...]
    cause: str


class FileFilter:
    """Which files of a run are shown (`--files`): globs over the name or the path within the run; none means all."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = tuple(patterns)

    def shows(self, relpath: RelPath) -> bool:
        """Return whether a file is shown; a pattern without a slash is matched against the name alone."""
        if not self._patterns:
            return True
        path = os.fsdecode(b"/".join(relpath))
        name = os.fsdecode(relpath[-1])
        return any(fnmatchcase(path if "/" in pattern else name, pattern) for pattern in self._patterns)


class Runs:
    """Reads run directories through the raw store, remembers sealed ones, and keeps the register of damage.

    The constructor raises `UsageError` if the file filter hides every required file.
    """

    def __init__(
        self, raw: RawStore, required: Sequence[bytes], shown: FileFilter, kept: int = SEALED_RUNS_KEPT
    ) -> None:
        self._raw = raw
        self._required = tuple(required)
        self._shown = shown
        self.required_names = tuple(name for name in self._required if shown.shows((name,)))
        """The required files that are shown: what a broken run still lists."""
        if not self.required_names:
            # A broken run would look like an empty one, and readers would take it for no data.
            raise UsageError("--files hides every file of --required-files", "show at least one of them")
        self._kept = kept
        self._lock = threading.Lock()
        self._sealed: OrderedDict[_RunKey, RunView] = OrderedDict()
        self._damage: dict[tuple[PartitionKey, bytes], list[str]] = {}
        self._sealed_sizes: dict[tuple[PartitionKey, bytes], dict[RelPath, int]] = {}

    def view(self, partition: Partition, *, may_block: bool) -> RunView | BrokenView:
        """Return what the run's directory holds.

        Raises `WouldBlockError` if that is not known and the raw store must not be asked here.
        """
        known = self._recall((partition.key, partition.run_id, ()))
        if known is not None:
            return known
        if not may_block:
            raise WouldBlockError
        return self._read(partition)

    def subdirectory(self, partition: Partition, relpath: RelPath, *, may_block: bool) -> RunView:
        """Return what a directory inside a sealed run holds.

        Raises `WouldBlockError` as `view` does, `BrokenRunError` if it cannot be read.
        """
        key = (partition.key, partition.run_id, relpath)
        known = self._recall(key)
        if known is not None:
            return known
        if not may_block:
            raise WouldBlockError
        try:
            entries = self._raw.list_directory(partition, relpath)
        except OSError as error:
            where = escape_text(b"/".join(relpath))
            self.report_damage(partition, f"{where}: {error.strerror}")
            raise BrokenRunError(f"{where}: {error.strerror}") from error
        found = {entry.name: entry for entry in entries}
        with self._lock:
            fault = self._other_size(key[:2], relpath, found)
            if fault is None:
                return self._keep(key, relpath, found)
        self.report_damage(partition, fault)
        raise BrokenRunError(fault)

    def report_damage(self, partition: Partition, cause: str, sealed: tuple[RelPath, int] | None = None) -> None:
        """Note that a run cannot be served; log it once per partition, run and cause.

        `sealed` is a file of the run with the size in bytes that it was sealed with: until it has that size again the
        run stays broken.
        """
        key = (partition.key, partition.run_id)
        with self._lock:
            if sealed is not None:
                self._sealed_sizes.setdefault(key, {}).setdefault(*sealed)
            known = self._damage.get(key)
            if known is None:
                known = self._damage[key] = []
                for place in [place for place in self._sealed if place[:2] == key]:
                    sizes = self._sealed_sizes.setdefault(key, {})
                    for name, size in self._sealed.pop(place).file_sizes().items():
                        sizes.setdefault((*place[2], name), size)
            is_new = cause not in known
            if is_new:
                known.append(cause)
        if is_new:
            log.warning("run is broken", partition=str(partition.key), run=escape_text(partition.run_id), cause=cause)

    def damaged(self) -> list[tuple[PartitionKey, bytes]]:
        """Return the partition key and run id of every run that is known to be damaged."""
        with self._lock:
            return list(self._damage)

    def forget_unless(self, is_current: Callable[[PartitionKey, bytes], bool]) -> None:
        """Forget damage, and damage that healed, of runs that are no longer current."""
        with self._lock:
            for key in [key for key in {**self._damage, **self._sealed_sizes} if not is_current(*key)]:
                self._damage.pop(key, None)
                self._sealed_sizes.pop(key, None)

    def _recall(self, key: _RunKey) -> RunView | None:
        with self._lock:
            view = self._sealed.get(key)
            if view is not None:
                self._sealed.move_to_end(key)
            return view

    def _keep(self, key: _RunKey, relpath: RelPath, found: Mapping[bytes, RawEntry]) -> RunView:
        """Remember a directory of a sealed run, unless the run is damaged; the caller holds the lock."""
        view = RunView(
            {
                name: entry
                for name, entry in found.items()
                if entry.kind is EntryKind.DIRECTORY or self._shown.shows((*relpath, name))
            }
        )
        if key[:2] not in self._damage:
            self._sealed[key] = view
        while len(self._sealed) > self._kept:
            self._sealed.popitem(last=False)
        return view

    def _read(self, partition: Partition) -> RunView | BrokenView:
        try:
            found = {entry.name: entry for entry in self._raw.list_directory(partition)}
        except OSError as error:
            return self._broken(partition, f"run directory: {error.strerror}")
        for name in self._required:
            entry = found.get(name)
            if entry is None or entry.kind is not EntryKind.FILE:
                return self._broken(partition, f"{escape_text(name)} is missing or not a regular file")
            try:
                file = self._raw.open_file(partition, (name,))
            except OSError as error:
                return self._broken(partition, f"{escape_text(name)}: {error.strerror}")
            found[name] = RawEntry(name, EntryKind.FILE, file.stat)
            file.close()
        return self._seal(partition, found)

    def _seal(self, partition: Partition, found: Mapping[bytes, RawEntry]) -> RunView | BrokenView:
        key = (partition.key, partition.run_id)
        with self._lock:
            fault = self._other_size(key, (), found)
            # In one step with the register: damage reported from now on must find what it has to drop.
            healed = fault is None and self._damage.pop(key, None) is not None
            view = self._keep((*key, ()), (), found) if fault is None else None
        if fault is not None:
            return self._broken(partition, fault)
        assert view is not None
        if healed:
            log.info("run is whole again", partition=str(partition.key), run=escape_text(partition.run_id))
        return view

    def _other_size(
        self, key: tuple[PartitionKey, bytes], relpath: RelPath, found: Mapping[bytes, RawEntry]
    ) -> str | None:
        """Return what differs from the sizes that files of a once damaged run were sealed with; needs the lock."""
        for path, size in self._sealed_sizes.get(key, {}).items():
            entry = found.get(path[-1]) if path[:-1] == relpath else None
            if entry is not None and entry.kind is EntryKind.FILE and entry.stat.size != size:
                return f"{escape_text(b'/'.join(path))} has {entry.stat.size} bytes and was sealed with {size}"
        return None

    def _broken(self, partition: Partition, cause: str) -> BrokenView:
        self.report_damage(partition, cause)
        return BrokenView(self.required_names, cause)
