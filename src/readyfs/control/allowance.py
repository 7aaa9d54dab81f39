"""What each user may have of the public socket: connections at once, and bytes over time.

A user who asks for too much is refused; the others do not notice. Used on the trio thread alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from readyfs.errors import LimitError

CONNECTIONS: Final = 16
"""How many connections one user may have at once."""
ALL_CONNECTIONS: Final = 128
"""How many all users together may have."""
BURST_BYTES: Final = 256 * 1024
"""How much one user may ask for at once. A connection counts as some bytes, and so does work that it asks for."""
BYTES_PER_S: Final = 16 * 1024
"""How much may follow each second."""
CONNECTION_BYTES: Final = 256
REFRESH_BYTES: Final = 32 * 1024
QUERY_BYTES: Final = 1024
"""Of a question for which the stores are asked: a dozen a second, after a hundred and fifty at once."""
SECOND_BYTES: Final = 4 * BYTES_PER_S
"""Of each second that an answer of a store took: so the store works a quarter of the time for one user at most."""
PAGE_BYTES: Final = 1024
"""Of a page of changes, whose making takes some hundredths of a second of a processor."""
ENTRY_BYTES: Final = 32
"""Of a list that is asked for, for each of its entries."""
LIST_BYTES: Final = 128 * 1024
"""The most that a list counts, so that everybody can have the longest one."""
RESERVE: Final = 64 * 1024
"""What refreshes and lists leave over, so that whoever asks for many can still renew a lease."""
_MOST_ACCOUNTS: Final = 1024
"""From how many users on those are forgotten who are owed nothing."""


@dataclass(slots=True)
class _Account:
    left: float
    at_s: float
    connections: int = 0


class Allowances:
    """Keeps account of every user; `now_s` is a clock that never goes back."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._accounts: dict[int, _Account] = {}
        self._connections = 0

    @contextmanager
    def connection(self, uid: int) -> Iterator[None]:
        """Have one connection of a user open while the context lasts; raise `LimitError` if it has too many."""
        account = self._account(uid)
        if account.connections >= CONNECTIONS or self._connections >= ALL_CONNECTIONS:
            raise LimitError("too many clients at once", "try again when some of them have ended")
        self.spend(uid, CONNECTION_BYTES)
        account.connections += 1
        self._connections += 1
        try:
            yield
        finally:
            account.connections -= 1
            self._connections -= 1

    def spend(self, uid: int, size: int, reserve: int = 0) -> None:
        """Count what a user sent or asked for; raise `LimitError` if less than the reserve would be left."""
        account = self._account(uid)
        if account.left < size + reserve:
            raise LimitError("too much was asked for at once", "wait some seconds and try again")
        account.left -= size

    def charge(self, uid: int, size: int) -> None:
        """Count what a user was given, of which nobody knew before how much it is; the reserve is left."""
        account = self._account(uid)
        account.left = max(account.left - size, min(account.left, RESERVE))

    def _account(self, uid: int) -> _Account:
        now_s = self._now_s()
        account = self._accounts.get(uid)
        if account is None:
            if len(self._accounts) >= _MOST_ACCOUNTS:
                self._forget_settled(now_s)
            account = self._accounts[uid] = _Account(BURST_BYTES, now_s)
        account.left = min(BURST_BYTES, account.left + (now_s - account.at_s) * BYTES_PER_S)
        account.at_s = now_s
        return account

    def _forget_settled(self, now_s: float) -> None:
        self._accounts = {
            uid: one
            for uid, one in self._accounts.items()
            if one.connections or one.left + (now_s - one.at_s) * BYTES_PER_S < BURST_BYTES
        }
