"""Waiting for another catalog: whoever waits is woken when the kernel was told of it, so that names are seen then.

Used on the trio thread alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import trio

USER_WATCHES: Final = 8
"""How many requests of one user may wait at once; with the other half of its connections it can ask for more."""
ALL_WATCHES: Final = 64


class CatalogWatch:
    """Knows which catalog readers see; `in_force` returns the fingerprint of the catalog in force."""

    def __init__(self, in_force: Callable[[], str]) -> None:
        self._in_force = in_force
        self.seen = in_force()
        """The fingerprint of the catalog of which the kernel was told everything."""
        self._changed = trio.Event()
        self._waiting: Counter[int] = Counter()

    def announce(self) -> None:
        """Note that the kernel was told everything of the catalog in force."""
        if self._in_force() != self.seen:
            self.seen = self._in_force()
            self._changed.set()
            self._changed = trio.Event()

    async def wait(self, uid: int, fingerprint: str, timeout_s: float) -> tuple[str, bool]:
        """Return the fingerprint that is seen, when it is another than this one or after the time.

        Also return whether it was waited for: of one user, and of all together, only so many may wait at once.
        """
        with self._counted(uid) as may_wait, trio.move_on_after(timeout_s if may_wait else 0):
            # A caller can know a catalog before the kernel does: then the one that is seen is no news.
            while fingerprint in (self.seen, self._in_force()):
                await self._changed.wait()
        return self.seen, may_wait

    @contextmanager
    def _counted(self, uid: int) -> Iterator[bool]:
        may_wait = self._waiting[uid] < USER_WATCHES and self._waiting.total() < ALL_WATCHES
        self._waiting[uid] += may_wait
        try:
            yield may_wait
        finally:
            self._waiting[uid] -= may_wait
            if not self._waiting[uid]:
                del self._waiting[uid]
