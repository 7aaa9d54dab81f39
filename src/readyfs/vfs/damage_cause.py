"""Why a run cannot be served: in words for people, and of which kind, which is what the numbers tell apart.

Whoever finds damage makes a `Cause` of it with a function below. It stays with the run from there on: `damage` keeps
it, `runs` logs its words, and the status and the metrics count its kind. Nothing looks into the words.
"""

from __future__ import annotations

import errno
from enum import StrEnum
from typing import Final, NamedTuple

from readyfs.errors import BrokenRunError
from readyfs.raw.store import EntryKind
from readyfs.vfs.relpath import RelPath, render_relpath


class DamageKind(StrEnum):
    """What is wrong with a broken run."""

    MISSING = "missing"
    """The run directory, a file or a directory in it is not there, or something else is listed under its name."""
    SIZE = "size"
    """A file has another size than it was sealed with, or a read ended early."""
    MODIFIED = "modified"
    """A file was written to after its run was sealed."""
    DENIED = "denied"
    """We may not read it."""
    UNREADABLE = "unreadable"
    """The raw store answered with any other error."""


class Cause(NamedTuple):
    """Why one run cannot be served; the text is escaped."""

    kind: DamageKind
    text: str


class DamageError(BrokenRunError):
    """A run, or a raw file of one, that is not as it should be, and why."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.text)
        self.cause = cause


_KINDS: Final = {
    errno.ENOENT: DamageKind.MISSING,
    errno.ENOTDIR: DamageKind.MISSING,
    errno.EACCES: DamageKind.DENIED,
    errno.EPERM: DamageKind.DENIED,
}


def raw_store_failed(relpath: RelPath, error: OSError) -> Cause:
    """Return the cause if the raw store answered so to a question about a place."""
    kind = DamageKind.UNREADABLE if error.errno is None else _KINDS.get(error.errno, DamageKind.UNREADABLE)
    return Cause(kind, f"{render_relpath(relpath)}: {error.strerror}")


def missing(relpath: RelPath, kind: EntryKind) -> Cause:
    """Return the cause if a directory has no such file or directory."""
    what = "regular file" if kind is EntryKind.FILE else "directory"
    return Cause(DamageKind.MISSING, f"{render_relpath(relpath)} is missing or not a {what}")


def other_size(relpath: RelPath, size: int, sealed: int) -> Cause:
    """Return the cause if a file has another size than it was sealed with, both in bytes."""
    return Cause(DamageKind.SIZE, f"{render_relpath(relpath)} has {size} bytes and was sealed with {sealed}")


def ended_early(relpath: RelPath) -> Cause:
    """Return the cause if a read gave too little although the file has its size by now."""
    return Cause(DamageKind.SIZE, f"{render_relpath(relpath)}: a read ended early")


def modified(relpath: RelPath) -> Cause:
    """Return the cause if a file has its size and another time than it was sealed with."""
    return Cause(DamageKind.MODIFIED, f"{render_relpath(relpath)} was modified after it was sealed")
