"""Looking at one run: first what a mount asks before it serves it, then whether it is what its row says.

The raw store is asked in the words in which the filesystem asks it, so that a run that is called broken here is one
that readers of a mount get EIO for, and the other way round.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from readyfs.check.findings import Finding, Kind
from readyfs.check.lines import count_records
from readyfs.check.metadata import InvalidMetadataError, compare_metadata
from readyfs.check.twins import Twins
from readyfs.errors import RawRootError
from readyfs.partition import NOT_SET, Partition
from readyfs.raw.store import EntryKind, NotRegularError, RawEntry, RawStat, RawStore, UnreadableFileError
from readyfs.text import escape_text
from readyfs.vfs.descriptors import are_exhausted
from readyfs.vfs.file_filter import FileFilter
from readyfs.vfs.relpath import RelPath, render_relpath

METADATA_BYTES: Final = 16 << 20
"""A larger file is no metadata, and is not read."""


@dataclass(frozen=True, slots=True)
class Contents:
    """Which files of a run are compared with its row, where they are there; `deep` has its records counted."""

    metadata: bytes
    payload: bytes
    deep: bool


class _BrokenError(Exception):
    """The run cannot be served."""

    def __init__(self, kind: Kind, detail: str) -> None:
        super().__init__(detail)
        self.finding = Finding(kind, detail)


class Examiner:
    """Examines runs; safe to call from several threads, because nothing changes after construction."""

    def __init__(
        self, raw: RawStore, required: Sequence[bytes], shown: FileFilter, contents: Contents, twins: Twins | None
    ) -> None:
        self._raw = raw
        self._twins = twins
        self._required = tuple(required)
        self._shown = shown
        self._contents = contents

    def examine(self, partition: Partition, on_progress: Callable[[], None]) -> list[Finding]:
        """Return what is wrong with the partition's run; nothing if all is well.

        `on_progress` is called whenever the raw store has answered. Raises `RawRootError` if descriptors run out.
        """
        try:
            files = self._look(partition, on_progress)
            findings = self._compare(partition, frozenset(files), on_progress)
            if self._twins is not None:
                shown = {name: stat for name, stat in files.items() if self._shown.shows((name,))}
                self._twins.compare(partition, shown, on_progress)
            return findings
        except _BrokenError as error:
            return [error.finding]

    def describe(self, partition: Partition) -> str:
        """Return where the partition's run is looked for."""
        return self._raw.describe(partition)

    def _look(
        self, partition: Partition, on_progress: Callable[[], None], *, is_last: bool = False
    ) -> dict[bytes, RawStat]:
        """Ask what a mount asks; return the files at the run's top."""
        try:
            entries = self._raw.list_directory(partition, (), self._required)
        except UnreadableFileError as error:
            raise self._refusal(error, Kind.FILE_UNREADABLE, (error.name,)) from error
        except FileNotFoundError as error:
            raise _BrokenError(Kind.RUN_MISSING, "run directory: No such file or directory") from error
        except OSError as error:
            raise self._refusal(error, Kind.RUN_UNREADABLE, ()) from error
        on_progress()
        files = {entry.name: entry.stat for entry in entries if entry.kind is EntryKind.FILE}
        for name in self._required:
            if name not in files:
                self._try_open(partition, (name,))
                if is_last:
                    raise _BrokenError(Kind.FILE_MISSING, f"{escape_text(name)} can be opened and is not listed")
                # It appeared, or became a regular file, since the directory was listed.
                return self._look(partition, on_progress, is_last=True)
        if len(entries) > len(self._required):
            self._look_at_others(partition, (), entries, on_progress)
        return files

    def _look_at_others(
        self, partition: Partition, place: RelPath, entries: Sequence[RawEntry], on_progress: Callable[[], None]
    ) -> None:
        """Open every file that is shown beside the required ones, and list every directory."""
        for entry in entries:
            relpath = (*place, entry.name)
            if entry.kind is EntryKind.DIRECTORY:
                try:
                    below = self._raw.list_directory(partition, relpath)
                except OSError as error:
                    raise self._refusal(error, Kind.FILE_UNREADABLE, relpath) from error
                on_progress()
                self._look_at_others(partition, relpath, below, on_progress)
            elif self._shown.shows(relpath) and (place or entry.name not in self._required):
                self._try_open(partition, relpath)
                on_progress()

    def _try_open(self, partition: Partition, relpath: RelPath) -> None:
        try:
            self._raw.open_file(partition, relpath).close()
        except OSError as error:
            raise self._refusal(error, _kind_of(error), relpath) from error

    def _compare(self, partition: Partition, names: frozenset[bytes], on_progress: Callable[[], None]) -> list[Finding]:
        findings: list[Finding] = []
        stated = [("the row", partition.record_count)]
        if self._contents.metadata in names:
            shown = escape_text(self._contents.metadata)
            try:
                comparison = compare_metadata(self._read_metadata(partition), partition)
            except InvalidMetadataError as error:
                findings.append(Finding(Kind.METADATA_INVALID, f"{shown} is {error}"))
            else:
                stated.append((shown, comparison.record_count))
                if comparison.faults:
                    findings.append(Finding(Kind.METADATA_MISMATCH, f"{shown}: {'; '.join(comparison.faults)}"))
            on_progress()
        if self._contents.deep and self._contents.payload in names:
            stated = [(who, count) for who, count in stated if count != NOT_SET]
            findings += self._count(partition, stated, on_progress)
        return findings

    def _read_metadata(self, partition: Partition) -> bytes:
        relpath = (self._contents.metadata,)
        try:
            file = self._raw.open_file(partition, relpath)
            try:
                if file.stat.size > METADATA_BYTES:
                    raise InvalidMetadataError(f"too large with {file.stat.size} bytes")
                return file.pread(file.stat.size, 0) if file.stat.size else b""
            finally:
                file.close()
        except OSError as error:
            raise self._refusal(error, Kind.FILE_UNREADABLE, relpath) from error

    def _count(
        self, partition: Partition, stated: Sequence[tuple[str, int]], on_progress: Callable[[], None]
    ) -> list[Finding]:
        relpath = (self._contents.payload,)
        if not stated:
            return []
        try:
            file = self._raw.open_file(partition, relpath)
            try:
                records = count_records(file, on_progress)
            finally:
                file.close()
        except OSError as error:
            raise self._refusal(error, Kind.FILE_UNREADABLE, relpath) from error
        wrong = [f"{who} says {count}" for who, count in stated if count != records]
        if not wrong:
            return []
        noun = "record" if records == 1 else "records"
        detail = f"{render_relpath(relpath)} holds {records} {noun}, {', '.join(wrong)}"
        return [Finding(Kind.COUNT_MISMATCH, detail)]

    def _refusal(self, error: OSError, kind: Kind, relpath: RelPath) -> _BrokenError | RawRootError:
        """Return what a failed look means: a broken run, unless it failed for want of descriptors."""
        if are_exhausted(error):
            return RawRootError(
                f"no file descriptor is left ({error.strerror})", "raise `ulimit -n`, or lower --raw-threads"
            )
        return _BrokenError(kind, f"{render_relpath(relpath)}: {error.strerror}")


def _kind_of(error: OSError) -> Kind:
    """Return what it means that a file could not be opened."""
    if isinstance(error, FileNotFoundError):
        return Kind.FILE_MISSING
    # ELOOP is what a symbolic link gives.
    if isinstance(error, NotRegularError) or error.errno == errno.ELOOP:
        return Kind.FILE_NOT_REGULAR
    return Kind.FILE_UNREADABLE
