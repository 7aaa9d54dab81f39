"""Turns on threads: how many questions that wait for a disk or a database run at once, in all and of one user.

A thread that hangs keeps its turn. So a store that hangs costs as many threads as there are turns, and no more; whoever
else asks waits no longer than its deadline.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar, cast

import trio

T = TypeVar("T")

MOST_USERS: Final = 1024
"""From how many users on those are forgotten of whom nothing runs."""


class Turns:
    """Runs calls on threads; used on the trio thread alone."""

    def __init__(self, in_all: int, of_one_user: int) -> None:
        self._in_all = trio.CapacityLimiter(in_all)
        self._of_one_user = of_one_user
        self._users: dict[int, trio.CapacityLimiter] = {}

    async def run(self, uid: int, call: Callable[[], T], deadline_s: float) -> T:
        """Return what a call returns on a thread; raise `trio.TooSlowError` if it has not by the deadline."""
        turn = _Turn(self._limiter(uid), self._in_all)
        with trio.fail_after(deadline_s):
            return await trio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=cast(trio.CapacityLimiter, turn))

    def _limiter(self, uid: int) -> trio.CapacityLimiter:
        if len(self._users) >= MOST_USERS:
            self._users = {key: one for key, one in self._users.items() if one.borrowed_tokens}
        return self._users.setdefault(uid, trio.CapacityLimiter(self._of_one_user))


class _Turn:
    """A limiter as `trio.to_thread.run_sync` takes it: both of one user and of all."""

    def __init__(self, user: trio.CapacityLimiter, in_all: trio.CapacityLimiter) -> None:
        self._user = user
        self._in_all = in_all

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        await self._user.acquire_on_behalf_of(borrower)
        try:
            await self._in_all.acquire_on_behalf_of(borrower)
        except BaseException:
            self._user.release_on_behalf_of(borrower)
            raise

    def release_on_behalf_of(self, borrower: object) -> None:
        self._in_all.release_on_behalf_of(borrower)
        self._user.release_on_behalf_of(borrower)
