"""What a pin is, and what is left of one that ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

BEGINNING: Final = "beginning"
"""Stands for the cursor of whoever has nothing yet."""


class Reason(StrEnum):
    """Why a pin ended."""

    LEASE_ENDED = "lease ended"
    UNPINNED = "unpinned"
    REMOVED = "removed by the operator"
    NOT_KEPT = "its catalog is not kept any more"


@dataclass(frozen=True, slots=True)
class Pin:
    """A named mark that keeps a catalog until its lease ends.

    `taken_at_ns` is when the catalog was put into force and `pinned_at_ns` when the pin was made, in nanoseconds since
    the epoch. `ends_s` is the end of the lease by the clock of ages, and `latest_s` is up to when it can be renewed.
    `owner` is a user id. The pin of a consumer of changes also holds the catalog that it has `acknowledged`, unless
    that is `BEGINNING`; None for all other pins.
    """

    name: str
    fingerprint: str
    taken_at_ns: int
    owner: int
    note: str
    pinned_at_ns: int
    ends_s: float
    latest_s: float
    acknowledged: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is of a consumer that has not acknowledged its batch."""
        return self.acknowledged not in (None, self.fingerprint)

    @property
    def holds(self) -> tuple[str, ...]:
        """The fingerprints of the catalogs that it keeps."""
        if self.acknowledged in (None, BEGINNING, self.fingerprint):
            return (self.fingerprint,)
        assert self.acknowledged is not None
        return (self.fingerprint, self.acknowledged)


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What is left of a pin that ended: whose it was, when and why it ended, and by which user if one ended it.

    Up to `grace_s` its name still leads to its view, and up to `forget_s` nobody else may have it.
    """

    name: str
    fingerprint: str
    taken_at_ns: int
    owner: int
    note: str
    pinned_at_ns: int
    ended_at_ns: int
    reason: Reason
    ended_by: int | None
    grace_s: float
    forget_s: float
