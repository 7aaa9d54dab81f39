"""The history of one mount: which moments are kept, and their catalogs.

A catalog is recorded right after it was put into force, which costs a refresh next to nothing. A thread of the
history's own writes it to the disk. If the disk fails, the mount goes on: what could not be written is kept in memory,
within the same bounds, and written once that is possible.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence

from readyfs.catalog.build import CatalogShape
from readyfs.catalog.tree import Catalog
from readyfs.clock import boottime_s
from readyfs.errors import HistoryError, UnreadableHistoryError, WouldBlockError
from readyfs.history.directory import HistoryDirectory
from readyfs.history.journal import Place
from readyfs.history.moments import UNKNOWN_STEPS, Bounds, Moment, Replacement
from readyfs.history.packing import DamagedError
from readyfs.history.shelf import Kept, Shelf
from readyfs.history.times import find_moment
from readyfs.history.writer import Writer
from readyfs.partition import ChangedDates


class History:
    """Thread-safe; never raises into a refresh."""

    def __init__(
        self,
        directory: HistoryDirectory,
        shape: CatalogShape,
        bounds: Bounds,
        wall_ns: Callable[[], int] = time.time_ns,
        now_s: Callable[[], float] = boottime_s,
    ) -> None:
        self._shelf = Shelf()
        self._writer = Writer(self._shelf, directory, shape, bounds)
        self._bounds = bounds
        self._wall_ns = wall_ns
        self._now_s = now_s
        self._opened_s = now_s()
        self._ran_before_ns = 0
        """For how long daemons had run before this one, as far as the moments say it."""
        self._number = 0
        self._loading = threading.Lock()

    def open(self) -> None:
        """Find out what is on disk. Blocking; called once, before all else."""
        try:
            found = self._writer.journal.open()
        except OSError as error:
            self._writer.report(error.strerror or str(error))
            return
        self._shelf.kept.extend(Kept(moment, None, place, is_settled=True) for moment, place in found)
        if found:
            last, _ = found[-1]
            self._number, self._ran_before_ns = last.number, last.run_ns
            if last.replaced is not None:
                self._number += UNKNOWN_STEPS  # what took its place is not on the disk, nor what came then

    def close(self) -> None:
        """Write what is left, for a short while at most."""
        self._writer.close()

    @property
    def held(self) -> Callable[[], Collection[str]]:
        """What names the fingerprints that no bound removes; called without a lock, on any thread."""
        return self._shelf.held

    @held.setter
    def held(self, held: Callable[[], Collection[str]]) -> None:
        self._shelf.held = held

    @property
    def on_removed(self) -> Callable[[str], None]:
        """What is told of each fingerprint of which nothing is kept any more; as `held`, and it must not block."""
        return self._shelf.on_removed

    @on_removed.setter
    def on_removed(self, on_removed: Callable[[str], None]) -> None:
        self._shelf.on_removed = on_removed

    @property
    def problem(self) -> str | None:
        """Why the disk is not what it should be, None if it is."""
        return self._writer.problem

    @property
    def size(self) -> int:
        """How many bytes it takes on disk."""
        return self._writer.journal.directory.size

    # ---- asking ---------------------------------------------------------------------------------------------

    def moments(self) -> Sequence[Moment]:
        """Return the moments that are kept, the oldest first; the last is in force."""
        with self._shelf.changed:
            return tuple(kept.moment for kept in self._shelf.kept)

    def find(self, name: str) -> str | None:
        """Return the fingerprint that a time or `~N` stands for, or None if there is none such."""
        moment = find_moment(name, self.moments(), self._wall_ns())
        return None if moment is None else moment.fingerprint

    def newest_moments(self) -> dict[str, Moment]:
        """Return the newest moment of each catalog that is kept, by its fingerprint."""
        return {moment.fingerprint: moment for moment in self.moments()}

    def first_taken_at_ns(self, fingerprint: str) -> int | None:
        """Return when a catalog was put into force first, since when it has been kept; None if it is not kept.

        It stays the same as long as any moment of the catalog is kept, over restarts too.
        """
        with self._shelf.changed:
            newest = self._shelf.newest(fingerprint)
            return None if newest is None else newest.moment.first_taken_at_ns

    def steps_back(self, fingerprint: str) -> int | None:
        """Return how many catalogs were put into force since one was last, None if it is not kept or not known."""
        with self._shelf.changed:
            newest = self._shelf.newest(fingerprint)
            return None if newest is None else newest.moment.steps_to(self._shelf.kept[-1].moment)

    def catalog(self, fingerprint: str, *, may_block: bool) -> Catalog | None:
        """Return a kept catalog, None if there is none such (any more).

        Raises `WouldBlockError` if it must be read from the disk, `UnreadableHistoryError` if that cannot be done now.
        """
        catalog, place = self._shelf.find(fingerprint)
        if catalog is not None or place is None:
            return catalog
        if not may_block:
            raise WouldBlockError(f"the catalog {fingerprint} is on disk")
        with self._loading:
            catalog, place = self._shelf.find(fingerprint)
            if catalog is not None or place is None:
                return catalog
            return self._load(fingerprint, place)

    def _load(self, fingerprint: str, place: Place) -> Catalog | None:
        shelf = self._shelf
        with shelf.changed:
            in_force = shelf.kept[-1].catalog
        try:
            catalog = self._writer.journal.load(place, in_force)
        except (DamagedError, FileNotFoundError) as error:
            self._writer.lose(place.segment, str(error), fingerprint)
            shelf.drop([kept for kept in shelf.in_segment(place.segment) if kept.place == place])
            return shelf.find(fingerprint)[0]
        except OSError as error:
            raise UnreadableHistoryError(f"the catalog {fingerprint} cannot be read: {error.strerror}") from error
        with shelf.changed:
            for kept in shelf.kept:
                if kept.fingerprint == fingerprint:
                    kept.catalog = catalog
        return catalog

    # ---- recording ------------------------------------------------------------------------------------------

    def record(self, catalog: Catalog, taken_at_ns: int, changed: ChangedDates | None = None) -> None:
        """Keep a catalog that was just put into force; `changed` are the dates that may differ from the one before.

        If it is the last one that is known already, as it may be after a restart, there is no new moment.
        """
        with self._shelf.changed:
            last = self._shelf.kept[-1] if self._shelf.kept else None
            in_force = last if last is not None and last.moment.replaced is None else None
            if in_force is not None and in_force.fingerprint == catalog.fingerprint:
                in_force.catalog = catalog
            else:
                moment = self._next_moment(catalog.fingerprint, taken_at_ns)
                if in_force is not None:
                    replaced = Replacement(taken_at_ns, moment.run_ns)
                    in_force.moment = in_force.moment._replace(replaced=replaced)
                before = None if last is None else last.fingerprint
                self._shelf.kept.append(Kept(moment, catalog, None, changed, before))
        self.trim()

    def _next_moment(self, fingerprint: str, taken_at_ns: int) -> Moment:
        self._number += 1
        run_ns = self._ran_before_ns + int((self._now_s() - self._opened_s) * 1_000_000_000)
        other = self._shelf.newest(fingerprint)
        first_ns = taken_at_ns if other is None else other.moment.first_taken_at_ns
        return Moment(fingerprint, taken_at_ns, self._number, first_ns, run_ns)

    def trim(self) -> None:
        """Let go of what no bound and nobody keeps any more: called when a catalog came, or somebody let one go."""
        held = frozenset(self._shelf.held())
        with self._shelf.changed:
            keeps = self._bounds.keeps([kept.moment for kept in self._shelf.kept], held)
            dropped = [kept for kept, stays in zip(self._shelf.kept, keeps, strict=True) if not stays]
        self._shelf.drop(dropped)
        self._writer.wake()

    def flush(self, fingerprint: str) -> None:
        """Return when a kept catalog is on the disk; raise `HistoryError`. Blocking."""
        if self._shelf.find(fingerprint) == (None, None):
            raise HistoryError(f"the catalog {fingerprint} is not kept", "choose one of .readyfs/views")
        self._writer.wait_written(fingerprint)

    def in_memory(self) -> Collection[str]:
        """Return the fingerprints of the kept catalogs that are in memory."""
        with self._shelf.changed:
            return {kept.fingerprint for kept in self._shelf.kept if kept.catalog is not None}
