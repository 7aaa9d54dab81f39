"""The kept moments with what is known of each: whom they belong to, in memory and on disk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass

from readyfs.catalog.tree import Catalog
from readyfs.history.journal import Place
from readyfs.history.moments import Moment
from readyfs.history.segment import Segment
from readyfs.partition import ChangedDates


@dataclass(slots=True, eq=False)
class Kept:
    """A moment, its catalog if that is in memory, and its place if it is on disk.

    `changed` are the dates at which it may differ from the catalog `before`, until it is written. `is_settled` says
    that it is on the disk to stay: written, and there was room for it.
    """

    moment: Moment
    catalog: Catalog | None
    place: Place | None
    changed: ChangedDates | None = None
    before: str | None = None
    is_settled: bool = False

    @property
    def fingerprint(self) -> str:
        """The catalog's."""
        return self.moment.fingerprint

    def unsettle(self) -> None:
        """Have no place on disk any more."""
        self.place, self.is_settled = None, False


class Shelf:
    """What is kept, the oldest first; the last is in force.

    `changed` guards it, and is told of every change. `held` names fingerprints that no bound removes, and `on_removed`
    is told of each of which nothing is kept any more; both are called without the lock.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.kept: list[Kept] = []
        self.held: Callable[[], Collection[str]] = tuple
        self.on_removed: Callable[[str], None] = lambda fingerprint: None

    def find(self, fingerprint: str) -> tuple[Catalog | None, Place | None]:
        """Return a kept catalog if it is in memory, and its place if it is on disk."""
        with self.changed:
            found = [kept for kept in self.kept if kept.fingerprint == fingerprint]
        catalog = next((kept.catalog for kept in found if kept.catalog is not None), None)
        return catalog, next((kept.place for kept in reversed(found) if kept.place is not None), None)

    def newest(self, fingerprint: str) -> Kept | None:
        """Return what is kept of the newest moment of a catalog; the caller holds the lock."""
        return next((kept for kept in reversed(self.kept) if kept.fingerprint == fingerprint), None)

    def in_segment(self, segment: Segment) -> list[Kept]:
        """Return what is kept in one segment."""
        with self.changed:
            return [kept for kept in self.kept if kept.place is not None and kept.place.segment is segment]

    def is_settled(self, fingerprint: str) -> bool:
        """Tell whether a catalog is on the disk to stay."""
        with self.changed:
            return any(kept.fingerprint == fingerprint and kept.is_settled for kept in self.kept)

    def drop(self, dropped: Collection[Kept]) -> None:
        """Keep these no more."""
        if not dropped:
            return
        gone = set(dropped)
        with self.changed:
            self.kept = [kept for kept in self.kept if kept not in gone]
            left = {kept.fingerprint for kept in self.kept}
            self.changed.notify_all()
        for fingerprint in dict.fromkeys(kept.fingerprint for kept in dropped):
            if fingerprint not in left:
                self.on_removed(fingerprint)
