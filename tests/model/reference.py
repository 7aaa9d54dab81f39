"""The reference model: what a reader of the mount may see, in plain dictionaries and without any cleverness.

It keeps the versions of the state table since the last refresh *began*. Each observation must fit one of them, and a
later observation of the same thing none older than that (interval linearizability). While no refresh can be under
way there is exactly one version, and the comparison is exact.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum, auto
from functools import cached_property
from typing import Final, NamedTuple, TypeAlias

from readyfs.demo.producer import METADATA_NAME, PAYLOAD_NAME, LogicalPartition

Path: TypeAlias = tuple[bytes, ...]

REQUIRED: Final = frozenset({PAYLOAD_NAME.encode(), METADATA_NAME.encode()})
PLAIN: Final = "{customer_id}/{query_name}/{logical_date}"
BROKEN_BYTES: Final = 4096
"""What a file of a broken run shows as its size."""

_ESCAPED: Final = frozenset(b"/:%=*?\"'\\#{}[]^\x7f") | frozenset(range(32))


class Mismatch(AssertionError):
    """The mount showed something that no version alive allows."""


class RunKey(NamedTuple):
    """One run of one partition."""

    partition: LogicalPartition
    run_id: str


@dataclass(slots=True)
class RunTruth:
    """What the producer wrote into a run, and what of it cannot be found at present.

    `sealed` is true from the moment when both required files were there.
    """

    key: RunKey
    files: dict[bytes, bytes] = field(default_factory=dict)
    times_ns: dict[bytes, int] = field(default_factory=dict)
    away: set[bytes] = field(default_factory=set)
    sealed: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether all that the run should hold lies where it should."""
        return self.sealed and not self.away


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the state table, as far as it matters to a reader."""

    status: str
    run_id: str | None
    updated_at: datetime
    record_count: int | None


@dataclass(frozen=True, slots=True)
class Ready:
    """What a path means when one ready row claims it."""

    run: RunKey
    row: Row


class Ambiguous(Enum):
    """What a path means when two ready rows claim it (V13)."""

    AMBIGUOUS = auto()


Meaning: TypeAlias = Ready | Ambiguous


@dataclass(frozen=True, slots=True)
class Seen:
    """What stat(2) showed of a file or directory."""

    is_directory: bool
    size: int
    mtime_ns: int
    inode: int


Answer: TypeAlias = Seen | int
"""An observation of a name: what it is, or the errno."""


def shown_name(value: str) -> bytes | None:
    """Return the name under which a value of the state table is shown, None if it cannot be served (V12)."""
    name = value.encode()
    if not name or name in (b".", b"..") or b"/" in name or b"\0" in name or len(name) > 255:
        return None
    return b"".join(b"%%%02X" % byte if byte in _ESCAPED else bytes([byte]) for byte in name)


def shown_path(partition: LogicalPartition, template: str = PLAIN) -> Path | None:
    """Return where a partition is shown when it is ready, None if it never can be."""
    try:
        day = date.fromisoformat(partition.logical_date)
    except ValueError:
        return None
    names = [shown_name(value) for value in partition[:3]]
    keys = ("source", "customer_id", "query_name")
    values = {key: os.fsdecode(name or b"") for key, name in zip(keys, names, strict=True)}
    dates = {"logical_date": str(day), "year": f"{day:%Y}", "month": f"{day:%m}", "day": f"{day:%d}"}
    return None if None in names else tuple(os.fsencode(part.format(**values, **dates)) for part in template.split("/"))


class Version:
    """One committed state of the table."""

    def __init__(self, number: int, rows: Mapping[LogicalPartition, Row], template: str = PLAIN) -> None:
        self.number = number
        self._rows = dict(rows)
        self._template = template

    @cached_property
    def tree(self) -> dict[Path, Meaning]:
        """The ready paths and what they mean."""
        tree: dict[Path, Meaning] = {}
        for partition, row in self._rows.items():
            path = shown_path(partition, self._template)
            if row.status == "success" and row.run_id and path is not None:
                tree[path] = Ambiguous.AMBIGUOUS if path in tree else Ready(RunKey(partition, row.run_id), row)
        return tree

    @cached_property
    def names(self) -> dict[Path, frozenset[bytes]]:
        """The directories above the dates, each with its names; the root is always there."""
        names: dict[Path, set[bytes]] = {(): set()}
        for path in self.tree:
            for depth in range(len(path)):
                names.setdefault(path[:depth], set()).add(path[depth])
        return {path: frozenset(children) for path, children in names.items()}

    @property
    def partitions(self) -> int:
        """How many partitions are ready."""
        return sum(1 for meaning in self.tree.values() if isinstance(meaning, Ready))

    @property
    def withheld(self) -> int:
        """How much that says `success` is not served: rows that cannot be, and paths that two rows claim."""
        rows = [partition for partition, row in self._rows.items() if row.status == "success"]
        lost = sum(1 for one in rows if not self._rows[one].run_id or shown_path(one) is None)
        return lost + sum(1 for meaning in self.tree.values() if meaning is Ambiguous.AMBIGUOUS)


class Reference:
    """The versions alive, and the oldest that each subject may still go back to.

    `template` says where partitions lie; it is chosen before the first commit.
    """

    def __init__(self) -> None:
        self.template = PLAIN
        self._versions = [Version(0, {})]
        self._quiet = True
        self._in_force = self._versions[0]
        self._floors: dict[Hashable, int] = {}

    @property
    def committed(self) -> Version:
        """The newest version."""
        return self._versions[-1]

    @property
    def alive(self) -> tuple[Version, ...]:
        """The versions of which any may answer now, oldest first."""
        return (self._in_force,) if self._quiet else tuple(self._versions)

    def commit(self, rows: Mapping[LogicalPartition, Row]) -> None:
        """Note that the writer committed these rows."""
        self._versions.append(Version(self._versions[-1].number + 1, rows, self.template))
        if self._quiet:
            # Until a refresh can begin only the one in force and the newest can ever be seen.
            self._versions = [self._in_force, self._versions[-1]]

    def refresh_may_run(self) -> None:
        """Note that a refresh was asked for and nobody waits for its end: it may happen at any time from now on."""
        self._quiet = False

    def refreshed(self) -> None:
        """Note that a refresh which began after the last commit has ended; so does a start."""
        self._in_force = self._versions[-1]
        self._versions = [self._in_force]
        self._quiet = True
        self._floors.clear()

    def observe(self, subject: Hashable, observed: object, fits: Callable[[Version], bool]) -> tuple[Version, ...]:
        """Return the versions that an observation fits, oldest first.

        Raises `Mismatch` if it fits none, or only such as are older than what was seen of the subject before.
        """
        fitting = [version for version in self.alive if fits(version)]
        floor = self._floors.get(subject, 0)
        allowed = tuple(version for version in fitting if version.number >= floor)
        if not allowed:
            why = "is older than what was seen before" if fitting else "fits no version alive"
            alive = [version.number for version in self.alive]
            raise Mismatch(f"{subject}: {observed} {why}; alive {alive}, not below {floor}")
        self._floors[subject] = allowed[0].number
        return allowed


class FileRules:
    """What a name below a date directory may answer, given what the directory means."""

    def __init__(self, runs: Mapping[RunKey, RunTruth], *, kernel_opens: bool = False) -> None:
        self._runs = runs
        self._kernel_opens = kernel_opens
        self._read: set[tuple[RunKey, bytes]] = set()

    def note_read(self, run: RunKey, name: bytes) -> None:
        """Note that bytes of a file were read: where the kernel opens by itself, they can be read from then on."""
        self._read.add((run, name))

    def daemon_started(self) -> None:
        """Note that nothing is kept in the kernel of what was read before."""
        self._read.clear()

    def listing_fits(self, meaning: Meaning | None, observed: frozenset[bytes] | int) -> bool:
        """Return whether a date directory may list so: all names of one run, or what a broken one must show."""
        match meaning:
            case None:
                return observed == errno.ENOENT
            case Ambiguous():
                return observed == REQUIRED
            case Ready():
                run = self._runs[meaning.run]
                if run.is_whole:
                    return observed == run.files.keys()
                return observed == REQUIRED or (run.sealed and observed == run.files.keys())

    def stat_fits(self, meaning: Meaning | None, name: bytes, observed: Answer) -> bool:
        """Return whether a name may look so: as the raw file does, or whole to stat while the run is broken (V10)."""
        match meaning:
            case None:
                return observed == errno.ENOENT
            case Ambiguous():
                return looks_broken(observed) if name in REQUIRED else observed == errno.EIO
            case Ready():
                run = self._runs[meaning.run]
                is_true = self._is_true_stat(run, name, observed)
                if run.is_whole:
                    return is_true
                if name in REQUIRED:
                    return looks_broken(observed) or (run.sealed and is_true)
                if run.sealed and name in run.files and looks_broken(observed):
                    return True  # remembered from when the run was sealed
                return observed == errno.EIO or (run.sealed and is_true)

    def open_fits(self, meaning: Meaning | None, name: bytes, observed: bytes | int) -> bool:
        """Return whether opening and reading may give these bytes or fail with this errno."""
        match meaning:
            case None:
                return observed == errno.ENOENT
            case Ambiguous():
                return observed == errno.EIO
            case Ready():
                run = self._runs[meaning.run]
                truth = run.files.get(name, errno.ENOENT)
                if run.is_whole:
                    return observed == truth
                if observed == errno.EIO:
                    return True
                # What was sealed and still lies there may be given, what is gone may not, unless it is kept.
                return run.sealed and observed == truth and (name not in run.away or self._is_kept(run, name))

    def _is_kept(self, run: RunTruth, name: bytes) -> bool:
        return self._kernel_opens and (not run.files[name] or (run.key, name) in self._read)

    def _is_true_stat(self, run: RunTruth, name: bytes, observed: Answer) -> bool:
        if name not in run.files:
            return observed == errno.ENOENT
        if not isinstance(observed, Seen):
            return False
        shown = (observed.is_directory, observed.size, observed.mtime_ns)
        return shown == (False, len(run.files[name]), run.times_ns[name])


def looks_broken(observed: Answer) -> bool:
    """Return whether a name looks like a file of a run that cannot be served."""
    return isinstance(observed, Seen) and not observed.is_directory and observed.size == BROKEN_BYTES
