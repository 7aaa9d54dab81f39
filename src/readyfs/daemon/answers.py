"""A mount's answers to clients over the control socket: its status, a refresh, a stop."""

from __future__ import annotations

from dataclasses import dataclass

import structlog
import trio

from readyfs.daemon.status import StatusReporter
from readyfs.errors import NotRunningError, RefreshFailedError
from readyfs.life import Life, Phase
from readyfs.refresh.refresher import Refresher

log = structlog.get_logger("readyfs.daemon")


@dataclass(frozen=True, slots=True)
class Answers:
    """Handles the requests of `readyfs status`, `refresh` and `umount`; called on the trio loop."""

    status_reporter: StatusReporter
    refresher: Refresher
    life: Life
    stop_asked: trio.Event

    def status(self) -> dict[str, object]:
        """Answer a client's status request."""
        return self.status_reporter.document()

    async def refresh(self, wait: bool) -> dict[str, object]:
        """Answer a client's refresh request.

        Raises `RefreshFailedError` if it ended in an outage, `NotRunningError` if the mount is on its way out.
        """
        if self.life.phase is not Phase.SERVING:
            raise NotRunningError(
                f"the mount is {self.life.phase.value}: no path follows the state any more",
                "wait for its end with `readyfs umount`, then mount again",
            )
        if not wait:
            self.refresher.trigger()
            return {"waited": False}
        outcome = await self.refresher.refresh()
        if outcome.error is not None:
            stale = self.status_reporter.freshness.stale
            raise RefreshFailedError(
                f"the state cannot be read: {outcome.error}",
                "walks from the mount root fail with EIO: the last good catalog is older than --max-staleness allows"
                if stale
                else "the last good catalog is still served",
            )
        return {
            "waited": True,
            "changed": outcome.changed,
            "revision": self.status_reporter.filesystem.in_force.revision,
            "appeared": outcome.delta.appeared,
            "switched": outcome.delta.switched,
            "touched": outcome.delta.touched,
            "retracted": outcome.delta.retracted,
            "duration_ms": round(outcome.duration_ms, 3),
        }

    def stop(self) -> None:
        """Begin to stop, as a client asked."""
        log.info("stopping", reason="readyfs umount")
        self.stop_asked.set()
