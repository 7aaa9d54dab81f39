"""The end of leases: noticed in time, logged, and told to the kernel.

Looked at every second, because the clock of ages goes on while the machine sleeps and no timer does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog
import trio

from readyfs.daemon.kept_catalogs import KeptCatalogs
from readyfs.daemon.pinned_memory import PinnedMemory
from readyfs.pins.registry import Registry
from readyfs.vfs.invalidation import Invalidation

log = structlog.get_logger("readyfs.daemon")

TICK_S: Final = 1.0


class NotificationsPort(Protocol):
    """What is needed of the notifications to the kernel."""

    async def invalidate_ended(self, plan: Iterable[Invalidation]) -> None:
        """Send all notifications of a view's end in order; return when the last has returned."""
        ...


@dataclass(slots=True)
class Leases:
    """The task that ends leases and views.

    `trim` has the history let go of what nobody keeps any more, and `shed` has found views do so for want of memory.
    `plan_expiry` says what the kernel must ask for again when a view has expired, or is gone.
    """

    registry: Registry
    kept: KeptCatalogs
    memory: PinnedMemory
    trim: Callable[[], None]
    plan_expiry: Callable[[str], Iterator[Invalidation]]
    notifications: NotificationsPort
    shed: Callable[[], None] = lambda: None
    tick_s: float = TICK_S
    is_written: bool = True
    _limiter: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(1))

    async def run(self) -> None:
        """End what is due until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_settled)
            while True:
                await self._advance()
                await trio.sleep(self.tick_s)

    async def _advance(self) -> None:
        if self.registry.clock.adjust():
            log.info("the wall clock was set, leases last as long as before")
            self.registry.expect_save()
        for pin in self.registry.advance():
            log.warning(
                "the lease of a pin has ended",
                name=pin.name,
                fingerprint=pin.fingerprint,
                user=pin.owner,
                note=pin.note,
            )
            self.trim()
        for fingerprint in self.kept.advance():
            await self.notifications.invalidate_ended(self.plan_expiry(fingerprint))

    async def _keep_settled(self) -> None:
        """Write and measure what changed: beside the rest, so that no disk that hangs keeps a view from its end."""
        while True:
            if not self.registry.is_saved or self.memory.is_due(self.registry.held()):
                await trio.to_thread.run_sync(self._settle, limiter=self._limiter, abandon_on_cancel=True)
            await trio.sleep(self.tick_s)

    def _settle(self) -> None:
        self.memory.measure(self.registry.held())
        self.shed()
        try:
            self.registry.save()
        except OSError as error:
            if self.is_written:
                log.warning("pins cannot be written", error=error.strerror)
            self.is_written = False
        else:
            self.is_written = True
