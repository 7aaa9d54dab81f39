"""What is remembered of a damaged run: why it cannot be served, and what it was sealed with.

There is one record for each run that was found damaged (`damage_register`), for as long as that run is current: also
after it healed, so that it is held to what it was at first. The caller's lock guards a record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple, Self

from readyfs.raw.store import EntryKind, RawEntry
from readyfs.vfs.damage_cause import Cause, missing, modified, other_size
from readyfs.vfs.former_runs import UNKNOWN_FILE, FormerDirectory, FormerRun, mark_stat
from readyfs.vfs.relpath import RelPath

CAUSES_KEPT: Final = 20
"""Causes told apart for one run until it is whole again; further ones are not logged."""


class Sealed(NamedTuple):
    """What a name of a sealed run stood for; size in bytes, 0 for a directory, and what else tells the file by."""

    kind: EntryKind
    size: int
    mark: int = UNKNOWN_FILE

    @classmethod
    def of(cls, entry: RawEntry) -> Self:
        """Return what an entry of a sealed run is."""
        if entry.kind is EntryKind.DIRECTORY:
            return cls(EntryKind.DIRECTORY, 0)
        return cls(EntryKind.FILE, entry.stat.size, mark_stat(entry.stat))


SEALED_DIRECTORY: Final = Sealed(EntryKind.DIRECTORY, 0)


@dataclass(frozen=True, slots=True)
class Failure:
    """What of a sealed run could not be used: its place, what it was sealed as, and the offset that failed in bytes."""

    relpath: RelPath
    sealed: Sealed
    offset: int = 0


@dataclass(slots=True)
class Damage:
    """One run that was found damaged: `broken` until it was seen whole again.

    `sealed` holds the names of each directory as far as they are known, `suspects` the offsets to try in files that
    could not be opened or read, `cause` what was noted last, None once it was seen whole. `changes` counts what was
    learnt about it.
    """

    sealed: dict[RelPath, dict[bytes, Sealed]] = field(default_factory=dict)
    suspects: dict[RelPath, int] = field(default_factory=dict)
    causes: tuple[Cause, ...] = ()
    cause: Cause | None = None
    changes: int = 0

    @property
    def broken(self) -> bool:
        """Whether the run was not seen whole since it was damaged."""
        return self.cause is not None

    def note(self, cause: Cause) -> bool:
        """Note a cause; return whether it is to be logged."""
        cause = self.cause = _shared(cause)
        if cause in self.causes or len(self.causes) >= CAUSES_KEPT:
            return False
        self.causes = (*self.causes, cause)
        self.changes += 1
        return True

    def suspect(self, failure: Failure) -> bool:
        """Remember what failed; return whether that was not known since the run was whole."""
        self.remember(failure.relpath, failure.sealed)
        if failure.sealed.kind is EntryKind.DIRECTORY:
            self.sealed.setdefault(failure.relpath, {})
        if failure.relpath in self.suspects:
            return False
        self.suspects[failure.relpath] = failure.offset
        self.changes += 1
        return True

    def remember(self, relpath: RelPath, sealed: Sealed) -> None:
        """Remember what a name was sealed as, and that directories lead to it; what is known already stands."""
        while relpath:
            self.sealed.setdefault(relpath[:-1], {}).setdefault(relpath[-1], sealed)
            relpath, sealed = relpath[:-1], SEALED_DIRECTORY

    def remember_entries(self, directory: RelPath, entries: Mapping[bytes, RawEntry]) -> None:
        """Remember what all names of a directory were sealed as."""
        for name, entry in entries.items():
            self.remember((*directory, name), Sealed.of(entry))

    def former(self) -> FormerRun:
        """Return the names that are known with what they were sealed as, for views of before."""
        return {
            relpath: FormerDirectory(
                {name: None if one == SEALED_DIRECTORY else one.mark for name, one in names.items()}, False
            )
            for relpath, names in self.sealed.items()
        }

    def heal(self) -> bool:
        """Note that the run was seen whole; return whether it was broken. What it was sealed with stays."""
        was_broken = self.broken
        self.suspects.clear()
        self.causes, self.cause = (), None
        return was_broken

    def fault(self, directory: RelPath, found: Mapping[bytes, RawEntry]) -> Cause | None:
        """Return how a directory's entries differ from what was sealed; None if they do not, or are only more."""
        for name, sealed in self.sealed.get(directory, {}).items():
            entry, path = found.get(name), (*directory, name)
            if entry is None or entry.kind is not sealed.kind:
                return missing(path, sealed.kind)
            if sealed.kind is EntryKind.FILE and entry.stat.size != sealed.size:
                return other_size(path, entry.stat.size, sealed.size)
        return None


def difference(
    directory: RelPath, sealed_entries: Mapping[bytes, RawEntry], found: Mapping[bytes, RawEntry]
) -> tuple[Cause, Failure] | None:
    """Return how a directory's entries differ from those that were sealed, as who opens them would find it."""
    for name, sealed in sealed_entries.items():
        entry, place = found.get(name), (*directory, name)
        if entry is None or entry.kind is not sealed.kind:
            cause = missing(place, sealed.kind)
        elif sealed.kind is EntryKind.DIRECTORY or entry.stat.matches(sealed.stat):
            continue
        elif entry.stat.size != sealed.stat.size:
            cause = other_size(place, entry.stat.size, sealed.stat.size)
        else:
            cause = modified(place)
        return cause, Failure(place, Sealed.of(sealed))
    return None


@lru_cache(maxsize=1024)
def _shared(cause: Cause) -> Cause:
    """Return one object for equal causes: most runs that break together have theirs in common."""
    return cause
