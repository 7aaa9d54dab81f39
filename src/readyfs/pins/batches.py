"""The batches of consumers of changes: given out, and acknowledged. `consumer` says what that makes of a pin."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from readyfs.errors import ResyncError
from readyfs.pins.asker import Asker
from readyfs.pins.consumer import Offer, acknowledge, next_batch
from readyfs.pins.lease_clock import LeaseClock
from readyfs.pins.limits import Limits
from readyfs.pins.names import check_name, show_name
from readyfs.pins.pin import Pin
from readyfs.pins.table import PinTable

SPARED: Final = 0.01
"""Which part of a lease may have passed until a consumer that asks again and again has it renewed."""


class Batches:
    """Moves the pins of consumers on, in the table of a registry. Any thread may call; nothing waits for the disk."""

    def __init__(self, table: PinTable, limits: Limits, clock: LeaseClock) -> None:
        self._table = table
        self._limits = limits
        self._clock = clock

    def offer(
        self, name: str, since: str | None, lease_s: float | None, asker: Asker, fingerprint: str, taken_at_ns: int
    ) -> tuple[Pin | None, Pin]:
        """Give a consumer its next batch, which ends with a catalog; return its pin before, if any, and after.

        What it held before is held until `Registry.confirm`. Raises `ResyncError` if there is no such consumer and none
        is to begin at `since`, `UsageError`, `NotPermittedError`, `LimitError`.
        """
        lasts_s = self._limits.check_lease(lease_s)
        check_name(name)
        with self._table.lock:
            before = self._table.get(name)
            if before is None:
                if since is None:
                    raise self._no_consumer(name)
                pin = replace(self._table.make(name, lasts_s, "", asker, fingerprint, taken_at_ns), acknowledged=since)
            else:
                before = self._table.find_of(name, asker)
                offer = Offer(fingerprint, taken_at_ns, self._clock.now_s() + self._limits.max_s)
                pin = self._lasting(next_batch(before, since, offer), lasts_s)
                self._table.leaving.append(before)
            if pin != before:
                self._table.put(pin)
            return before, pin

    def acknowledge(self, name: str, cursor: str, lease_s: float | None, asker: Asker) -> tuple[Pin, Pin]:
        """Have a consumer's batch acknowledged; return its pin before and after, as `offer` does.

        Raises `ResyncError` if there is no such consumer, `UsageError`, `NotPermittedError`.
        """
        lasts_s = self._limits.check_lease(lease_s)
        with self._table.lock:
            if name not in self._table:
                raise self._no_consumer(name)
            before = self._table.find_of(name, asker)
            pin = self._lasting(acknowledge(before, cursor), lasts_s)
            self._table.leaving.append(before)
            self._table.put(pin)
            return before, pin

    def _lasting(self, pin: Pin, lasts_s: float) -> Pin:
        """Return a pin with its lease lasting from now on; for little more the disk is not written."""
        ends_s = min(self._clock.now_s() + lasts_s, pin.latest_s)
        return replace(pin, ends_s=ends_s) if ends_s - pin.ends_s > lasts_s * SPARED else pin

    def _no_consumer(self, name: str) -> ResyncError:
        missing = self._table.tombstones.explain_missing(name)
        return ResyncError(
            f"what changed for the consumer {show_name(name)} cannot be told: {missing.message}",
            "load everything anew: `--since beginning` makes the consumer again and gives it all that is there",
        )
