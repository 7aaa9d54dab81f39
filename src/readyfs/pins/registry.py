"""The pins of one mount: made, renewed, removed, and ended when their lease does.

Nothing here knows what a catalog is: a pin holds a fingerprint. Who keeps catalogs asks which are `held`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Final

import structlog

from readyfs.duration import render_duration
from readyfs.errors import UsageError
from readyfs.pins.asker import Asker
from readyfs.pins.batches import Batches
from readyfs.pins.file import DamagedPinsError, PinFile
from readyfs.pins.lease_clock import LeaseClock
from readyfs.pins.limits import RECENT_S, Limits
from readyfs.pins.names import check_name, check_note, make_name
from readyfs.pins.pin import Pin, Reason, Tombstone
from readyfs.pins.table import PinTable
from readyfs.text import escape_text

log = structlog.get_logger("readyfs.pins")

_NEVER: Final = float("inf")


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
        self._file_lock = threading.Lock()
        self._table = PinTable(limits, clock)
        self.batches = Batches(self._table, limits, clock)
        """What is done for consumers of changes; `confirm` and the like are here."""
        self._used_s: dict[str, float] = {}
        self._saved = self._table.generation
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
        self._table.load(recorded)

    # ---- what is asked ----------------------------------------------------------------------------------------

    def held(self) -> Collection[str]:
        """Return the fingerprints of pinned catalogs."""
        return self._table.index().ends_s.keys()

    def ends_s(self, fingerprint: str) -> float | None:
        """Return when the last lease on a catalog ends, None if no lease holds it."""
        return self._table.index().ends_s.get(fingerprint)

    def until_s(self, pin: Pin) -> float:
        """Return when a pin ends if its view is not used again: with its lease, or a while after it was used last."""
        return max(pin.ends_s, min(self._used_s.get(pin.fingerprint, -_NEVER) + RECENT_S, pin.latest_s))

    def find(self, name: str) -> str | None:
        """Return the fingerprint of a pin, or of one that ended and has its grace time; else None."""
        with self._table.lock:
            pin = self._table.get(name)
            return self._table.tombstones.find(name) if pin is None else pin.fingerprint

    def get(self, name: str) -> Pin | None:
        """Return the pin of a name, if there is one."""
        return self._table.get(name)

    def has_grace(self, fingerprint: str) -> bool:
        """Return whether the last pin of a catalog ended only a while ago."""
        with self._table.lock:
            return self._table.tombstones.has_grace(fingerprint)

    def pins(self) -> list[Pin]:
        """Return all pins, the oldest first."""
        with self._table.lock:
            return sorted(self._table.pins(), key=lambda pin: (pin.pinned_at_ns, pin.name))

    def count(self) -> int:
        """Return how many pins there are."""
        return len(self._table)

    def count_ended(self) -> int:
        """Return how many there are of which something is left."""
        return len(self._table.tombstones)

    def tombstones(self) -> list[Tombstone]:
        """Return what is left of those that ended, the oldest first."""
        with self._table.lock:
            return list(self._table.tombstones)

    def used(self, fingerprint: str) -> None:
        """Note that something of a view was opened now."""
        if fingerprint in self._table.index().ends_s:
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
        with self._table.lock:
            pin = self._table.make(
                make_name() if name is None else name, lasts_s, note, asker, fingerprint, taken_at_ns
            )
            self._table.put(pin)
            return pin

    def renew(self, name: str, lease_s: float | None, asker: Asker) -> tuple[Pin, Pin]:
        """Have a lease last from now on as long as is asked for; it never becomes shorter. Return before and after.

        Raises `UsageError` beyond the maximum, `NoPinError`, `NotPermittedError`.
        """
        lasts_s = self.limits.check_lease(lease_s)
        with self._table.lock:
            pin = self._table.find_of(name, asker)
            now_s = self.clock.now_s()
            left_s = max(pin.latest_s - now_s, 0.0)
            if lease_s is not None and lasts_s > left_s:
                raise UsageError(
                    f"the pin {name} cannot be held for {render_duration(lasts_s)} more",
                    f"its maximum ends in {render_duration(round(left_s))}: renew it for less, or make a new pin",
                )
            renewed = replace(pin, ends_s=max(pin.ends_s, now_s + min(lasts_s, left_s)))
            self._table.put(renewed)
            return pin, renewed

    def unpin(self, name: str, asker: Asker) -> Pin:
        """Remove a pin, whose catalog is held until `confirm`; raise `NoPinError`, `NotPermittedError`."""
        with self._table.lock:
            pin = self._table.find_of(name, asker)
            self._table.leaving.append(pin)
            self._table.bury(pin, Reason.UNPINNED if asker.uid == pin.owner else Reason.REMOVED, asker.uid)
            return pin

    def confirm(self, pin: Pin) -> None:
        """Hold what a pin held that was removed or moved on no more: the disk has it, or the pin is back."""
        with self._table.lock:
            self._table.leaving.remove(pin)
            self._table.changed(on_disk=False)

    def put_back(self, pin: Pin) -> None:
        """Have a pin that was removed, which could not be saved. A new one of its name stays."""
        with self._table.lock:
            self._table.leaving.remove(pin)
            if pin.name not in self._table:
                self._table.put(pin)
                self._table.tombstones.forget(pin)
            self._table.changed()

    def restore(self, pin: Pin) -> None:
        """Have a pin as it was before a renewal that could not be saved."""
        with self._table.lock:
            if pin.name in self._table:
                self._table.put(pin)

    def withdraw(self, pin: Pin) -> None:
        """Have a pin not made that could not be saved."""
        with self._table.lock:
            self._table.withdraw(pin.name)

    def bury_unless(self, is_kept: Callable[[str], bool]) -> list[Pin]:
        """End the pins whose catalog is not kept, and return them."""
        with self._table.lock:
            lost = [pin for pin in self._table.pins() if not all(map(is_kept, pin.holds))]
            for pin in lost:
                self._table.bury(pin, Reason.NOT_KEPT)
            return lost

    def advance(self) -> list[Pin]:
        """End the leases that are due, and return their pins. A view that is in use has them extended."""
        now_s = self.clock.now_s()
        if now_s < self._table.index().due_s:
            return []
        ended = []
        with self._table.lock:
            for pin in [pin for pin in self._table.pins() if now_s >= pin.ends_s]:
                until_s = min(self._used_s.get(pin.fingerprint, -_NEVER) + RECENT_S, pin.latest_s)
                if until_s > now_s:
                    self._table.put(replace(pin, ends_s=until_s))
                else:
                    self._table.bury(pin, Reason.LEASE_ENDED)
                    ended.append(pin)
            self._table.tombstones.forget_due(now_s)
            held = {pin.fingerprint for pin in self._table.pins()}
            self._used_s = {one: at_s for one, at_s in list(self._used_s.items()) if one in held}
            self._table.changed()
        return ended

    def save(self) -> None:
        """Return when the disk has what was done before the call; raise `OSError`."""
        with self._file_lock:
            with self._table.lock:
                generation, pins, tombstones = self._table.generation, self._table.pins(), list(self._table.tombstones)
            if generation != self._saved:
                self._file.write(pins, tombstones)
                self._saved = generation

    @property
    def is_saved(self) -> bool:
        """Whether the disk has all that was done; cheap."""
        return self._table.generation == self._saved

    @property
    def is_saving(self) -> bool:
        """Whether a thread is writing, which a disk that hangs can keep there for ever."""
        return self._file_lock.locked()

    def expect_save(self) -> None:
        """Have the next `save` write, although nothing was done: the wall clock was set."""
        with self._table.lock:
            self._table.expect_save()
