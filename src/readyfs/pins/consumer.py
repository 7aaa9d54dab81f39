"""A consumer of changes as a pin: it holds the catalog of its batch, and the one up to which it has acknowledged.

A batch stays the same until it is acknowledged, whatever is put into force meanwhile. So what was handed out can always
be acknowledged, and handed out again, as long as the lease lasts; and two catalogs are all that a consumer holds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from readyfs.errors import UsageError
from readyfs.pins.pin import Pin


@dataclass(frozen=True, slots=True)
class Offer:
    """What a batch can end with: the catalog in force, when it was put into force, and how long it can be held."""

    fingerprint: str
    taken_at_ns: int
    latest_s: float


def check_consumer(pin: Pin) -> None:
    """Raise `UsageError` if a pin is of no consumer."""
    if pin.acknowledged is None:
        raise UsageError(f"the pin {pin.name} is a view and no consumer", "choose another name for the consumer")


def next_batch(pin: Pin, since: str | None, offer: Offer) -> Pin:
    """Return a consumer with its next batch, or with the same one if that is not acknowledged.

    `since` is a cursor: that of the batch acknowledges it, and any other one has the consumer begin there.
    """
    check_consumer(pin)
    if repeats(pin, since):
        return pin
    return replace(
        pin,
        acknowledged=pin.acknowledged if since is None else since,
        fingerprint=offer.fingerprint,
        taken_at_ns=offer.taken_at_ns,
        latest_s=offer.latest_s,
    )


def repeats(pin: Pin, since: str | None) -> bool:
    """Tell whether the next batch of a consumer is the one that it was given last."""
    return pin.is_open and since in (None, pin.acknowledged)


def name_batch(pin: Pin) -> str:
    """Return what no other batch of a consumer has: a catalog that comes back is the end of another batch."""
    return f"{pin.acknowledged} {pin.fingerprint} {pin.taken_at_ns}"


def acknowledge(pin: Pin, cursor: str) -> Pin:
    """Return a consumer whose batch is acknowledged; to say it again does nothing. Raise `UsageError`."""
    check_consumer(pin)
    if cursor not in (pin.fingerprint, pin.acknowledged):
        raise UsageError(
            f"{cursor} is not the cursor of the batch that the consumer {pin.name} was given last",
            "acknowledge the bookmark of the batch; does another process use this consumer?",
        )
    return replace(pin, acknowledged=cursor)
