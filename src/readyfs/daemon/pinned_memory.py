"""How much memory pinned and found catalogs add, measured now and then: it grows as the live tree moves on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from readyfs.catalog.memory import memory_added
from readyfs.catalog.tree import Catalog
from readyfs.errors import WouldBlockError
from readyfs.history.moments import Moment


class CatalogsPort(Protocol):
    """What is asked of the history."""

    def moments(self) -> Sequence[Moment]:
        """Return the moments that are kept, the oldest first; the last is in force."""
        ...

    def catalog(self, fingerprint: str, *, may_block: bool) -> Catalog | None:
        """Return a kept catalog, None if there is none such; raise `WouldBlockError` if it must be read from disk."""
        ...

    def in_memory(self) -> Collection[str]:
        """Return the fingerprints of the kept catalogs that are in memory."""
        ...


class _Subject(NamedTuple):
    """What is in force, what is pinned, what of it was loaded, and what was found."""

    in_force: str
    pinned: frozenset[str]
    loaded: frozenset[str]
    found: frozenset[str]


class PinnedMemory:
    """Knows what each pinned catalog adds to the one in force and to the pinned one after it.

    `found` returns the catalogs of views that were found in the pin store, what was used last first. `measure` may take
    a while and belongs on a thread of its own; its result replaces the one before in one step.
    """

    def __init__(self, catalogs: CatalogsPort, found: Callable[[], Sequence[Catalog]] = tuple) -> None:
        self._catalogs = catalogs
        self._found = found
        self._bytes: Mapping[str, int] = {}
        self._found_bytes: Mapping[str, int] = {}
        self._measured: _Subject | None = None

    def of(self, fingerprint: str) -> int | None:
        """Return the bytes that one catalog adds, None if it is on disk alone or has not been measured yet."""
        return self._bytes.get(fingerprint)

    @property
    def total(self) -> int:
        """The bytes of all pinned ones together."""
        return sum(self._bytes.values())

    def beyond(self, limit: int, most: int) -> list[str]:
        """Return the found catalogs that are too much beside the pinned ones, but for the one that was used last."""
        total, beyond = self.total, []
        for number, catalog in enumerate(self._found()):
            total += self._found_bytes.get(catalog.fingerprint, 0)
            if number and (total > limit or number >= most):
                beyond.append(catalog.fingerprint)
        return beyond

    def is_due(self, pinned: Collection[str]) -> bool:
        """Return whether something changed since it was measured; cheap."""
        subject = self._subject(pinned)
        return subject is not None and self._measured != subject

    def _subject(self, pinned: Collection[str]) -> _Subject | None:
        """Return what the result depends on."""
        moments, pinned = self._catalogs.moments(), frozenset(pinned)
        if not moments:
            return None
        found = frozenset(catalog.fingerprint for catalog in self._found())
        return _Subject(moments[-1].fingerprint, pinned, pinned.intersection(self._catalogs.in_memory()), found)

    def measure(self, pinned: Collection[str]) -> None:
        """Measure anew."""
        subject, moments = self._subject(pinned), self._catalogs.moments()
        if subject is None or subject == self._measured:
            return
        found: dict[str, int] = {}
        in_force = newer = self._find(moments[-1].fingerprint)
        for moment in reversed(moments):
            if moment.fingerprint not in subject.loaded or moment.fingerprint in found:
                continue
            catalog = self._find(moment.fingerprint)
            if catalog is None or in_force is None or newer is None:
                continue
            found[moment.fingerprint] = 0 if catalog is in_force else memory_added(catalog, (in_force, newer))
            newer = catalog
        self._found_bytes = self._measure_found(in_force)
        self._bytes, self._measured = found, subject

    def _measure_found(self, in_force: Catalog | None) -> dict[str, int]:
        """Return what each found catalog adds to the one in force and to the one that was used just before it."""
        measured: dict[str, int] = {}
        newer = in_force
        for catalog in self._found():
            measured[catalog.fingerprint] = memory_added(catalog, filter(None, (in_force, newer)))
            newer = catalog
        return measured

    def _find(self, fingerprint: str) -> Catalog | None:
        try:
            return self._catalogs.catalog(fingerprint, may_block=False)
        except WouldBlockError:
            return None
