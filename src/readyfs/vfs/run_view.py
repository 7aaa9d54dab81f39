"""What one directory of a run shows: the entries that it was sealed with, or the names that must not get lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from readyfs.catalog.stamp import stamp_of
from readyfs.raw.store import EntryKind, RawEntry
from readyfs.vfs.attributes import Entry


class RunView:
    """The entries of one directory of a sealed run, sorted by name; `stamp` stands for the names.

    `answers` keeps what was answered for them, which never changes either, for as long as the view is kept.
    """

    __slots__ = ("answers", "entries", "stamp")

    def __init__(self, entries: Mapping[bytes, RawEntry]) -> None:
        self.entries = entries
        self.stamp = _stamp_of(entries)
        self.answers: dict[bytes, Entry] = {}


@dataclass(frozen=True, slots=True)
class BrokenView:
    """One directory of a run that cannot be served: the names that it must still show, sorted, and why.

    No names means that none is known: not that the directory is empty.
    """

    names: Mapping[bytes, EntryKind]
    cause: str

    @property
    def stamp(self) -> int:
        """What stands for the names: the same as of a sealed run's, so that a pass outlives damage and healing."""
        return _stamp_of(self.names)


def _stamp_of(names: Iterable[bytes]) -> int:
    return stamp_of(b"/".join(names))
