"""The pins of this mount in the pin store: put there when they are made, and kept there as the registry has them.

A pin counts as made once the store has it. Afterwards the store follows: what could not be told it at once, because it
was away or because a view is in use beyond its lease, is told it later, and after a restart all of it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

import structlog

from readyfs.catalog.tree import Catalog
from readyfs.daemon.pin_store_link import PinStoreLink
from readyfs.errors import FilesystemError, PinStoreAwayError, PinStoreError
from readyfs.pin_store.words import DamagedStoreError, Found, MismatchError, SharedPin
from readyfs.pins.pin import Pin
from readyfs.pins.registry import Registry

log = structlog.get_logger("readyfs.daemon")

VERIFY_S: Final = 60.0
"""How often the store is asked whether it still has what was put there."""
ANSWER_S: Final = 5.0
"""How long who renews or removes a pin waits for the store at most; what comes later is told anyway."""
LATER_S: Final = 1.0
"""From how much longer a lease is on the store is told."""


class CatalogsPort(Protocol):
    """What is asked of the history."""

    def catalog(self, fingerprint: str, *, may_block: bool) -> Catalog | None:
        """Return a kept catalog, None if there is none such; raise `WouldBlockError` if it must be read from disk."""
        ...


@dataclass(slots=True)
class _Told:
    """A pin as the store was told of it: until when it lasts, and when the store was seen to have it.

    It is `nameless` if its name was found to be that of another mount's pin.
    """

    pin: Pin
    until_s: float
    verified_s: float
    nameless: bool = False


class SharedPins:
    """Any thread may call. What waits for the store says so, and raises `PinStoreError`."""

    def __init__(self, link: PinStoreLink, registry: Registry, catalogs: CatalogsPort) -> None:
        self._link = link
        self._registry = registry
        self._catalogs = catalogs
        self._lock = threading.Lock()
        self._told: dict[str, _Told] = {}
        self._refused: dict[str, Pin] = {}
        self._being_published: set[str] = set()
        self._published: str | None = None

    def has(self, pin: Pin) -> bool:
        """Whether the store has a pin, as far as is known."""
        told = self._told.get(pin.name)
        return told is not None and told.pin.pinned_at_ns == pin.pinned_at_ns

    def count(self) -> int:
        """Return how many pins of this mount the store has."""
        return len(self._told)

    # ---- at once ------------------------------------------------------------------------------------------------

    def publish(self, pin: Pin) -> None:
        """Put a new pin and its catalog into the store. Waits for it."""
        if pin.acknowledged is not None:
            return  # a consumer's, which nobody reads elsewhere
        with self._publishing(pin.name):
            # A store that hangs is found out by something small, and not after as long as a large catalog may take.
            with suppress(DamagedStoreError):  # publishing says what that means
                self._link.ask(("name", pin.name), partial(self._link.store.resolve, pin.name))
            self._publish(pin)

    def renewed(self, pin: Pin) -> None:
        """Have the store know of a renewal. Waits for it; if it is away it is told later."""
        told = self._told.get(pin.name)
        if told is not None:
            self._try(partial(self._renew, pin, told))

    def ended(self, pin: Pin) -> None:
        """Have the store know that a pin was removed; as `renewed`."""
        told = self._told.get(pin.name)
        if told is not None:
            self._try(partial(self._end, told))

    def _try(self, call: partial[None]) -> None:
        try:
            call()
        except PinStoreError as error:
            log.debug("the pin store will be told later", error=error.message)

    # ---- later --------------------------------------------------------------------------------------------------

    def keep(self) -> None:
        """Have the store know what the registry does. Waits for it."""
        known = list(self._told.values())  # before the registry is asked, which has a pin before the store does
        pins = {pin.name: pin for pin in self._registry.pins() if pin.acknowledged is None}
        for told in known:
            now = pins.get(told.pin.name)
            if now is None or now.pinned_at_ns != told.pin.pinned_at_ns:
                self._end(told)
        self._refused = {name: pin for name, pin in self._refused.items() if pins.get(name) == pin}
        for pin in pins.values():
            if pin.name not in self._being_published and pin.name not in self._refused:
                self._keep(pin)

    def _keep(self, pin: Pin) -> None:
        try:
            self._tell(pin)
        except PinStoreAwayError:
            raise
        except PinStoreError as error:  # it alone: the store is told of the others
            self._refused[pin.name] = pin
            with self._lock:
                self._told.pop(pin.name, None)
            log.warning("a pin cannot be put into the pin store", name=pin.name, error=error.message)

    def _tell(self, pin: Pin) -> None:
        told, now_s = self._told.get(pin.name), self._registry.clock.now_s()
        if told is None:
            self._publish_again(pin)
        elif self._registry.until_s(pin) > told.until_s + LATER_S:
            self._renew_again(pin, told)
        elif now_s - told.verified_s >= VERIFY_S:
            found = self._find(pin)
            if found is None:
                log.warning("the pin store has lost a pin, it is published anew", name=pin.name)
                self._publish_again(pin)
            elif now_s + found.ends_in_s + LATER_S < told.until_s or not self._has_name(pin):
                # Its clock was set, or what it holds is that of a former time.
                self._renew_again(pin, told)
            else:
                told.verified_s = now_s

    def _find(self, pin: Pin) -> Found | None:
        try:
            return self._link.ask(("verify", pin.fingerprint), partial(self._link.store.find, pin.fingerprint))
        except (MismatchError, DamagedStoreError):
            return None

    def _has_name(self, pin: Pin) -> bool:
        try:
            named = self._link.ask(("name", pin.name), partial(self._link.store.resolve, pin.name))
        except DamagedStoreError:
            return False
        return named == pin.fingerprint

    def _renew_again(self, pin: Pin, told: _Told) -> None:
        """Renew a lease; a name that another mount has by now keeps neither this lease from it nor others."""
        until_s = self._registry.until_s(pin)
        try:
            self._renew(pin, told)
        except PinStoreAwayError:
            raise
        except PinStoreError as error:
            told.until_s, told.verified_s = until_s, self._registry.clock.now_s()
            if not told.nameless:
                told.nameless = True
                log.warning("a pin has lost its name in the pin store", name=pin.name, error=error.message)

    def _publish_again(self, pin: Pin) -> None:
        """Put a pin into the store that this daemon did not put there, or that is lost."""
        try:
            self._publish(pin)
        except FilesystemError as error:
            log.warning("a pin cannot be put into the pin store now", name=pin.name, error=str(error))

    # ---- one pin --------------------------------------------------------------------------------------------------

    @contextmanager
    def _publishing(self, name: str) -> Iterator[None]:
        """Keep `keep` from publishing a pin a second time."""
        with self._lock:
            self._being_published.add(name)
        try:
            yield
        finally:
            with self._lock:
                self._being_published.discard(name)

    def _publish(self, pin: Pin) -> None:
        catalog = self._catalogs.catalog(pin.fingerprint, may_block=True)
        if catalog is None:
            return  # the history has lost it, and ends the pin
        base = self._base()
        publish = partial(self._publish_in_store, catalog, pin, base)
        until_s = self._link.write(publish, self._link.write_s, partial(self._link.store.end, self._share(pin, 0.0)))
        self._published = pin.fingerprint
        self._note(pin, until_s)

    def _base(self) -> Catalog | None:
        """Return what this mount published last, if it is still in memory."""
        try:
            return None if self._published is None else self._catalogs.catalog(self._published, may_block=False)
        except FilesystemError:
            return None

    def _renew(self, pin: Pin, told: _Told) -> None:
        until_s = self._link.write(partial(self._renew_in_store, pin), min(self._link.timeout_s, ANSWER_S))
        if until_s is None:
            self._forget(told)  # it is published anew
        else:
            self._note(pin, until_s)

    def _end(self, told: _Told) -> None:
        self._link.write(partial(self._end_in_store, told.pin), min(self._link.timeout_s, ANSWER_S))
        self._forget(told)

    def _forget(self, told: _Told) -> None:
        with self._lock:
            if self._told.get(told.pin.name) is told:
                del self._told[told.pin.name]

    def _note(self, pin: Pin, until_s: float) -> None:
        with self._lock:
            self._told[pin.name] = _Told(pin, until_s, self._registry.clock.now_s())

    # ---- on the thread that writes, one after another, so that what the registry said last is what the store says ----

    def _publish_in_store(self, catalog: Catalog, pin: Pin, base: Catalog | None) -> float:
        until_s = self._registry.until_s(self._latest(pin))
        self._link.store.publish(catalog, self._share(pin, until_s), base)
        return until_s

    def _renew_in_store(self, pin: Pin) -> float | None:
        until_s = self._registry.until_s(self._latest(pin))
        return until_s if self._link.store.renew(self._share(pin, until_s)) else None

    def _end_in_store(self, pin: Pin) -> None:
        now = self._registry.get(pin.name)
        if now is None or now.fingerprint != pin.fingerprint:  # else it was made anew meanwhile
            self._link.store.end(self._share(pin, 0.0))

    def _latest(self, pin: Pin) -> Pin:
        now = self._registry.get(pin.name)
        return pin if now is None or now.pinned_at_ns != pin.pinned_at_ns else now

    def _share(self, pin: Pin, until_s: float) -> SharedPin:
        now_s = self._registry.clock.now_s()
        return SharedPin(
            pin.name,
            pin.fingerprint,
            pin.taken_at_ns,
            pin.owner,
            pin.note,
            max(until_s - now_s, 0.0),
            max(pin.latest_s - now_s, 0.0),
        )
