"""Which catalogs readers can see as views: those that the history keeps or the pin store holds, and for a while others.

A view whose catalog is not kept any more, neither by the bounds of the history nor by a pin, *expires*. For a grace
time its names answer and its files cannot be opened, so that nobody mistakes it for an empty tree.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

import structlog

from readyfs.catalog.tree import Catalog
from readyfs.errors import BrokenRunError
from readyfs.history.moments import Moment
from readyfs.pins.registry import Registry
from readyfs.vfs.views import View

log = structlog.get_logger("readyfs.daemon")

MAX_FADING: Final = 64
"""How many views have their grace time at once; of more the oldest go at once."""


class HistoryPort(Protocol):
    """What is asked of the history."""

    held: Callable[[], Collection[str]]
    on_removed: Callable[[str], None]

    def moments(self) -> Sequence[Moment]:
        """Return the moments that are kept, the oldest first; the last is in force."""
        ...

    def first_taken_at_ns(self, fingerprint: str) -> int | None:
        """Return when a kept catalog was put into force first, as far as that is known; None if it is not kept."""
        ...

    def find(self, name: str) -> str | None:
        """Return the fingerprint that a time or `~N` stands for, or None."""
        ...

    def catalog(self, fingerprint: str, *, may_block: bool) -> Catalog | None:
        """Return a kept catalog, None if there is none such; raise `WouldBlockError` if it must be read from disk."""
        ...


class SharedPort(Protocol):
    """What is asked of the views in the pin store."""

    on_ended: Callable[[str, float], None]

    def held(self) -> Sequence[str]:
        """Return the fingerprints of the views that were found and are held."""
        ...

    def holds(self, fingerprint: str) -> bool:
        """Whether a view was found and is held."""
        ...

    def has_grace(self, fingerprint: str) -> bool:
        """Whether a view that was found ended only a while ago."""
        ...

    def has(self, view: View) -> bool:
        """Whether a view is held, and its catalog is in memory."""
        ...

    def ends_s(self, fingerprint: str) -> float | None:
        """Return when the last lease of a view ends, as far as is known."""
        ...

    def find(self, fingerprint: str, *, may_block: bool) -> View | None:
        """Return a view of the store, None if it has none."""
        ...

    def resolve(self, name: str, *, may_block: bool) -> str | None:
        """Return the fingerprint of the pin that has a name in the store."""
        ...

    def used(self, fingerprint: str) -> None:
        """Note that something of a view was looked up now."""
        ...

    def adopt(self, view: View) -> bool:
        """Have a view go on that the history let go of; return whether it may."""
        ...


@dataclass(frozen=True, slots=True)
class _Fading:
    view: View
    until_s: float


class KeptCatalogs:
    """The `ViewSource` of a mount: its history, its pins and what is shared with other mounts. Asked on any thread."""

    def __init__(self, history: HistoryPort, registry: Registry, shared: SharedPort | None = None) -> None:
        self._history = history
        self._registry = registry
        self._shared = shared
        self._lock = threading.Lock()
        self._seen: dict[str, View | None] = {}
        """Views that somebody looked at, so that the kernel may know names of them; None if the catalog is let go.

        What is here is answered without a question to anybody. So a view goes in only while it is held, and whoever
        holds it no more tells of that afterwards (`_fade`, `let_go`).
        """
        self._fading: dict[str, _Fading] = {}
        self._turned: list[str] = []
        history.held = registry.held
        history.on_removed = self._removed
        if shared is not None:
            shared.on_ended = self._expire

    @property
    def registry(self) -> Registry:
        """The pins."""
        return self._registry

    def bury_lost_pins(self) -> None:
        """End the pins of before whose catalogs are not kept, because settings changed or the disk lost them."""
        kept = {moment.fingerprint for moment in self._history.moments()}
        for pin in self._registry.bury_unless(lambda fingerprint: fingerprint in kept):
            log.warning(
                "the catalog of a pin is not kept any more",
                name=pin.name,
                fingerprint=pin.fingerprint,
                user=pin.owner,
                note=pin.note,
            )

    # ---- what is asked ----------------------------------------------------------------------------------------

    def held(self) -> Sequence[str]:
        """Return the fingerprints of all views, the newest first."""
        kept = dict.fromkeys(moment.fingerprint for moment in reversed(self._history.moments()))
        with self._lock:
            # The history may not have told yet of one that it has let go.
            shared = () if self._shared is None else self._shared.held()
            return list(dict.fromkeys((*kept, *shared, *reversed(self._fading), *self._seen)))

    def find(self, fingerprint: str, *, may_block: bool) -> View | None:
        """Return a view, None if there is none.

        Raises `WouldBlockError` if it must be read from disk or looked for in the pin store, `BrokenRunError` if it
        expired a while ago and nothing of it is left.
        """
        seen = self._seen.get(fingerprint)
        if seen is not None:
            return seen
        catalog = self._history.catalog(fingerprint, may_block=may_block)
        taken_at_ns = None if catalog is None else self.taken_at_ns(fingerprint)
        if catalog is not None and taken_at_ns is not None:
            view: View | None = View(fingerprint, catalog, taken_at_ns)
        else:
            view = None if self._shared is None else self._shared.find(fingerprint, may_block=may_block)
        if view is not None and self._see(view):
            return view
        with self._lock:
            fading = self._fading.get(fingerprint)
        if fading is None and (self._registry.has_grace(fingerprint) or self._has_shared_grace(fingerprint)):
            raise BrokenRunError("the view has expired")
        return None if fading is None else fading.view

    def _see(self, view: View) -> bool:
        """Note that somebody looks at a view; return whether it is held. If it is not any more, it has expired.

        Whoever lets go of a view does so first and tells of it then, which waits for the lock. So none is noted of
        which that was told before. One that went before anybody noted it expires here: nobody else knows of it.
        """
        fingerprint = view.fingerprint
        with self._lock:
            is_kept = self.taken_at_ns(fingerprint) is not None
            if is_kept or self._is_shared(fingerprint):
                in_memory = is_kept or (self._shared is not None and self._shared.has(view))
                self._seen[fingerprint] = view if in_memory else None
                return True
            if fingerprint not in self._fading:
                self._turned.append(fingerprint)
                self._begin_grace(view, self._registry.clock.now_s() + self._registry.limits.grace_s)
            return False

    def expires_at_ns(self, fingerprint: str) -> int | None:
        """Return when the last lease on a kept catalog ends, in nanoseconds since the epoch; None without any."""
        shared_s = None if self._shared is None else self._shared.ends_s(fingerprint)
        ends = [ends_s for ends_s in (self._registry.ends_s(fingerprint), shared_s) if ends_s is not None]
        return self._registry.clock.wall_ns(max(ends)) if ends else None

    def _is_shared(self, fingerprint: str) -> bool:
        return self._shared is not None and self._shared.holds(fingerprint)

    def _has_shared_grace(self, fingerprint: str) -> bool:
        return self._shared is not None and self._shared.has_grace(fingerprint)

    def resolve(self, name: bytes, *, may_block: bool) -> str | None:
        """Return the fingerprint that a name in `at/` stands for: a time, the name of a pin, or `~N`; else None."""
        try:
            text = name.decode("ascii")
        except UnicodeDecodeError:
            return None
        found = self._history.find(text) or self._registry.find(text)
        if found is None and self._shared is not None:
            return self._shared.resolve(text, may_block=may_block)
        return found

    def used(self, fingerprint: str) -> None:
        """Note that something of a view was looked up now."""
        self._registry.used(fingerprint)
        if self._shared is not None:
            self._shared.used(fingerprint)

    def taken_at_ns(self, fingerprint: str) -> int | None:
        """Return when a catalog was put into force first, as far as that is kept; None if it is not kept."""
        return self._history.first_taken_at_ns(fingerprint)

    # ---- how views come to an end ---------------------------------------------------------------------------

    def _removed(self, fingerprint: str) -> None:
        """Have a view expire that the history has let go of, unless the pin store holds it."""
        view = self._seen.get(fingerprint)
        is_shared = (
            self._is_shared(fingerprint) if view is None else self._shared is not None and self._shared.adopt(view)
        )
        if not is_shared:
            self._fade(fingerprint, self._registry.clock.now_s() + self._registry.limits.grace_s)

    def _expire(self, fingerprint: str, until_s: float) -> None:
        """Have a view expire that the pin store does not hold any more, unless the history keeps it."""
        if self.taken_at_ns(fingerprint) is None:
            self._fade(fingerprint, until_s)

    def _fade(self, fingerprint: str, until_s: float) -> None:
        with self._lock:
            if fingerprint not in self._seen:
                return
            view = self._seen.pop(fingerprint)
            self._turned.append(fingerprint)
            if view is not None:
                self._begin_grace(view, until_s)

    def _begin_grace(self, view: View, until_s: float) -> None:
        """Have only the names of a view answer from now on; the caller holds the lock."""
        self._fading[view.fingerprint] = _Fading(replace(view, expired=True), until_s)
        while len(self._fading) > MAX_FADING:
            oldest = next(iter(self._fading))
            del self._fading[oldest]
            self._turned.append(oldest)

    def let_go(self, fingerprint: str) -> None:
        """Hold the catalog of a found view no more, for want of memory; it is read again when somebody looks."""
        with self._lock:
            if fingerprint in self._seen:
                self._seen[fingerprint] = None

    def advance(self) -> list[str]:
        """Return the fingerprints of views that have expired, are gone, or are back since it was asked last."""
        now_s = self._registry.clock.now_s()
        kept = {moment.fingerprint for moment in self._history.moments()}
        with self._lock:
            for fingerprint, fading in list(self._fading.items()):
                if now_s >= fading.until_s or fingerprint in kept or self._is_shared(fingerprint):
                    del self._fading[fingerprint]
                    self._turned.append(fingerprint)
            turned, self._turned = self._turned, []
        return list(dict.fromkeys(turned))
