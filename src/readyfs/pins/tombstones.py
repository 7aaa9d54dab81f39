"""What is left of the pins of one mount that ended: a name that leads on for a while, and what became of it.

The owner of the pins calls it under the lock of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from readyfs.duration import render_duration
from readyfs.errors import NoPinError, UsageError
from readyfs.pins.lease_clock import LeaseClock
from readyfs.pins.limits import MAX_TOMBSTONES, TOMBSTONE_S
from readyfs.pins.names import show_name
from readyfs.pins.pin import Pin, Reason, Tombstone

_NEVER: Final = float("inf")


class Tombstones:
    """The tombstones of one mount, the oldest first; `grace_s` is how long a name still leads to its view."""

    def __init__(self, clock: LeaseClock, grace_s: float, left: Iterable[Tombstone] = ()) -> None:
        self._clock = clock
        self._grace_s = grace_s
        self._left = list(left)

    def __iter__(self) -> Iterator[Tombstone]:
        return iter(self._left)

    def __len__(self) -> int:
        return len(self._left)

    def find(self, name: str) -> str | None:
        """Return the fingerprint of the last pin of a name if that has its grace time, else None."""
        now_s = self._clock.now_s()
        ended = (one for one in reversed(self._left) if one.name == name and now_s < one.grace_s)
        return next((one.fingerprint for one in ended), None)

    def has_grace(self, fingerprint: str) -> bool:
        """Return whether the last pin of a catalog ended only a while ago."""
        now_s = self._clock.now_s()
        return any(one.fingerprint == fingerprint and now_s < one.grace_s for one in self._left)

    def refuse_taken(self, name: str, uid: int) -> None:
        """Raise `UsageError` if a name was another user's."""
        if any(one.name == name and one.owner != uid for one in self._left):
            raise UsageError(
                f"the name {name} was somebody else's until a while ago, whose readers may still use it",
                "choose another name",
            )

    def explain_missing(self, name: str) -> NoPinError:
        """Return why there is no pin of a name, as an error."""
        ended = next((one for one in reversed(self._left) if one.name == name), None)
        if ended is None:
            return NoPinError(f"there is no pin named {show_name(name)}", "`readyfs pins` lists those that are")
        ago_s = max(self._clock.wall_ns(self._clock.now_s()) - ended.ended_at_ns, 0) // 1_000_000_000
        return NoPinError(
            f"the pin {name} ended {render_duration(ago_s)} ago: {ended.reason.value}",
            "`readyfs pin` makes a new one; `readyfs pins --expired` has more",
        )

    def bury(self, pin: Pin, reason: Reason, ended_by: int | None = None) -> None:
        """Remember a pin that ended now. Of one user's too many, one goes."""
        now_s = self._clock.now_s()
        one = Tombstone(
            pin.name,
            pin.fingerprint,
            pin.taken_at_ns,
            pin.owner,
            pin.note,
            pin.pinned_at_ns,
            self._clock.wall_ns(now_s),
            reason,
            ended_by,
            now_s + self._grace_s,
            now_s + TOMBSTONE_S,
        )
        mine = [index for index, other in enumerate(self._left) if other.owner == pin.owner]
        if len(mine) >= MAX_TOMBSTONES:
            # Of what ended by itself its user may not know yet.
            known = (index for index in mine if self._left[index].reason is Reason.UNPINNED)
            del self._left[next(known, mine[0])]
        self._left.append(one)

    def forget(self, pin: Pin) -> None:
        """Forget a pin that did not end after all."""
        self._left = [one for one in self._left if (one.name, one.pinned_at_ns) != (pin.name, pin.pinned_at_ns)]

    def forget_due(self, now_s: float) -> None:
        """Forget those whose time is over."""
        self._left = [one for one in self._left if now_s < one.forget_s]

    @property
    def due_s(self) -> float:
        """When the first one is to be forgotten."""
        return min((one.forget_s for one in self._left), default=_NEVER)
