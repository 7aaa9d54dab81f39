"""Which moments are kept: by number, by age, and because somebody holds them."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Moment(NamedTuple):
    """One catalog put into force, at a time of the wall clock in nanoseconds since the epoch."""

    fingerprint: str
    taken_at_ns: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of the past is kept: `count` catalogs beside the one in force, of the last `age_s`, in `max_bytes`.

    The age is measured from the newest catalog, not by the clock, and begins when another took the place. So the time
    between two catalogs, however long, deletes nothing.
    """

    count: int
    age_s: float
    max_bytes: int

    def keeps(self, moments: Sequence[Moment], held: Container[str]) -> list[bool]:
        """Tell of each moment, the oldest first, whether it stays; the last one is in force and does."""
        if not moments:
            return []
        oldest_ns = moments[-1].taken_at_ns - int(self.age_s * 1_000_000_000)
        last = len(moments) - 1
        return [
            index == last
            or moment.fingerprint in held
            or (last - index <= self.count and moments[index + 1].taken_at_ns >= oldest_ns)
            for index, moment in enumerate(moments)
        ]
