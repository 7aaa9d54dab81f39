"""A mount's answers to what consumers ask beside pins.

Nothing here lets the trio loop wait for the state store or for long work: that is done on threads, and bounded.
"""

from __future__ import annotations

from dataclasses import dataclass

from readyfs.control.broken_request import BrokenRequest
from readyfs.control.latest_request import LatestRequest
from readyfs.control.peer import Peer
from readyfs.control.question_requests import ShownRequest, WatchRequest, WhyRequest
from readyfs.daemon.broken_answers import BrokenAnswers
from readyfs.daemon.catalog_watch import CatalogWatch
from readyfs.daemon.latest_answers import LatestAnswers
from readyfs.daemon.reasons import Reasons
from readyfs.errors import NotRunningError
from readyfs.life import Life, Phase


@dataclass(frozen=True, slots=True)
class PublicQuestions:
    """Handles the questions of `readyfs wait`, `why` and the like; called on the trio loop."""

    watch: CatalogWatch
    reasons: Reasons
    latest: LatestAnswers
    broken: BrokenAnswers
    life: Life

    async def answer_watch(self, request: WatchRequest, peer: Peer) -> dict[str, object]:
        """Wait for another catalog; `changed` says whether there is one, `waited` whether the caller may wait here."""
        self._refuse_unless_serving()
        fingerprint, waited = await self.watch.wait(peer.uid, request.fingerprint, request.timeout_s)
        return {"fingerprint": fingerprint, "changed": fingerprint != request.fingerprint, "waited": waited}

    async def answer_why(self, request: WhyRequest, peer: Peer) -> dict[str, object]:
        """Tell why something is ready or is not, as of the catalog whose fingerprint comes with it."""
        self._refuse_unless_serving()
        fingerprint = self.watch.seen
        return (await self.reasons.explain(request, peer)).describe() | {"fingerprint": fingerprint}

    async def answer_shown(self, request: ShownRequest, peer: Peer) -> dict[str, object]:
        """Tell what the catalog in force shows."""
        self._refuse_unless_serving()
        in_force, shown = await self.reasons.list_shown(request, peer)
        seen = self.watch.seen
        return {"fingerprint": seen, "is_seen": seen == in_force, "shown": shown}

    async def answer_latest(self, request: LatestRequest, peer: Peer) -> dict[str, object]:
        """Tell how far series have come."""
        self._refuse_unless_serving()
        return await self.latest.answer(request, peer)

    async def answer_broken(self, request: BrokenRequest, peer: Peer) -> dict[str, object]:
        """Tell which runs are known to be broken."""
        self._refuse_unless_serving()
        return await self.broken.answer(request, peer)

    def _refuse_unless_serving(self) -> None:
        if self.life.phase is not Phase.SERVING:
            raise NotRunningError(f"the mount is {self.life.phase.value}", "mount it again")
