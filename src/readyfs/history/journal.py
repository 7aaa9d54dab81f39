"""Writing catalogs down one after another, as differences where that costs less, and reading them back.

The writer's thread alone writes; any thread that may block loads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from readyfs.catalog.build import CatalogShape
from readyfs.catalog.tree import Catalog
from readyfs.history.changes import find_changes
from readyfs.history.directory import HistoryDirectory
from readyfs.history.moments import Moment, follow
from readyfs.history.packing import DamagedError, pack_pieces
from readyfs.history.replay import replay
from readyfs.history.segment import Recorded, Segment
from readyfs.partition import ChangedDates

FLOOR_BYTES: Final = 1 << 20
"""Differences are not worth a new segment until they take this much, however small the catalog is."""
MAX_MOMENTS: Final = 4096
"""So many moments a segment has at most: each of them is a record that the next start looks at."""


class Place(NamedTuple):
    """Where on disk a catalog is."""

    segment: Segment
    recorded: Recorded


class Step(NamedTuple):
    """A catalog to be written. `changed` are the dates at which it may differ from the catalog `before`."""

    moment: Moment
    catalog: Catalog
    changed: ChangedDates | None
    before: str | None


class LostSegmentError(Exception):
    """A segment is not what was written; the text says why."""

    def __init__(self, segment: Segment, why: str) -> None:
        super().__init__(why)
        self.segment = segment


class Journal:
    """The catalogs on disk. `pace` is called between the pieces of a whole catalog, to leave others the processor."""

    def __init__(self, directory: HistoryDirectory, shape: CatalogShape, pace: Callable[[], None]) -> None:
        self.directory = directory
        self.tail: Segment | None = None
        self._shape = shape
        self._pace = pace
        self._latest: Catalog | None = None
        """The last catalog of the tail, None if it is not known here."""

    def open(self) -> list[tuple[Moment, Place]]:
        """Find what is there, in the order in which it was put into force; raise `OSError`."""
        self.directory.open()
        segments = self.directory.segments
        if segments and segments[-1].damage is None:
            self.tail = segments[-1]
        # Of a moment that was written again the later place counts: the first may be one that was damaged.
        places = {
            recorded.moment.number: Place(segment, recorded) for segment in segments for recorded in segment.recorded
        }
        noted = {number: replaced for segment in segments for number, replaced in segment.replaced.items()}
        moments = [places[number].recorded.moment for number in sorted(places)]
        moments = follow(moments, noted, is_last_in_force=not self.directory.is_end_lost)
        return [(moment, places[moment.number]) for moment in moments]

    def load(self, place: Place, like: Catalog | None) -> Catalog:
        """Return a catalog that shares with another what is equal; raise `OSError`, `DamagedError`."""
        return replay(place.segment, place.recorded, self._shape, like)

    def write(self, step: Step, known: Callable[[str], Catalog | None]) -> Place:
        """Write a catalog behind the others; it is on the disk then.

        `known` returns a catalog that is in memory. Raises `OSError`, and `LostSegmentError` if the segment that would
        be gone on with turns out not to be what was written: the next call begins another.
        """
        tail = self.tail
        if tail is None or tail.damage is not None or _is_grown(tail):
            return self.begin(step)
        try:
            latest = self._latest or known(tail.recorded[-1].moment.fingerprint)
            latest = latest or self.load(Place(tail, tail.recorded[-1]), step.catalog)
            changed = step.changed if latest.fingerprint == step.before else None
            tail.append(step.moment, pack_pieces(find_changes(latest, step.catalog, changed)))
        except (DamagedError, FileNotFoundError) as error:
            raise LostSegmentError(tail, str(error)) from error
        self._latest = step.catalog
        return Place(tail, tail.recorded[-1])

    def begin(self, step: Step) -> Place:
        """Begin a segment with a catalog; raise `OSError`."""
        pieces = self._paced(pack_pieces(find_changes(None, step.catalog)))
        self.tail = self.directory.begin(step.moment, pieces)
        self._latest = step.catalog
        return Place(self.tail, self.tail.recorded[0])

    def remove(self, segment: Segment) -> None:
        """Remove a segment; raise `OSError`."""
        if segment is self.tail:
            self.tail = self._latest = None
        self.directory.remove(segment)

    def _paced(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            yield piece
            self._pace()


def _is_grown(segment: Segment) -> bool:
    """Tell whether the differences of a segment take as much as the catalog that it begins with."""
    since = segment.size - segment.whole_bytes
    return since >= max(FLOOR_BYTES, segment.whole_bytes) or len(segment.recorded) >= MAX_MOMENTS
