"""Feeding the service manager's watchdog, for as long as the daemon makes progress.

It is fed from the serving loop (so the loop turns), after the engine answered a catalog-only request (so requests
are served), and only while no notification is stuck. A hung state or raw store stops none of these.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import structlog
import trio

from readyfs.daemon.service_manager import ServiceManager
from readyfs.fuse.notifications import Notifications

log = structlog.get_logger("readyfs.watchdog")

NOTIFICATION_STUCK_S: Final = 60.0


async def feed_watchdog(service_manager: ServiceManager, mountpoint: Path, notifications: Notifications) -> None:
    """Feed until cancelled; return at once if nobody watches."""
    interval_s = service_manager.watchdog_interval_s()
    if interval_s is None:
        return
    while True:
        if notifications.stuck_s() > NOTIFICATION_STUCK_S:
            log.error("a kernel notification is stuck", seconds=round(notifications.stuck_s(), 1))
        elif await _is_served(mountpoint, interval_s / 2):
            service_manager.watchdog()
        else:
            log.error("the mount does not answer", mountpoint=str(mountpoint))
        await trio.sleep(interval_s)


async def _is_served(mountpoint: Path, patience_s: float) -> bool:
    """Ask our own mount for its STATFS, which no kernel cache answers and no store is needed for."""
    with trio.move_on_after(patience_s):
        try:
            await trio.to_thread.run_sync(os.statvfs, mountpoint, abandon_on_cancel=True)
        except OSError as error:
            log.error("asking the mount failed", error=error.strerror)
            return False
        return True
    return False
