"""The pins of one mount: made, renewed, removed, and ended when their lease does.

Nothing here knows what a catalog is: a pin holds a fingerprint. Who keeps catalogs asks which are `held`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import structlog

from readyfs.duration import render_duration
from readyfs.errors import LimitError, NotPermittedError, ResyncError, UsageError
from readyfs.pins.consumer import Offer, acknowledge, next_batch
from readyfs.pins.file import DamagedPinsError, PinFile
from readyfs.pins.lease_clock import LeaseClock
from readyfs.pins.limits import MAX_PINS, RECENT_S, Limits
from readyfs.pins.names import check_name, check_note, make_name, show_name
from readyfs.pins.pin import Pin, Reason, Tombstone
from readyfs.pins.tombstones import Tombstones
from readyfs.text import escape_text

log = structlog.get_logger("readyfs.pins")

SPARED: Final = 0.01
"""Which part of a lease may have passed until a consumer that asks again and again has it renewed."""
_NEVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: a user id, and whether that is an operator of the mount, who may do it to the pins of others."""

    uid: int
    is_operator: bool = False


@dataclass(frozen=True, slots=True)
class _Index:
    """What is asked often, made from all pins at once: ends of leases by fingerprint, and when anything is due."""

    ends_s: Mapping[str, float]
    due_s: float


