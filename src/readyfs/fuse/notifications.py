"""Telling the kernel which names and inodes to drop from its cache, on threads that serve no request.

A notification can wait for requests in flight in its directory, so it must never be sent by the one who has to
answer them. Refreshes, ends of views and damage have a thread each: names below a run can wait for a hanging raw store,
names above it cannot.
"""

from __future__ import annotations

import errno
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final, Protocol

import structlog
import trio

from readyfs.vfs.inode_number import InodeNumber
from readyfs.vfs.invalidation import Invalidation

log = structlog.get_logger("readyfs.fuse")

# The kernel does not hold the name or inode (any more): nothing to forget.
_HARMLESS = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ESTALE})
CLOSE_TIMEOUT_S: Final = 1.0
EXPIRE_ALL_FROM: Final = 1000
"""From so many changed names on, it is cheaper to have the kernel ask again for every name that it knows."""


class Notifier(Protocol):
    """The notifications of one FUSE connection; each blocks until the kernel took it and raises `OSError`."""

    def invalidate_entry(self, parent: InodeNumber, name: bytes) -> None:
        """FUSE_NOTIFY_INVAL_ENTRY of linux/fuse.h; a remembered absence counts as an entry."""
        ...

    def invalidate_inode(self, inode: InodeNumber, *, attributes_only: bool) -> None:
        """FUSE_NOTIFY_INVAL_INODE of linux/fuse.h; for a directory, cached pages are its listing."""
        ...

    def expire_names(self) -> bool:
        """Have every name asked for again (FUSE_NOTIFY_INC_EPOCH); return False where that cannot be had."""
        ...


class _Lane:
    """Plans that are sent one after another, each on a thread of its own."""

    def __init__(self) -> None:
        self.limiter = trio.CapacityLimiter(1)
        self.sending = threading.Lock()
        self.busy_since: float | None = None


class Notifications:
    """Sends what the kernel must drop from its cache of our tree."""

    def __init__(self, notifier: Notifier, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._notifier = notifier
        self._monotonic = monotonic
        self._refreshes, self._ends = _Lane(), _Lane()
        self._closed = False
        self._damage: queue.SimpleQueue[Invalidation | None] = queue.SimpleQueue()
        self._damage_thread = threading.Thread(target=self._invalidate_damaged, name="readyfs-damage", daemon=True)
        self._damage_thread.start()
        self._counting = threading.Lock()
        self.sent = 0
        self.failed = 0

    async def invalidate(self, plan: Iterable[Invalidation]) -> None:
        """Send all notifications of a refresh in order; return when the last one has returned."""
        await self._hand_over(plan, self._refreshes)

    async def invalidate_ended(self, plan: Iterable[Invalidation]) -> None:
        """Do so with those of a view's end, which no refresh waits for."""
        await self._hand_over(plan, self._ends)

    def invalidate_damaged(self, invalidation: Invalidation) -> None:
        """Queue the names of a run that was found damaged; returns at once, from any thread."""
        self._damage.put(invalidation)

    def stuck_s(self) -> float:
        """Return for how many seconds one notification of a refresh has been under way."""
        since = self._refreshes.busy_since
        return 0.0 if since is None else self._monotonic() - since

    def close(self) -> bool:
        """Send nothing more; return whether no notification is under way, so that the session may be freed."""
        self._closed = True
        self._damage.put(None)
        self._damage_thread.join(CLOSE_TIMEOUT_S)
        # Kept from now on: what a refresh still plans to send must not reach a session that is freed.
        lanes = (self._refreshes, self._ends)
        idle = [lane.sending.acquire(timeout=CLOSE_TIMEOUT_S) for lane in lanes]
        return all(idle) and not self._damage_thread.is_alive()

    async def _hand_over(self, plan: Iterable[Invalidation], lane: _Lane) -> None:
        await trio.to_thread.run_sync(self._send_all, plan, lane, limiter=lane.limiter, abandon_on_cancel=True)

    def _send_all(self, plan: Iterable[Invalidation], lane: _Lane) -> None:
        with lane.sending:
            try:
                names, expires = 0, False
                for invalidation in plan:
                    names += len(invalidation.names)
                    expires = expires or (names >= EXPIRE_ALL_FROM and self._expire_names())
                    for notification in self._notifications(invalidation, one_name=expires):
                        if self._closed:
                            return
                        lane.busy_since = self._monotonic()
                        self._send(notification)
                if expires:
                    # Once more: listings that were in flight have brought old names into the cache meanwhile, as new
                    # ones. Each directory was waited for by forgetting one of its names.
                    self._expire_names()
            finally:
                lane.busy_since = None

    def _invalidate_damaged(self) -> None:
        while (invalidation := self._damage.get()) is not None and not self._closed:
            for notification in self._notifications(invalidation):
                self._send(notification)

    def _expire_names(self) -> bool:
        """Have all names asked for again; return whether that was done."""
        if self._closed:
            return False
        try:
            expired = self._notifier.expire_names()
        except OSError as error:
            self._count(failed=True)
            log.warning("the kernel refused a notification", error=error.strerror, subject=["epoch"])
            return False
        if expired:
            self._count()
        return expired

    def _notifications(self, invalidation: Invalidation, *, one_name: bool = False) -> Iterator[partial[None]]:
        for inode in invalidation.touched:
            yield partial(self._notifier.invalidate_inode, inode, attributes_only=True)
        for name in invalidation.names[:1] if one_name else invalidation.names:
            yield partial(self._notifier.invalidate_entry, invalidation.directory, name)
        if invalidation.listing:
            yield partial(self._notifier.invalidate_inode, invalidation.directory, attributes_only=False)

    def _send(self, notification: partial[None]) -> None:
        # Whatever goes wrong, the others are sent; the name's timeout heals what a lost notification leaves.
        failed = False
        try:
            notification()
        except OSError as error:
            failed = error.errno not in _HARMLESS
            if failed:
                log.warning("the kernel refused a notification", error=error.strerror, subject=notification.args)
        except Exception:
            failed = True
            log.exception("a notification failed unexpectedly", subject=notification.args)
        self._count(failed=failed)

    def _count(self, *, failed: bool = False) -> None:
        with self._counting:  # refreshes and damage send on threads of their own
            self.sent += 1
            self.failed += failed
