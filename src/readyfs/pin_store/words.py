"""What a pin store is asked and answers: whose catalogs they are, what holds them, and what was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """What gives the paths of a catalog their meaning, for comparison and for people.

    `raw_id` names the raw store, which has another path on another machine. `settings` are the settings that go into
    the fingerprint, by name, as texts.
    """

    raw_id: str
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SharedPin:
    """A pin as the store holds it.

    `taken_at_ns` is when the pinning mount put the catalog into force, in nanoseconds since the epoch. `lease_s` is how
    long the pin lasts from now on, and `latest_s` up to when it can be renewed, in seconds from now.
    """

    name: str
    fingerprint: str
    taken_at_ns: int
    owner: int
    note: str
    lease_s: float
    latest_s: float


@dataclass(frozen=True, slots=True)
class Found:
    """A catalog that the store has for this mount.

    `ends_in_s` is how long its latest lease lasts from now on, by the store's clock, and not above zero once it ended.
    `latest_in_s` is up to when any of its leases can be renewed, in seconds from now.
    """

    fingerprint: str
    taken_at_ns: int
    ends_in_s: float
    latest_in_s: float
    packs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Collected:
    """What one round of collecting did; all zero if another daemon did it lately.

    `skipped` counts what could not be moved or removed, because it is somebody else's.
    """

    views: int = 0
    packs: int = 0
    freed_bytes: int = 0
    skipped: int = 0


class MismatchError(Exception):
    """A catalog is there and is not for this mount; the text says why."""


class DamagedStoreError(Exception):
    """What the store holds of a catalog is not what was written there; the text says what."""
