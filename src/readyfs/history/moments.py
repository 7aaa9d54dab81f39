"""Which moments are kept: by number, by age, and because somebody holds them."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

UNKNOWN_STEPS: Final = 1_000_000_000
"""So much is added to the number of a moment if nobody knows how many were before it: no `~N` is as large."""


class Replacement(NamedTuple):
    """When another catalog took the place of one, as `taken_at_ns` and `run_ns` of a `Moment` say it."""

    taken_at_ns: int
    run_ns: int


class Moment(NamedTuple):
    """One catalog put into force, at a time of the wall clock in nanoseconds since the epoch.

    `number` counts all moments of a mount, those that are not kept among them. `first_taken_at_ns` is the time of the
    first moment of this catalog since when one of them has always been kept. `run_ns` is for how long daemons of this
    mount had run by then, by the clock of ages. `replaced` is None for the last moment alone. If it is not known, it is
    the moment itself, so that it answers for no time.
    """

    fingerprint: str
    taken_at_ns: int
    number: int = 0
    first_taken_at_ns: int = 0
    run_ns: int = 0
    replaced: Replacement | None = None

    def steps_to(self, last: Moment) -> int | None:
        """Return how many catalogs were put into force since, up to the last one; None if that is not known."""
        steps = last.number - self.number
        return steps if steps < UNKNOWN_STEPS else None

    def was_in_force(self, time_ns: int) -> bool:
        """Tell whether it was in force at a time of the wall clock."""
        return self.taken_at_ns <= time_ns and (self.replaced is None or time_ns < self.replaced.taken_at_ns)


def follow(
    moments: Sequence[Moment], noted: Mapping[int, Replacement], *, is_last_in_force: bool = True
) -> list[Moment]:
    """Return moments, the oldest first, with when each of them was replaced, as far as that is known.

    `noted` says it by number. `is_last_in_force` says that none is missing behind the last.
    """
    found: list[Moment] = []
    for moment in moments:
        replaced = noted.get(moment.number)
        if replaced is None and not (is_last_in_force and moment is moments[-1]):
            replaced = Replacement(moment.taken_at_ns, moment.run_ns)
        found.append(moment._replace(replaced=replaced))
    return found


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of the past is kept: `count` catalogs beside the one in force, of the last `age_s`, in `max_bytes`.

    The age is measured from the newest catalog, and begins when another took the place. It counts the time that daemons
    ran, whatever the wall clock says. So neither the time without a daemon nor a clock that is set deletes anything.
    """

    count: int
    age_s: float
    max_bytes: int

    def keeps(self, moments: Sequence[Moment], held: Container[str]) -> list[bool]:
        """Tell of each moment, the oldest first, whether it stays; the last one does."""
        if not moments:
            return []
        oldest_ns = moments[-1].run_ns - int(self.age_s * 1_000_000_000)
        last = len(moments) - 1
        return [
            index == last
            or moment.fingerprint in held
            or (last - index <= self.count and (moment.replaced is None or moment.replaced.run_ns >= oldest_ns))
            for index, moment in enumerate(moments)
        ]
