"""A mount's answers to clients over the control socket: its status, a refresh, a stop."""

from __future__ import annotations

from dataclasses import dataclass

import structlog
import trio

from readyfs.daemon.status import StatusReporter
from readyfs.errors import NotRunningError, RefreshFailedError
from readyfs.life import Life, Phase
from readyfs.refresh.refresher import Outcome, Refresher

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

    async def refresh(self, wait: bool, accept: str | None) -> dict[str, object]:
        """Answer a client's refresh request, which waits if it accepts a fingerprint.

        Raises `RefreshFailedError` if it ended in an outage, if what was read is held back or is not what was to be
        accepted, `NotRunningError` if the mount is on its way out.
        """
        if self.life.phase is not Phase.SERVING:
            raise NotRunningError(
                f"the mount is {self.life.phase.value}: no path follows the state any more",
                "wait for its end with `readyfs umount`, then mount again",
            )
        if not wait and accept is None:
            self.refresher.trigger()
            return {"waited": False}
        outcome = await self.refresher.refresh(accept)
        if outcome.error is not None:
            raise RefreshFailedError(f"the state cannot be read: {outcome.error}", self._what_is_served())
        self._refuse_held_back(outcome, accept)
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

    def _refuse_held_back(self, outcome: Outcome, accept: str | None) -> None:
        held, guard = outcome.held_back, self.refresher.guard
        if accept is not None and outcome.fingerprint != accept:
            remedy = "it is shown: there was nothing to accept" if held is None else ""
            message = f"nothing is accepted: the state has the fingerprint {outcome.fingerprint} now"
        elif held is not None:
            message, remedy = "the state is held back", ""
        else:
            return
        if held is not None and guard is not None:
            message = f"{message}: {held.cause}"
            remedy = f"if that is right: {guard.accept_command(held.fingerprint)}; {self._what_is_served()}"
        raise RefreshFailedError(message, remedy)

    def _what_is_served(self) -> str:
        if self.status_reporter.freshness.stale:
            return "walks from the mount root fail with EIO: the last good catalog is older than --max-staleness allows"
        return "the last good catalog is still served"

    def stop(self) -> None:
        """Begin to stop, as a client asked."""
        log.info("stopping", reason="readyfs umount")
        self.stop_asked.set()