class Registry:
    """Owns the pins of one mount, and what is left of those that ended.

    Any thread may call; `save` waits for the disk, nothing else does.
    What `pin`, `renew` and `unpin` do is in memory when they return, and on the disk after `save`.
    """

    def __init__(self, file: PinFile, limits: Limits, clock: LeaseClock) -> None:
        """Read the pins of before; raise `HistoryError` if they are there and cannot be read now. Blocking."""
        self.limits = limits
        self.clock = clock
        self._file = file
        self._lock = threading.Lock()
        self._file_lock = threading.Lock()
        self._pins: dict[str, Pin] = {}
        self._leaving: list[Pin] = []
        """Those that are unpinned, or moved on, as soon as the disk has it: until then their catalogs are held."""
        self._tombstones = Tombstones(clock, limits.grace_s)
        self._used_s: dict[str, float] = {}
        self._index: _Index | None = None
        self._generation = self._saved = 0
        self._read()

    def _read(self) -> None:
        try:
            recorded = self._file.read()
        except DamagedPinsError as error:
            log.error(
                "pins are damaged and lost, their file is set aside",
                path=escape_text(os.fsencode(self._file.set_aside())),
                cause=str(error),
            )
            return
        self._pins = {pin.name: pin for pin in recorded.pins}
        self._tombstones = Tombstones(self.clock, self.limits.grace_s, recorded.tombstones)

    # ---- what is asked ----------------------------------------------------------------------------------------

    def held(self) -> Collection[str]:
        """Return the fingerprints of pinned catalogs."""
        return self._indexed().ends_s.keys()

    def ends_s(self, fingerprint: str) -> float | None:
        """Return when the last lease on a catalog ends, None if no lease holds it."""
        return self._indexed().ends_s.get(fingerprint)

    def until_s(self, pin: Pin) -> float:
        """Return when a pin ends if its view is not used again: with its lease, or a while after it was used last."""
        return max(pin.ends_s, min(self._used_s.get(pin.fingerprint, -_NEVER) + RECENT_S, pin.latest_s))

    def find(self, name: str) -> str | None:
        """Return the fingerprint of a pin, or of one that ended and has its grace time; else None."""
        with self._lock:
            pin = self._pins.get(name)
            return self._tombstones.find(name) if pin is None else pin.fingerprint

    def get(self, name: str) -> Pin | None:
        """Return the pin of a name, if there is one."""
        return self._pins.get(name)

    def has_grace(self, fingerprint: str) -> bool:
        """Return whether the last pin of a catalog ended only a while ago."""
        with self._lock:
            return self._tombstones.has_grace(fingerprint)

    def pins(self) -> list[Pin]:
        """Return all pins, the oldest first."""
        with self._lock:
            return sorted(self._pins.values(), key=lambda pin: (pin.pinned_at_ns, pin.name))

    def count(self) -> int:
        """Return how many pins there are."""
        return len(self._pins)

    def count_ended(self) -> int:
        """Return how many there are of which something is left."""
        return len(self._tombstones)

    def tombstones(self) -> list[Tombstone]:
        """Return what is left of those that ended, the oldest first."""
        with self._lock:
            return list(self._tombstones)

    def used(self, fingerprint: str) -> None:
        """Note that something of a view was opened now."""
        if fingerprint in self._indexed().ends_s:
            self._used_s[fingerprint] = self.clock.now_s()

    # ---- what is done -----------------------------------------------------------------------------------------

    def pin(
        self, name: str | None, lease_s: float | None, note: str, asker: Asker, fingerprint: str, taken_at_ns: int
    ) -> Pin:
        """Make a pin; raise `UsageError` for a name, note or lease that cannot be, `LimitError` for too many."""
        lasts_s = self.limits.check_lease(lease_s)
        check_note(note)
        if name is not None:
            check_name(name)
        with self._lock:
            pin = self._make(make_name() if name is None else name, lasts_s, note, asker, fingerprint, taken_at_ns)
            self._put(pin)
            return pin

    def _make(self, name: str, lasts_s: float, note: str, asker: Asker, fingerprint: str, taken_at_ns: int) -> Pin:
        self._check_free(name, asker)
        if not self.limits.per_user:
            raise LimitError("nobody can pin at this mount (--pin-count 0)", "ask its operator")
        if sum(pin.owner == asker.uid for pin in self._pins.values()) >= self.limits.per_user:
            raise LimitError(
                f"you have {self.limits.per_user} pins, which is the limit", "remove one with `readyfs unpin`"
            )
        if len(self._pins) >= MAX_PINS:
            raise LimitError(f"there are {MAX_PINS} pins, which is the limit", "remove some with `readyfs unpin`")
        now_s = self.clock.now_s()
        return Pin(
            name,
            fingerprint,
            taken_at_ns,
            asker.uid,
            note,
            self.clock.wall_ns(now_s),
            now_s + lasts_s,
            now_s + self.limits.max_s,
        )

    def _check_free(self, name: str, asker: Asker) -> None:
        if name in self._pins:
            raise UsageError(
                f"there is a pin named {name}", "choose another name, or renew or unpin that one if it is yours"
            )
        self._tombstones.refuse_taken(name, asker.uid)

    def renew(self, name: str, lease_s: float | None, asker: Asker) -> tuple[Pin, Pin]:
        """Have a lease last from now on as long as is asked for; it never becomes shorter. Return before and after.

        Raises `UsageError` beyond the maximum, `NoPinError`, `NotPermittedError`.
        """
        lasts_s = self.limits.check_lease(lease_s)
        with self._lock:
            pin = self._find_of(name, asker)
            now_s = self.clock.now_s()
            left_s = max(pin.latest_s - now_s, 0.0)
            if lease_s is not None and lasts_s > left_s:
                raise UsageError(
                    f"the pin {name} cannot be held for {render_duration(lasts_s)} more",
                    f"its maximum ends in {render_duration(round(left_s))}: renew it for less, or make a new pin",
                )
            renewed = replace(pin, ends_s=max(pin.ends_s, now_s + min(lasts_s, left_s)))
            self._put(renewed)
            return pin, renewed

    def offer(
        self, name: str, since: str | None, lease_s: float | None, asker: Asker, fingerprint: str, taken_at_ns: int
    ) -> tuple[Pin | None, Pin]:
        """Give a consumer its next batch, which ends with a catalog; return its pin before, if any, and after.

        What it held before is held until `confirm`. Raises `ResyncError` if there is no such consumer and none is to
        begin at `since`, `UsageError`, `NotPermittedError`, `LimitError`.
        """
        lasts_s = self.limits.check_lease(lease_s)
        check_name(name)
        with self._lock:
            before = self._pins.get(name)
            if before is None:
                if since is None:
                    raise self._no_consumer(name)
                pin = replace(self._make(name, lasts_s, "", asker, fingerprint, taken_at_ns), acknowledged=since)
            else:
                before = self._find_of(name, asker)
                offer = Offer(fingerprint, taken_at_ns, self.clock.now_s() + self.limits.max_s)
                pin = self._lasting(next_batch(before, since, offer), lasts_s)
                self._leaving.append(before)
            if pin != before:
                self._put(pin)
            return before, pin

    def acknowledge(self, name: str, cursor: str, lease_s: float | None, asker: Asker) -> tuple[Pin, Pin]:
        """Have a consumer's batch acknowledged; return its pin before and after, as `offer` does.

        Raises `ResyncError` if there is no such consumer, `UsageError`, `NotPermittedError`.
        """
        lasts_s = self.limits.check_lease(lease_s)
        with self._lock:
            if name not in self._pins:
                raise self._no_consumer(name)
            before = self._find_of(name, asker)
            pin = self._lasting(acknowledge(before, cursor), lasts_s)
            self._leaving.append(before)
            self._put(pin)
            return before, pin

    def _lasting(self, pin: Pin, lasts_s: float) -> Pin:
        """Return a pin with its lease lasting from now on; for little more the disk is not written."""
        ends_s = min(self.clock.now_s() + lasts_s, pin.latest_s)
        return replace(pin, ends_s=ends_s) if ends_s - pin.ends_s > lasts_s * SPARED else pin

    def _no_consumer(self, name: str) -> ResyncError:
        missing = self._tombstones.explain_missing(name)
        return ResyncError(
            f"what changed for the consumer {show_name(name)} cannot be told: {missing.message}",
            "load everything anew: `--since beginning` makes the consumer again and gives it all that is there",
        )

    def unpin(self, name: str, asker: Asker) -> Pin:
        """Remove a pin, whose catalog is held until `confirm`; raise `NoPinError`, `NotPermittedError`."""
        with self._lock:
            pin = self._find_of(name, asker)
            del self._pins[name]
            self._leaving.append(pin)
            self._tombstones.bury(pin, Reason.UNPINNED if asker.uid == pin.owner else Reason.REMOVED, asker.uid)
            self._changed()
            return pin

    def confirm(self, pin: Pin) -> None:
        """Hold what a pin held that was removed or moved on no more: the disk has it, or the pin is back."""
        with self._lock:
            self._leaving.remove(pin)
            self._changed(on_disk=False)

    def put_back(self, pin: Pin) -> None:
        """Have a pin that was removed, which could not be saved. A new one of its name stays."""
        with self._lock:
            self._leaving.remove(pin)
            if pin.name not in self._pins:
                self._pins[pin.name] = pin
                self._tombstones.forget(pin)
            self._changed()

    def restore(self, pin: Pin) -> None:
        """Have a pin as it was before a renewal that could not be saved."""
        with self._lock:
            if pin.name in self._pins:
                self._put(pin)

    def withdraw(self, pin: Pin) -> None:
        """Have a pin not made that could not be saved."""
        with self._lock:
            if self._pins.pop(pin.name, None) is not None:
                self._changed()

    def bury_unless(self, is_kept: Callable[[str], bool]) -> list[Pin]:
        """End the pins whose catalog is not kept, and return them."""
        with self._lock:
            lost = [pin for pin in self._pins.values() if not all(map(is_kept, pin.holds))]
            for pin in lost:
                del self._pins[pin.name]
                self._tombstones.bury(pin, Reason.NOT_KEPT)
            if lost:
                self._changed()
            return lost

    def advance(self) -> list[Pin]:
        """End the leases that are due, and return their pins. A view that is in use has them extended."""
        now_s = self.clock.now_s()
        if now_s < self._indexed().due_s:
            return []
        ended = []
        with self._lock:
            for pin in [pin for pin in self._pins.values() if now_s >= pin.ends_s]:
                until_s = min(self._used_s.get(pin.fingerprint, -_NEVER) + RECENT_S, pin.latest_s)
                if until_s > now_s:
                    self._pins[pin.name] = replace(pin, ends_s=until_s)
                else:
                    del self._pins[pin.name]
                    self._tombstones.bury(pin, Reason.LEASE_ENDED)
                    ended.append(pin)
            self._tombstones.forget_due(now_s)
            held = {pin.fingerprint for pin in self._pins.values()}
            self._used_s = {one: at_s for one, at_s in list(self._used_s.items()) if one in held}
            self._changed()
        return ended

    def save(self) -> None:
        """Return when the disk has what was done before the call; raise `OSError`."""
        with self._file_lock:
            with self._lock:
                generation, pins, tombstones = self._generation, list(self._pins.values()), list(self._tombstones)
            if generation != self._saved:
                self._file.write(pins, tombstones)
                self._saved = generation

    @property
    def is_saved(self) -> bool:
        """Whether the disk has all that was done; cheap."""
        return self._generation == self._saved

    @property
    def is_saving(self) -> bool:
        """Whether a thread is writing, which a disk that hangs can keep there for ever."""
        return self._file_lock.locked()

    def expect_save(self) -> None:
        """Have the next `save` write, although nothing was done: the wall clock was set."""
        with self._lock:
            self._generation += 1

    # ---- under the lock ---------------------------------------------------------------------------------------

    def _find_of(self, name: str, asker: Asker) -> Pin:
        pin = self._pins.get(name)
        if pin is None:
            raise self._tombstones.explain_missing(name)
        if pin.owner != asker.uid and not asker.is_operator:
            raise NotPermittedError(
                f"the pin {name} is somebody else's",
                "ask its user, or the operator of the mount (root, or who mounted)",
            )
        return pin

    def _put(self, pin: Pin) -> None:
        self._pins[pin.name] = pin
        self._changed()

    def _changed(self, *, on_disk: bool = True) -> None:
        self._generation += on_disk
        self._index = None

    def _indexed(self) -> _Index:
        index = self._index  # read once: any thread may ask
        if index is None:
            with self._lock:
                index = self._index = _make_index([*self._pins.values(), *self._leaving], self._tombstones.due_s)
        return index


def _make_index(pins: Iterable[Pin], due_s: float) -> _Index:
    ends_s: dict[str, float] = {}
    for pin in pins:
        for fingerprint in pin.holds:
            ends_s[fingerprint] = max(pin.ends_s, ends_s.get(fingerprint, -_NEVER))
        due_s = min(due_s, pin.ends_s)
    return _Index(ends_s, due_s)
