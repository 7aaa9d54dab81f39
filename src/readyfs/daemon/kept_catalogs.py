"""Which catalogs readers can see as views: those that the history keeps, and for a while those that it has let go.

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


@dataclass(frozen=True, slots=True)
class _Fading:
    view: View
    until_s: float


class KeptCatalogs:
    """The `ViewSource` of a mount: its history and its pins joined. Asked on any thread."""

    def __init__(self, history: HistoryPort, registry: Registry) -> None:
        self._history = history
        self._registry = registry
        self._lock = threading.Lock()
        self._seen: dict[str, View] = {}
        """Views that somebody looked at, so that the kernel may know names of them."""
        self._fading: dict[str, _Fading] = {}
        self._turned: list[str] = []
        history.held = registry.held
        history.on_removed = self._removed

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
            return list(dict.fromkeys((*kept, *reversed(self._fading), *self._seen)))

    def find(self, fingerprint: str, *, may_block: bool) -> View | None:
        """Return a view, None if there is none.

        Raises `WouldBlockError` if it must be read from disk, `BrokenRunError` if it expired a while ago and nothing of
        it is left.
        """
        catalog = self._history.catalog(fingerprint, may_block=may_block)
        taken_at_ns = None if catalog is None else self.taken_at_ns(fingerprint)
        if catalog is None or taken_at_ns is None:
            return self._find_expired(fingerprint)
        ends_s = self._registry.ends_s(fingerprint)
        expires_at_ns = None if ends_s is None else self._registry.clock.wall_ns(ends_s)
        view = View(fingerprint, catalog, taken_at_ns, expires_at_ns)
        with self._lock:
            is_new = fingerprint not in self._seen
            self._seen[fingerprint] = view
        # Asked again: if it went before it was noted, nobody else has it expire, nor what the kernel is told now.
        if is_new and self.taken_at_ns(fingerprint) is None:
            return self._find_expired(fingerprint)
        return view

    def _find_expired(self, fingerprint: str) -> View | None:
        self._removed(fingerprint)  # the history may not have told of it yet
        with self._lock:
            fading = self._fading.get(fingerprint)
        if fading is None and self._registry.has_grace(fingerprint):
            raise BrokenRunError("the view has expired")
        return None if fading is None else fading.view

    def resolve(self, name: bytes, *, may_block: bool) -> str | None:
        """Return the fingerprint that a name in `at/` stands for: a time, the name of a pin, or `~N`; else None."""
        try:
            text = name.decode("ascii")
        except UnicodeDecodeError:
            return None
        return self._history.find(text) or self._registry.find(text)

    def used(self, fingerprint: str) -> None:
        """Note that something of a view was looked up now."""
        self._registry.used(fingerprint)

    def taken_at_ns(self, fingerprint: str) -> int | None:
        """Return when a catalog was put into force first, as far as that is kept; None if it is not kept."""
        return self._history.first_taken_at_ns(fingerprint)

    # ---- how views come to an end ---------------------------------------------------------------------------

    def _removed(self, fingerprint: str) -> None:
        with self._lock:
            view = self._seen.pop(fingerprint, None)
            if view is None:
                return
            until_s = self._registry.clock.now_s() + self._registry.limits.grace_s
            self._fading[fingerprint] = _Fading(replace(view, expired=True, expires_at_ns=None), until_s)
            self._turned.append(fingerprint)
            while len(self._fading) > MAX_FADING:
                oldest = next(iter(self._fading))
                del self._fading[oldest]
                self._turned.append(oldest)

    def advance(self) -> list[str]:
        """Return the fingerprints of views that have expired, are gone, or are back since it was asked last."""
        now_s = self._registry.clock.now_s()
        kept = {moment.fingerprint for moment in self._history.moments()}
        with self._lock:
            for fingerprint, fading in list(self._fading.items()):
                if now_s >= fading.until_s or fingerprint in kept:
                    del self._fading[fingerprint]
                    self._turned.append(fingerprint)
            turned, self._turned = self._turned, []
        return list(dict.fromkeys(turned))
