"""Views that other mounts have pinned, found in the pin store: which this mount knows, and how long each is held.

A lookup of a name that is not known waits for the store, up to a deadline. All else is answered from memory: what was
found is looked for again now and then, and as long as the store is away it goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from readyfs.catalog.tree import Catalog
from readyfs.daemon.absences import Absence, Absences
from readyfs.daemon.pin_store_link import PinStoreLink
from readyfs.errors import PinStoreError, UnreadablePinStoreError, UsageError, WouldBlockError
from readyfs.pin_store.words import DamagedStoreError, Found, MismatchError, SharedPin
from readyfs.pins.lease_clock import LeaseClock
from readyfs.pins.limits import RECENT_S
from readyfs.pins.names import check_fingerprint, check_name
from readyfs.state.filters import Filters
from readyfs.vfs.views import View

log = structlog.get_logger("readyfs.daemon")

LOOK_S: Final = 10.0
"""How often the store is asked whether what was found there is still held."""
TELL_S: Final = 60.0
"""How much longer a view must be in use than the store was told, until the store is told."""
MOST_IN_MEMORY: Final = 64
"""How many catalogs of found views are in memory at most."""
_NEVER: Final = float("inf")


@dataclass(slots=True)
class _Known:
    """A view that the store has, or may have.

    Until `ends_s` it is held. It is not `confirmed` if only the history of this mount had it so far. What has `ended`
    is over, or may be back, until `grace_s`. `told_s` is when the lease of this mount's own use ends.
    """

    fingerprint: str
    taken_at_ns: int
    catalog: Catalog | None
    ends_s: float | None
    latest_s: float
    used_s: float
    confirmed: bool = True
    ended: bool = False
    grace_s: float = _NEVER
    told_s: float = -_NEVER


class SharedViews:
    """Any thread may ask; only `find` and `resolve` with `may_block`, `look_again` and `tell_used` wait for the store.

    `like` returns the catalog in force, with which a found one shares what is equal. `on_ended` is told of each view
    that nobody holds any more.
    """

    def __init__(self, link: PinStoreLink, filters: Filters, clock: LeaseClock, grace_s: float) -> None:
        self.link = link
        self.like: Callable[[], Catalog | None] = lambda: None
        self.on_ended: Callable[[str, float], None] = lambda fingerprint, grace_s: None
        self._filters = filters
        self._clock = clock
        self._grace_s = grace_s
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}
        self._absences = Absences(clock.now_s)
        self._looked_s = -_NEVER
        self._is_due = False

    # ---- what is asked ----------------------------------------------------------------------------------------

    def held(self) -> Sequence[str]:
        """Return the fingerprints of the views that were found and are held, what was found last first."""
        with self._lock:
            return [one.fingerprint for one in reversed(self._known.values()) if not one.ended]

    def holds(self, fingerprint: str) -> bool:
        """Whether a view was found and is held."""
        known = self._known.get(fingerprint)
        return known is not None and not known.ended

    def has(self, view: View) -> bool:
        """Whether a view is held, and its catalog is in memory."""
        known = self._known.get(view.fingerprint)
        return known is not None and not known.ended and known.catalog is view.catalog

    def has_grace(self, fingerprint: str) -> bool:
        """Whether a view that was found ended only a while ago."""
        known = self._known.get(fingerprint)
        return known is not None and known.ended and self._clock.now_s() < known.grace_s

    def ends_s(self, fingerprint: str) -> float | None:
        """Return when the last lease of a view ends, as far as is known."""
        known = self._known.get(fingerprint)
        return None if known is None or known.ended else known.ends_s

    def find(self, fingerprint: str, *, may_block: bool) -> View | None:
        """Return a view that the store has for this mount, None if it has none.

        Raises `WouldBlockError` if the store must be asked, `UnreadablePinStoreError` if it does not answer, and
        `BrokenRunError` if the view has just expired and nobody here has seen it.
        """
        known = self._known.get(fingerprint)
        if known is not None and known.ended:
            return None
        view = None if known is None else self._view(known)
        if view is not None or self._absences.covers(fingerprint):
            return view
        try:
            check_fingerprint(fingerprint)
        except UsageError:
            return None
        if not may_block:
            raise WouldBlockError(f"the view {fingerprint} is to be looked for in the pin store")
        try:
            found = self.link.ask(("view", fingerprint), lambda: self._look_for(fingerprint))
        except PinStoreError as error:
            raise UnreadablePinStoreError(error.message) from error
        return None if self._absences.covers(fingerprint) else found

    def resolve(self, name: str, *, may_block: bool) -> str | None:
        """Return the fingerprint of the pin that has a name in the store, None if none has; raise as `find` does."""
        is_known, fingerprint = self._absences.find_name(name)
        if is_known:
            return fingerprint
        try:
            check_name(name)
        except UsageError:
            return None
        if not may_block:
            raise WouldBlockError(f"the name {name} is to be looked for in the pin store")
        try:
            found = self.link.ask(("name", name), lambda: self.link.store.resolve(name))
        except PinStoreError as error:
            raise UnreadablePinStoreError(error.message) from error
        except DamagedStoreError:
            found = None
        self._absences.note_name(name, found)
        return found

    def why_not(self, fingerprint: str) -> str | None:
        """Return why a view that is in the store is not shown here, None if that is not so."""
        return self._absences.why(fingerprint)

    def used(self, fingerprint: str) -> None:
        """Note that something of a view was looked up now."""
        known = self._known.get(fingerprint)
        if known is not None:
            known.used_s = self._clock.now_s()

    def _view(self, known: _Known) -> View | None:
        catalog = known.catalog
        return None if catalog is None else View(known.fingerprint, catalog, known.taken_at_ns)

    # ---- on the thread that asks the store ----------------------------------------------------------------------

    def _look_for(self, fingerprint: str) -> View | None:
        """Find a view and read its catalog; what came of it is remembered."""
        known = self._known.get(fingerprint)
        if known is not None and (view := self._view(known)) is not None:
            return view  # somebody else's question brought it
        store, absence = self.link.store, Absence()
        try:
            found = store.find(fingerprint)
            if found is not None and found.ends_in_s > 0:
                catalog = store.load(found, self.like())
                if lies_within(catalog, self._filters):
                    return self._note_found(found, catalog)
                absence = Absence("it has partitions that the filters of this mount keep back", final=True)
            elif found is not None and found.ends_in_s > -self._grace_s:
                absence = Absence(expired=True)
        except (MismatchError, DamagedStoreError) as error:
            absence = Absence(str(error))
        self._absences.note(fingerprint, absence, self.link.shown)
        return None

    def _note_found(self, found: Found, catalog: Catalog) -> View | None:
        now_s = self._clock.now_s()
        with self._lock:
            known = self._known.get(found.fingerprint)
            if known is None:
                known = self._known[found.fingerprint] = _Known(
                    found.fingerprint, found.taken_at_ns, catalog, None, now_s, now_s
                )
                self._is_due = True  # so that the store learns of its use here
                log.info("a view was found in the pin store", fingerprint=found.fingerprint, path=self.link.shown)
            known.catalog, known.used_s = catalog, now_s
            _confirm(known, found, now_s)
        self._absences.forget(found.fingerprint)
        return self._view(known)

    # ---- now and then -------------------------------------------------------------------------------------------

    def is_due(self) -> bool:
        """Whether to `look_again`; cheap."""
        now_s = self._clock.now_s()
        if self._is_due or now_s - self._looked_s >= LOOK_S:
            return True
        ends = (one.ends_s for one in tuple(self._known.values()) if not one.ended and one.ends_s is not None)
        return any(self._looked_s < ends_s <= now_s for ends_s in ends)

    def look_again(self) -> None:
        """Ask whether what was found is still held, and tell of what is not. What cannot be asked about goes on."""
        self._is_due, self._looked_s = False, self._clock.now_s()
        with self._lock:
            for one in [one for one in self._known.values() if one.ended and self._looked_s >= one.grace_s]:
                del self._known[one.fingerprint]
            known = list(self._known.values())
        for number, one in enumerate(known):
            try:
                self.link.ask(("again", one.fingerprint), partial(self._look_again, one))
            except PinStoreError:
                for other in known[number:]:
                    if not other.confirmed:
                        self._end(other, 0.0)  # nobody knows that the store holds it
                return

    def _look_again(self, known: _Known) -> None:
        store = self.link.store
        try:
            found = store.find(known.fingerprint)
        except MismatchError:
            found = None
        except DamagedStoreError:
            # What is in memory was proven; only its leases matter.
            latest_in_s = known.latest_s - self._clock.now_s()
            try:
                ends_in_s = store.ends_in_s(known.fingerprint) or 0.0
            except DamagedStoreError:  # as far as is known, then
                ends_in_s = 0.0 if known.ends_s is None else known.ends_s - self._clock.now_s()
            found = Found(known.fingerprint, known.taken_at_ns, ends_in_s, latest_in_s, ())
        if found is None or found.ends_in_s <= 0:
            self._end(known, 0.0 if found is None else found.ends_in_s)
        else:
            with self._lock:
                _confirm(known, found, self._clock.now_s())

    def _end(self, known: _Known, ends_in_s: float) -> None:
        with self._lock:
            if known.ended:
                return
            known.ended, known.catalog = True, None
            known.grace_s = self._clock.now_s() + max(self._grace_s + ends_in_s, 0.0)
        self.on_ended(known.fingerprint, known.grace_s)

    def adopt(self, view: View) -> bool:
        """Have a view go on that the history let go of, if the store holds it; return whether it may.

        The store is asked soon. If it is away, nobody knows that it holds the view, and so the view ends.
        """
        with self._lock:
            known = self._known.get(view.fingerprint)
            if known is None:
                now_s = self._clock.now_s()
                known = _Known(view.fingerprint, view.taken_at_ns, view.catalog, None, now_s, now_s, confirmed=False)
                self._known[view.fingerprint] = known
                if self.link.problem is not None:
                    known.ended, known.catalog, known.grace_s = True, None, now_s + self._grace_s
                self._is_due = True
            elif not known.ended and known.catalog is None:
                known.catalog = view.catalog
            return not known.ended

    def tell_used(self) -> None:
        """Have the store hold what is used here: by a lease of this mount's own, up to the maximum of the pin's."""
        now_s = self._clock.now_s()
        for one in tuple(self._known.values()):
            until_s = min(one.used_s + RECENT_S, one.latest_s)
            if one.ended or not one.confirmed or until_s <= now_s or not _is_news(until_s, one.told_s, now_s):
                continue
            pin = SharedPin(
                "", one.fingerprint, one.taken_at_ns, 0, "in use", until_s - now_s, max(one.latest_s - now_s, 0.0)
            )
            self.link.write(partial(self.link.store.renew, pin), self.link.timeout_s)
            one.told_s = until_s

    # ---- memory ---------------------------------------------------------------------------------------------------

    def in_memory(self) -> Sequence[Catalog]:
        """Return the catalogs of found views that are in memory, what was used last first."""
        known = sorted(self._known.values(), key=lambda one: -one.used_s)
        return [catalog for one in known if not one.ended and (catalog := one.catalog) is not None]

    def let_go(self, fingerprint: str) -> None:
        """Have a catalog in memory no more, until somebody looks into its view."""
        with self._lock:
            known = self._known.get(fingerprint)
            if known is not None:
                known.catalog = None


def lies_within(catalog: Catalog, filters: Filters) -> bool:
    """Whether a mount with these filters may show all of a catalog."""
    first, last = filters.date_range
    for key, series in catalog.by_key.items():
        dates = (*series.dates[:1], *series.dates[-1:], *series.ambiguous)
        if not filters.admits(key) or min(dates) < first or max(dates) > last:
            return False
    return True


def _is_news(until_s: float, told_s: float, now_s: float) -> bool:
    """Whether to tell the store of a later end: each minute, and in time before what it knows is over."""
    return until_s - told_s >= TELL_S or (until_s > told_s and told_s - now_s <= 3 * LOOK_S)


def _confirm(known: _Known, found: Found, now_s: float) -> None:
    """Note what the store says of a view that is held; the caller holds the lock."""
    known.ends_s, known.latest_s = now_s + found.ends_in_s, now_s + found.latest_in_s
    known.confirmed, known.ended, known.grace_s = True, False, _NEVER
