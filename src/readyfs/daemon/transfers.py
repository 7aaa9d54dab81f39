"""Batches of changes on their way to clients: both catalogs are held while one is fetched page by page.

Used on the trio thread alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

import trio

from readyfs.consumer.changes import Difference
from readyfs.errors import LimitError

IDLE_S: Final = 60.0
"""How long a batch is held of which nobody asks for the next page."""
USER_TRANSFERS: Final = 4
ALL_TRANSFERS: Final = 32
TICK_S: Final = 5.0


class Batch(NamedTuple):
    """Whose batch, and the cursors that it leads between."""

    uid: int
    since: str
    until: str


@dataclass(slots=True)
class _Held:
    difference: Difference
    used_s: float


class Transfers:
    """Holds differences, so many of one user and of all; `now_s` is a clock that never goes back."""

    def __init__(self, now_s: Callable[[], float] = trio.current_time) -> None:
        self._now_s = now_s
        self._held: dict[Batch, _Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    def find(self, batch: Batch) -> Difference | None:
        """Return a difference that is held, and hold it on."""
        held = self._held.get(batch)
        if held is None:
            return None
        held.used_s = self._now_s()
        return held.difference

    def hold(self, batch: Batch, difference: Difference) -> None:
        """Hold a difference; of one user's too many the one that was used longest ago goes. Raise `LimitError`."""
        own = [one for one in self._held if one.uid == batch.uid and one != batch]
        if len(own) >= USER_TRANSFERS:
            del self._held[min(own, key=lambda one: self._held[one].used_s)]
        if len(self._held) >= ALL_TRANSFERS:
            raise LimitError("too many batches of changes are being fetched", "try again in a minute")
        self._held[batch] = _Held(difference, self._now_s())

    def drop(self, batch: Batch) -> None:
        """Hold a difference no more."""
        self._held.pop(batch, None)

    async def run(self) -> None:
        """Let go of what nobody asks for any more, until cancelled."""
        while True:
            await trio.sleep(TICK_S)
            since_s = self._now_s() - IDLE_S
            self._held = {batch: held for batch, held in self._held.items() if held.used_s > since_s}
