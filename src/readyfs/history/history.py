"""The history of one mount: which moments are kept, and their catalogs.

A catalog is recorded right after it was put into force, which costs a refresh next to nothing. A thread of the
history's own writes it to the disk. If the disk fails, the mount goes on: what could not be written is kept in memory,
within the same bounds, and written once that is possible.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from readyfs.catalog.build import CatalogShape
from readyfs.catalog.tree import Catalog
from readyfs.errors import HistoryError, UnreadableHistoryError, WouldBlockError
from readyfs.history.directory import HistoryDirectory
from readyfs.history.journal import Journal, LostSegmentError, Place, Step
from readyfs.history.moments import Bounds, Moment
from readyfs.history.packing import DamagedError
from readyfs.history.segment import Segment
from readyfs.history.times import find_moment
from readyfs.partition import ChangedDates
from readyfs.size import render_size

log = structlog.get_logger("readyfs.history")

SETTLE_S: Final = 0.2
"""So long a moment waits before it is written: the refresh is over by then."""
RETRY_S: Final = 10.0
"""How long after a failure the disk is tried again, if nothing new comes before."""
FLUSH_S: Final = 60.0
"""How long somebody waits at most until a catalog is on the disk."""
CLOSE_S: Final = 2.0
"""How long the end of the daemon waits for what is not written yet."""


class BoundsError(Exception):
    """The disk has no room within `--history-bytes`; the text says why."""


@dataclass(slots=True, eq=False)
class _Kept:
    moment: Moment
    number: int
    catalog: Catalog | None
    place: Place | None
    changed: ChangedDates | None = None
    before: str | None = None
    is_settled: bool = False
    """Whether it is on the disk to stay: written, and there was room for it."""

    @property
    def fingerprint(self) -> str:
        return self.moment.fingerprint


class History:
    """Thread-safe; never raises into a refresh.

    `held` names fingerprints that no bound removes, and `on_removed` is told of each of which nothing is kept any
    more. Both are called without a lock, on any thread; `on_removed` must not block. `problem` says why the disk is
    not what it should be, None if it is.
    """

    def __init__(
        self,
        directory: HistoryDirectory,
        shape: CatalogShape,
        bounds: Bounds,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.held: Callable[[], Collection[str]] = tuple
        self.on_removed: Callable[[str], None] = lambda fingerprint: None
        self.problem: str | None = None
        self._journal = Journal(directory, shape, self._pace)
        self._bounds = bounds
        self._wall_ns = wall_ns
        self._changed = threading.Condition()
        """Guards all that follows, and tells the writer and those who wait for it."""
        self._kept: list[_Kept] = []
        self._number = 0
        self._asked = self._answered = 0
        self._wanted: list[str] = []
        self._is_due = self._is_closing = False
        self._writer: threading.Thread | None = None
        self._loading = threading.Lock()
        # The writer's own: how many partitions a catalog had for which there is no room, and what that is called.
        self._too_large: tuple[int, str] | None = None

    def open(self) -> None:
        """Find out what is on disk. Blocking; called once, before all else."""
        try:
            places = self._journal.open()
        except OSError as error:
            self._report(error.strerror or str(error))
            return
        self._kept = [
            _Kept(place.recorded.moment, place.recorded.number, None, place, is_settled=True) for place in places
        ]
        self._number = max((place.recorded.number for place in places), default=0)

    # ---- asking ---------------------------------------------------------------------------------------------

    def moments(self) -> Sequence[Moment]:
        """Return the moments that are kept, the oldest first; the last is in force."""
        with self._changed:
            return tuple(kept.moment for kept in self._kept)

    def find(self, name: str) -> str | None:
        """Return the fingerprint that a time or `~N` stands for, or None if there is none such."""
        moment = find_moment(name, self.moments(), self._wall_ns())
        return None if moment is None else moment.fingerprint

    def steps_back(self, fingerprint: str) -> int | None:
        """Return how many catalogs were put into force since one was last, None if it is not kept."""
        with self._changed:
            numbers = [kept.number for kept in self._kept if kept.fingerprint == fingerprint]
            return self._kept[-1].number - max(numbers) if numbers else None

    def catalog(self, fingerprint: str, *, may_block: bool) -> Catalog | None:
        """Return a kept catalog, None if there is none such (any more).

        Raises `WouldBlockError` if it must be read from the disk, `UnreadableHistoryError` if that cannot be done now.
        """
        catalog, place = self._look(fingerprint)
        if catalog is not None or place is None:
            return catalog
        if not may_block:
            raise WouldBlockError(f"the catalog {fingerprint} is on disk")
        with self._loading:
            catalog, place = self._look(fingerprint)
            if catalog is not None or place is None:
                return catalog
            return self._load(fingerprint, place)

    @property
    def size(self) -> int:
        """How many bytes it takes on disk."""
        return self._journal.directory.size

    @property
    def shown_path(self) -> str:
        """Where it lies, for people."""
        return self._journal.directory.shown()

    def _look(self, fingerprint: str) -> tuple[Catalog | None, Place | None]:
        with self._changed:
            found = [kept for kept in self._kept if kept.fingerprint == fingerprint]
        catalog = next((kept.catalog for kept in found if kept.catalog is not None), None)
        return catalog, next((kept.place for kept in reversed(found) if kept.place is not None), None)

    def _load(self, fingerprint: str, place: Place) -> Catalog | None:
        with self._changed:
            in_force = self._kept[-1].catalog
        try:
            catalog = self._journal.load(place, in_force)
        except (DamagedError, FileNotFoundError) as error:
            with self._changed:
                lost = [kept for kept in self._kept if kept.place == place and kept.catalog is None]
            self._lose(place.segment, str(error), fingerprint)
            self._drop(lost)
            return self._look(fingerprint)[0]
        except OSError as error:
            raise UnreadableHistoryError(f"the catalog {fingerprint} cannot be read: {error.strerror}") from error
        with self._changed:
            for kept in self._kept:
                if kept.fingerprint == fingerprint:
                    kept.catalog = catalog
        return catalog

    # ---- recording ------------------------------------------------------------------------------------------

    def record(self, catalog: Catalog, taken_at_ns: int, changed: ChangedDates | None = None) -> None:
        """Keep a catalog that was just put into force; `changed` are the dates that may differ from the one before.

        If it is the last one that is known already, as it may be after a restart, there is no new moment.
        """
        with self._changed:
            last = self._kept[-1] if self._kept else None
            if last is not None and last.fingerprint == catalog.fingerprint:
                last.catalog = catalog
            else:
                self._number += 1
                moment = Moment(catalog.fingerprint, taken_at_ns)
                before = None if last is None else last.fingerprint
                self._kept.append(_Kept(moment, self._number, catalog, None, changed, before))
        self.trim()

    def trim(self) -> None:
        """Let go of what no bound and nobody keeps any more: called when a catalog came, or somebody let one go."""
        held = frozenset(self.held())
        with self._changed:
            keeps = self._bounds.keeps([kept.moment for kept in self._kept], held)
            dropped = [kept for kept, stays in zip(self._kept, keeps, strict=True) if not stays]
            self._wake()
        self._drop(dropped)

    def flush(self, fingerprint: str) -> None:
        """Return when a kept catalog is on the disk; raise `HistoryError`. Blocking."""
        deadline_s = time.monotonic() + FLUSH_S
        with self._changed:
            if not any(kept.fingerprint == fingerprint for kept in self._kept):
                raise HistoryError(f"the catalog {fingerprint} is not kept", "choose one of .readyfs/views")
            self._asked += 1
            ticket = self._asked
            self._wanted.append(fingerprint)
            self._wake()
            try:
                while not self._is_settled(fingerprint):
                    if self._answered >= ticket or self._is_closing or time.monotonic() > deadline_s:
                        raise HistoryError(
                            f"the catalog {fingerprint} cannot be kept on disk: "
                            f"{self.problem or 'the disk does not answer in time'}",
                            f"make room for {self.shown_path}, or name another place with --state-dir",
                        )
                    self._changed.wait(deadline_s - time.monotonic())
            finally:
                self._wanted.remove(fingerprint)

    def close(self) -> None:
        """Write what is left, for a short while at most."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
            writer = self._writer
        if writer is not None:
            writer.join(CLOSE_S)

    def _lose(self, segment: Segment, why: str, fingerprint: str | None = None) -> None:
        """Count on a segment no more: what is in memory is written anew, the rest is proven when it is asked for."""
        log.warning(
            "a part of the history is damaged and lost",
            path=self._journal.directory.shown(segment.path),
            error=why,
            fingerprint=fingerprint,
        )
        segment.damage = why
        with self._changed:
            for kept in self._kept:
                if kept.place is not None and kept.place.segment is segment and kept.catalog is not None:
                    kept.place, kept.is_settled = None, False
            self._wake()

    def _is_settled(self, fingerprint: str) -> bool:
        return any(kept.fingerprint == fingerprint and kept.is_settled for kept in self._kept)

    def _drop(self, dropped: Collection[_Kept]) -> None:
        if not dropped:
            return
        with self._changed:
            gone = set(map(id, dropped))
            self._kept = [kept for kept in self._kept if id(kept) not in gone]
            left = {kept.fingerprint for kept in self._kept}
            self._wake()
        for fingerprint in dict.fromkeys(kept.fingerprint for kept in dropped):
            if fingerprint not in left:
                self.on_removed(fingerprint)

    def _wake(self) -> None:
        self._is_due = True
        if self._writer is None and not self._is_closing:
            self._writer = threading.Thread(target=self._write_on, name="history", daemon=True)
            self._writer.start()
        self._changed.notify_all()

    # ---- the writer -----------------------------------------------------------------------------------------

    def _pace(self) -> None:
        """Leave the processor to others for a moment, unless somebody waits."""
        with self._changed:
            if not self._wanted and not self._is_closing:
                self._changed.wait(0.01)

    def _write_on(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._is_due or self._is_closing, None if self.problem is None else RETRY_S
                )
                self._changed.wait_for(lambda: self._wanted or self._is_closing, SETTLE_S)
                self._is_due, asked, is_last = False, self._asked, self._is_closing
            problem = self._write_all()
            self._report(problem)
            with self._changed:
                self._answered = asked
                self._changed.notify_all()
            if is_last:
                return

    def _write_all(self) -> str | None:
        """Bring the disk up to what is kept; return why that is not possible, None if it is done."""
        try:
            while (kept := self._next_unwritten()) is not None:
                self._make_room()
                self._write(kept)
            self._make_room()
            self._remove_unneeded()
            if self._too_large is not None and any(map(self._is_too_large, tuple(self._kept))):
                return self._too_large[1]
        except OSError as error:
            return error.strerror or str(error)
        except BoundsError as error:
            return str(error)
        except Exception as error:  # a bug must not end the thread: those who wait for it would wait in vain
            log.exception("writing the history failed unexpectedly")
            return f"{type(error).__name__}: {error}"
        return None

    def _next_unwritten(self) -> _Kept | None:
        held = self.held() if self._bounds.count == 0 else ()
        with self._changed:
            for kept in self._kept:
                is_wanted = self._bounds.count > 0 or kept.fingerprint in held or kept.fingerprint in self._wanted
                if kept.place is None and kept.catalog is not None and is_wanted and not self._is_too_large(kept):
                    return kept
        return None

    def _is_too_large(self, kept: _Kept) -> bool:
        catalog, limit = kept.catalog, self._too_large
        if kept.place is not None or catalog is None or limit is None:
            return False
        return catalog.partitions >= limit[0]

    def _write(self, kept: _Kept) -> None:
        catalog = kept.catalog
        assert catalog is not None
        step = Step(kept.moment, kept.number, catalog, kept.changed, kept.before)
        try:
            place = self._journal.write(step, lambda fingerprint: self._look(fingerprint)[0])
        except LostSegmentError as error:
            self._lose(error.segment, str(error))
            return
        kept.place, kept.changed = place, None
        try:
            self._make_room(kept)
        finally:
            with self._changed:
                kept.is_settled = kept.place is not None
                self._changed.notify_all()

    def _make_room(self, fresh: _Kept | None = None) -> None:
        """Come below the bytes that are allowed, at the expense of the oldest; raise `BoundsError`, `OSError`.

        `fresh` has just been written, and goes again if there is no room for it.
        """
        limit, journal = self._bounds.max_bytes, self._journal
        held = self.held()
        while journal.directory.size > limit:
            with self._changed:
                kept = tuple(self._kept)
            pinned = {
                id(one.place.segment)
                for one in kept
                if one.place is not None and one is not fresh and one.fingerprint in held
            }
            free = [one for one in journal.directory.segments if id(one) not in pinned]
            oldest = next((one for one in free if one is not journal.tail), None)
            if oldest is not None:
                self._remove(oldest)
            elif journal.tail is not None and journal.tail in free and len(journal.tail.recorded) > 1:
                self._begin_anew(kept)
            elif not pinned:
                self._give_up_tail(kept)
            else:
                raise BoundsError(f"catalogs that are pinned take all of the {render_size(limit)} of --history-bytes")

    def _begin_anew(self, kept: Iterable[_Kept]) -> None:
        """Write the newest catalog as a whole, so that the rest can go."""
        newest = [one for one in kept if one.place is not None and one.catalog is not None][-1:]
        if not newest:
            assert self._journal.tail is not None
            self._journal.remove(self._journal.tail)
        for one in newest:
            assert one.catalog is not None
            one.place = self._journal.begin(Step(one.moment, one.number, one.catalog, None, None))

    def _give_up_tail(self, kept: Iterable[_Kept]) -> None:
        tail = self._journal.tail
        assert tail is not None
        why = f"one catalog takes {render_size(tail.size)}, more than --history-bytes"
        self._journal.remove(tail)
        for one in kept:
            if one.place is not None and one.place.segment is tail:
                one.place, one.is_settled = None, False
                if one.catalog is not None:
                    self._too_large = (one.catalog.partitions, why)
        raise BoundsError(why)

    def _remove(self, segment: Segment) -> None:
        self._journal.remove(segment)
        with self._changed:
            lost = [one for one in self._kept if one.place is not None and one.place.segment is segment]
            if lost and lost[-1] is self._kept[-1]:
                in_force = lost.pop()  # which stays
                in_force.place, in_force.is_settled = None, False
        self._drop(lost)

    def _remove_unneeded(self) -> None:
        with self._changed:
            needed = {id(one.place.segment) for one in self._kept if one.place is not None}
        for segment in [one for one in self._journal.directory.segments if id(one) not in needed]:
            self._journal.remove(segment)

    def _report(self, problem: str | None) -> None:
        if problem is not None and self.problem is None:
            log.warning("the history cannot be written", path=self.shown_path, error=problem)
        elif problem is None and self.problem is not None:
            log.info("the history can be written again", path=self.shown_path)
        self.problem = problem
