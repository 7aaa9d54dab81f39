"""The pins of one mount in memory, with what is left of those that ended; `registry` and `batches` work on them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from readyfs.errors import LimitError, NotPermittedError, UsageError
from readyfs.pins.asker import Asker
from readyfs.pins.file import Recorded
from readyfs.pins.lease_clock import LeaseClock
from readyfs.pins.limits import MAX_PINS, Limits
from readyfs.pins.pin import Pin, Reason
from readyfs.pins.tombstones import Tombstones

_NEVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class Index:
    """What is asked often, made from all pins at once: ends of leases by fingerprint, and when anything is due."""

    ends_s: Mapping[str, float]
    due_s: float


class PinTable:
    """Pins by name. Who calls holds the `lock`, but for `get`, `index` and the length."""

    def __init__(self, limits: Limits, clock: LeaseClock) -> None:
        self._limits = limits
        self._clock = clock
        self.lock = threading.Lock()
        self._pins: dict[str, Pin] = {}
        self.leaving: list[Pin] = []
        """Those that are unpinned, or moved on, as soon as the disk has it: until then their catalogs are held."""
        self.tombstones = Tombstones(clock, limits.grace_s)
        self.generation = 0
        """How often something changed that is to be on the disk."""
        self._index: Index | None = None

    def load(self, recorded: Recorded) -> None:
        """Have the pins and tombstones of before, in an empty table."""
        self._pins = {pin.name: pin for pin in recorded.pins}
        self.tombstones = Tombstones(self._clock, self._limits.grace_s, recorded.tombstones)

    def __len__(self) -> int:
        return len(self._pins)

    def __contains__(self, name: str) -> bool:
        return name in self._pins

    def get(self, name: str) -> Pin | None:
        """Return the pin of a name, if there is one."""
        return self._pins.get(name)

    def pins(self) -> list[Pin]:
        """Return all pins."""
        return list(self._pins.values())

    def make(self, name: str, lasts_s: float, note: str, asker: Asker, fingerprint: str, taken_at_ns: int) -> Pin:
        """Return a new pin, not put yet; raise `UsageError` if its name is taken, `LimitError` for too many."""
        self._check_free(name, asker)
        if not self._limits.per_user:
            raise LimitError("nobody can pin at this mount (--pin-count 0)", "ask its operator")
        if sum(pin.owner == asker.uid for pin in self._pins.values()) >= self._limits.per_user:
            raise LimitError(
                f"you have {self._limits.per_user} pins, which is the limit", "remove one with `readyfs unpin`"
            )
        if len(self._pins) >= MAX_PINS:
            raise LimitError(f"there are {MAX_PINS} pins, which is the limit", "remove some with `readyfs unpin`")
        now_s = self._clock.now_s()
        return Pin(
            name,
            fingerprint,
            taken_at_ns,
            asker.uid,
            note,
            self._clock.wall_ns(now_s),
            now_s + lasts_s,
            now_s + self._limits.max_s,
        )

    def _check_free(self, name: str, asker: Asker) -> None:
        if name in self._pins:
            raise UsageError(
                f"there is a pin named {name}", "choose another name, or renew or unpin that one if it is yours"
            )
        self.tombstones.refuse_taken(name, asker.uid)

    def find_of(self, name: str, asker: Asker) -> Pin:
        """Return the pin of a name; raise `NoPinError`, or `NotPermittedError` if it is not the asker's."""
        pin = self._pins.get(name)
        if pin is None:
            raise self.tombstones.explain_missing(name)
        if pin.owner != asker.uid and not asker.is_operator:
            raise NotPermittedError(
                f"the pin {name} is somebody else's",
                "ask its user, or the operator of the mount (root, or who mounted)",
            )
        return pin

    def put(self, pin: Pin) -> None:
        """Have a pin, in place of the one of its name."""
        self._pins[pin.name] = pin
        self.changed()

    def withdraw(self, name: str) -> None:
        """Have a pin no more, and no tombstone of it, if it is there."""
        if self._pins.pop(name, None) is not None:
            self.changed()

    def bury(self, pin: Pin, reason: Reason, ended_by: int | None = None) -> None:
        """End a pin, and remember why."""
        del self._pins[pin.name]
        self.tombstones.bury(pin, reason, ended_by)
        self.changed()

    def changed(self, *, on_disk: bool = True) -> None:
        """Note that something changed: what is asked often is made anew, and the disk lacks it if it is to be there."""
        self.generation += on_disk
        self._index = None

    def expect_save(self) -> None:
        """Have the disk lack something, although nothing changed."""
        self.generation += 1

    def index(self) -> Index:
        """Return what is asked often. It takes the lock by itself."""
        index = self._index  # read once: any thread may ask
        if index is None:
            with self.lock:
                index = self._index = _make_index([*self._pins.values(), *self.leaving], self.tombstones.due_s)
        return index


def _make_index(pins: Iterable[Pin], due_s: float) -> Index:
    ends_s: dict[str, float] = {}
    for pin in pins:
        for fingerprint in pin.holds:
            ends_s[fingerprint] = max(pin.ends_s, ends_s.get(fingerprint, -_NEVER))
        due_s = min(due_s, pin.ends_s)
    return Index(ends_s, due_s)
