"""Who asks the daemon to stop or to reload: signals from the first moment on, and clients once there is a mount.

Nothing is taken down here. A stop that was asked for is an event, which `daemon/mount.py` waits for.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import structlog
import trio

log = structlog.get_logger("readyfs.daemon")


@dataclass(slots=True)
class Wishes:
    """What signals and clients ask for; written on the trio loop. `reload` is None until there is a mount."""

    stop: trio.Event = field(default_factory=trio.Event)
    reload: Callable[[], Awaitable[None]] | None = None

    async def obey(self, signals: AsyncIterator[int]) -> None:
        """Turn signals into wishes until cancelled."""
        async with trio.open_nursery() as nursery:
            async for number in signals:
                if number != signal.SIGHUP:
                    log.info("stopping", reason=signal.Signals(number).name)
                    self.stop.set()
                elif self.reload is not None:
                    nursery.start_soon(self.reload)
