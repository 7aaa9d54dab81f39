"""A pin store in memory, with a clock that a test sets; each mount has its own end of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from readyfs.catalog.tree import Catalog
from readyfs.errors import PinStoreError
from readyfs.pin_store.store import PinStore
from readyfs.pin_store.words import Collected, DamagedStoreError, Found, SharedPin


@dataclass(slots=True)
class Clock:
    """Seconds that a test moves on."""

    now_s: float = 1000.0


@dataclass(slots=True)
class Content:
    """What the store holds: catalogs, and by fingerprint, holder and name when a lease ends and its maximum."""

    clock: Clock
    catalogs: dict[str, Catalog] = field(default_factory=dict)
    leases: dict[tuple[str, str, str], tuple[float, float]] = field(default_factory=dict)
    names: dict[str, tuple[str, str]] = field(default_factory=dict)


class StoreInMemory(PinStore):
    """`asked` counts the calls; each first calls `before` with its name, which may wait, or raise."""

    def __init__(self, content: Content, holder: str) -> None:
        self.directory = Path("/shared/pins")
        self.content = content
        self.holder = holder
        self.asked: Counter[str] = Counter()
        self.before: Callable[[str], None] = lambda call: None

    def _note(self, call: str) -> None:
        self.asked[call] += 1
        self.before(call)

    def check(self) -> None:
        self._note("check")

    def publish(self, catalog: Catalog, pin: SharedPin, base: Catalog | None) -> None:
        self._note("publish")
        self._check_name(pin)
        self.content.catalogs[pin.fingerprint] = catalog
        self._lease(pin)
        self._take_name(pin)

    def renew(self, pin: SharedPin) -> bool:
        self._note("renew")
        if pin.fingerprint not in self.content.catalogs:
            return False
        self._lease(pin)
        if pin.name:
            self._check_name(pin)
            self._take_name(pin)
        return True

    def _check_name(self, pin: SharedPin) -> None:
        if self.content.names.get(pin.name, (self.holder, ""))[0] != self.holder:
            raise PinStoreError(f"there is a pin named {pin.name}", "choose another name")

    def _take_name(self, pin: SharedPin) -> None:
        self.content.names[pin.name] = (self.holder, pin.fingerprint)

    def _lease(self, pin: SharedPin) -> None:
        now_s = self.content.clock.now_s
        self.content.leases[pin.fingerprint, self.holder, pin.name] = (now_s + pin.lease_s, now_s + pin.latest_s)

    def end(self, pin: SharedPin) -> None:
        self._note("end")
        lease = self.content.leases.get((pin.fingerprint, self.holder, pin.name))
        if lease is not None:
            self.content.leases[pin.fingerprint, self.holder, pin.name] = (self.content.clock.now_s, lease[1])

    def find(self, fingerprint: str) -> Found | None:
        self._note("find")
        ends = [ends for key, ends in self.content.leases.items() if key[0] == fingerprint]
        if fingerprint not in self.content.catalogs or not ends:
            return None
        now_s = self.content.clock.now_s
        ends_in_s, latest_in_s = (max(times) - now_s for times in zip(*ends, strict=True))
        return Found(fingerprint, 1, ends_in_s, latest_in_s, ())

    def load(self, found: Found, like: Catalog | None) -> Catalog:
        self._note("load")
        if found.fingerprint not in self.content.catalogs:
            raise DamagedStoreError("it has been removed")
        return self.content.catalogs[found.fingerprint]

    def resolve(self, name: str) -> str | None:
        self._note("resolve")
        named = self.content.names.get(name)
        return None if named is None else named[1]

    def ends_in_s(self, fingerprint: str) -> float | None:
        self._note("ends_in_s")
        found = self.find(fingerprint)
        return None if found is None else found.ends_in_s

    def collect(self) -> Collected:
        self._note("collect")
        return Collected()
