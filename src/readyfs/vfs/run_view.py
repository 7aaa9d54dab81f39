"""What one directory of a run shows: the entries that it was sealed with, or the names that must not get lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from readyfs.catalog.stamp import stamp_of
from readyfs.raw.store import EntryKind, RawEntry

ABSENT_KEPT: Final = 64
"""Names per directory of which the kernel may remember that they are not there."""
VIEW_BYTES: Final = 1100
NAME_BYTES: Final = 300
"""What a view takes with its run's path, and each of its names, measured with CPython 3.11."""


class RunView:
    """The entries of one directory of a sealed run, sorted by name; `stamp` stands for the names.

    `sealing` numbers the look that it comes from (see `Runs`), `place` is the path of the run's directory (see
    `RawStore.place_of`).
    """

    __slots__ = ("_absent", "_is_retired", "entries", "estimated_bytes", "place", "sealing", "stamp")

    def __init__(self, entries: Mapping[bytes, RawEntry], sealing: int = 0, place: bytes = b"") -> None:
        self.entries = entries
        self.sealing = sealing
        self.place = place
        self.stamp = _stamp_of(entries)
        self.estimated_bytes = VIEW_BYTES + NAME_BYTES * len(entries) + 2 * sum(map(len, entries))
        """How much memory the view takes."""
        self._absent: tuple[bytes, ...] = ()
        self._is_retired = False

    def may_remember_absence(self, name: bytes) -> bool:
        """Note that a name was asked for in vain; return whether the kernel may remember that.

        Only what `retire` names can be taken back, so there is a limit.
        """
        if name not in self._absent:
            if len(self._absent) >= ABSENT_KEPT:
                return False
            self._absent = (*self._absent, name)
        return not self._is_retired

    def retire(self) -> tuple[bytes, ...]:
        """Return every name that was answered for, as there or as absent, and have no absence remembered from now on.

        In this order: an answer that is made meanwhile either sees that, or its name is among those returned.
        """
        self._is_retired = True
        return (*self.entries, *self._absent)


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
