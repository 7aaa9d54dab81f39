"""The thread that brings the disk up to what is kept, within the bytes that are allowed.

There is no queue: what is kept and has no place on disk is what is left to write. So a disk that fails loses nothing.
"""

from __future__ import annotations

import threading
import time
from typing import Final

import structlog

from readyfs.catalog.build import CatalogShape
from readyfs.errors import HistoryError
from readyfs.history.directory import HistoryDirectory
from readyfs.history.journal import Journal, LostSegmentError, Step
from readyfs.history.moments import Bounds
from readyfs.history.packing import DamagedError
from readyfs.history.segment import Segment
from readyfs.history.shelf import Kept, Shelf
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
_PACE_S: Final = 0.01


class BoundsError(Exception):
    """The disk has no room within `--history-bytes`; the text says why."""


class Writer:
    """Writes what is on a shelf; `problem` says why that cannot be done, None if it can."""

    def __init__(self, shelf: Shelf, directory: HistoryDirectory, shape: CatalogShape, bounds: Bounds) -> None:
        self.problem: str | None = None
        self.journal = Journal(directory, shape, self._pace)
        self._shelf = shelf
        self._bounds = bounds
        # Guarded by the shelf's lock.
        self._asked = self._answered = 0
        self._waited_for: list[str] = []
        self._is_due = self._is_closing = False
        self._thread: threading.Thread | None = None
        # The thread's own: how many partitions a catalog had for which there is no room, and what that is called.
        self._too_large: tuple[int, str] | None = None

    def wake(self) -> None:
        """Have the thread look at the shelf."""
        with self._shelf.changed:
            self._is_due = True
            if self._thread is None and not self._is_closing:
                self._thread = threading.Thread(target=self._run, name="history", daemon=True)
                self._thread.start()
            self._shelf.changed.notify_all()

    def wait_written(self, fingerprint: str) -> None:
        """Return when a kept catalog is on the disk; raise `HistoryError`."""
        deadline_s = time.monotonic() + FLUSH_S
        with self._shelf.changed:
            self._asked += 1
            ticket = self._asked
            self._waited_for.append(fingerprint)
            self.wake()
            try:
                while not self._shelf.is_settled(fingerprint):
                    if self._answered >= ticket or self._is_closing or time.monotonic() > deadline_s:
                        raise HistoryError(
                            f"the catalog {fingerprint} cannot be kept on disk: "
                            f"{self.problem or 'the disk does not answer in time'}",
                            f"make room for {self.journal.directory.shown()}, or name another place with --state-dir",
                        )
                    self._shelf.changed.wait(deadline_s - time.monotonic())
            finally:
                self._waited_for.remove(fingerprint)

    def close(self) -> None:
        """Write what is left, for a short while at most."""
        with self._shelf.changed:
            self._is_closing = True
            self._shelf.changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(CLOSE_S)

    def lose(self, segment: Segment, why: str, fingerprint: str | None = None) -> None:
        """Count on a segment no more: what is in memory is written anew, the rest is proven when it is asked for."""
        log.warning(
            "the history on disk is not what was written",
            path=self.journal.directory.shown(segment.path),
            error=why,
            fingerprint=fingerprint,
        )
        segment.damage = why
        with self._shelf.changed:
            for kept in self._shelf.in_segment(segment):
                if kept.catalog is not None:
                    kept.unsettle()
        self.wake()

    def report(self, problem: str | None) -> None:
        """Note why the disk is not what it should be, and log it once."""
        path = self.journal.directory.shown()
        if problem is not None and self.problem is None:
            log.warning("the history cannot be written", path=path, error=problem)
        elif problem is None and self.problem is not None:
            log.info("the history can be written again", path=path)
        self.problem = problem

    # ---- on the thread --------------------------------------------------------------------------------------

    def _run(self) -> None:
        changed = self._shelf.changed
        while True:
            with changed:
                changed.wait_for(lambda: self._is_due or self._is_closing, None if self.problem is None else RETRY_S)
                changed.wait_for(lambda: self._waited_for or self._is_closing, SETTLE_S)
                self._is_due, asked, is_last = False, self._asked, self._is_closing
            self.report(self._write_all())
            with changed:
                self._answered = asked
                changed.notify_all()
            if is_last:
                return

    def _pace(self) -> None:
        """Leave the processor to others for a moment, unless somebody waits."""
        with self._shelf.changed:
            if not self._waited_for and not self._is_closing:
                self._shelf.changed.wait(_PACE_S)

    def _write_all(self) -> str | None:
        """Bring the disk up to what is kept; return why that is not possible, None if it is done."""
        try:
            try:
                while (kept := self._next_unwritten()) is not None:
                    self._make_room()
                    self._write(kept)
            finally:
                self._note_replaced()
            self._make_room()
            self._remove_unneeded()
            if self._too_large is not None and any(map(self._is_too_large, tuple(self._shelf.kept))):
                return self._too_large[1]
        except OSError as error:
            return error.strerror or str(error)
        except BoundsError as error:
            return str(error)
        except Exception as error:  # a bug must not end the thread: those who wait for it would wait in vain
            log.exception("writing the history failed unexpectedly")
            return f"{type(error).__name__}: {error}"
        return None

    def _next_unwritten(self) -> Kept | None:
        is_all = self._bounds.count > 0
        held = () if is_all else self._shelf.held()
        with self._shelf.changed:
            for kept in self._shelf.kept:
                is_wanted = is_all or kept.fingerprint in held or kept.fingerprint in self._waited_for
                if kept.place is None and kept.catalog is not None and is_wanted and not self._is_too_large(kept):
                    return kept
        return None

    def _is_too_large(self, kept: Kept) -> bool:
        if kept.place is not None or kept.catalog is None or self._too_large is None:
            return False
        return kept.catalog.partitions >= self._too_large[0]

    def _write(self, kept: Kept) -> None:
        assert kept.catalog is not None
        step = Step(kept.moment, kept.catalog, kept.changed, kept.before)
        try:
            place = self.journal.write(step, lambda fingerprint: self._shelf.find(fingerprint)[0])
        except LostSegmentError as error:
            self.lose(error.segment, str(error))
            return
        kept.place, kept.changed = place, None
        try:
            self._make_room(kept)
        finally:
            with self._shelf.changed:
                kept.is_settled = kept.place is not None
                self._shelf.changed.notify_all()

    def _note_replaced(self) -> None:
        """Note when moments were replaced, if their segments do not say it: what took their place may be elsewhere."""
        with self._shelf.changed:
            noted = [
                (kept.place.segment, kept.moment.number, kept.moment.replaced)
                for kept in self._shelf.kept
                if kept.place is not None and kept.place.segment.damage is None and kept.moment.replaced is not None
            ]
        for segment, number, replaced in noted:
            if number not in segment.replaced and segment.damage is None:
                try:
                    segment.note_replaced(number, replaced)
                except (DamagedError, FileNotFoundError) as error:
                    self.lose(segment, str(error))

    # ---- room -----------------------------------------------------------------------------------------------

    def _make_room(self, fresh: Kept | None = None) -> None:
        """Come below the bytes that are allowed, at the expense of the oldest; raise `BoundsError`, `OSError`.

        `fresh` has just been written, and goes again if there is no room for it.
        """
        limit, journal = self._bounds.max_bytes, self.journal
        held = self._shelf.held()
        while journal.directory.size > limit:
            with self._shelf.changed:
                pinned = {
                    id(one.place.segment)
                    for one in self._shelf.kept
                    if one.place is not None and one is not fresh and one.fingerprint in held
                }
            free = [one for one in journal.directory.segments if id(one) not in pinned]
            oldest = next((one for one in free if one is not journal.tail), None)
            if oldest is not None:
                self._remove(oldest)
            elif journal.tail is not None and journal.tail in free and len(journal.tail.recorded) > 1:
                self._begin_anew(journal.tail)
            elif journal.tail is not None and not pinned:
                self._give_up(journal.tail)
            else:
                raise BoundsError(f"catalogs that are pinned take all of the {render_size(limit)} of --history-bytes")

    def _begin_anew(self, tail: Segment) -> None:
        """Write the newest catalog of the last segment as a whole, so that the rest can go."""
        newest = [one for one in self._shelf.in_segment(tail) if one.catalog is not None][-1:]
        if not newest:
            self.journal.remove(tail)
        for one in newest:
            assert one.catalog is not None
            one.place = self.journal.begin(Step(one.moment, one.catalog, None, None))

    def _give_up(self, tail: Segment) -> None:
        """Have nothing on disk: the one catalog that is left is too large."""
        why = f"one catalog takes {render_size(tail.size)}, more than --history-bytes"
        self.journal.remove(tail)
        for one in self._shelf.in_segment(tail):
            one.unsettle()
            if one.catalog is not None:
                self._too_large = (one.catalog.partitions, why)
        raise BoundsError(why)

    def _remove(self, segment: Segment) -> None:
        """Remove a segment, and what is kept there, but for the catalog in force."""
        self.journal.remove(segment)
        lost = self._shelf.in_segment(segment)
        with self._shelf.changed:
            if lost and lost[-1] is self._shelf.kept[-1]:
                lost.pop().unsettle()
        self._shelf.drop(lost)

    def _remove_unneeded(self) -> None:
        with self._shelf.changed:
            needed = {id(one.place.segment) for one in self._shelf.kept if one.place is not None}
        for segment in [one for one in self.journal.directory.segments if id(one) not in needed]:
            self.journal.remove(segment)
