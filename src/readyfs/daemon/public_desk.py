"""Who in the daemon answers which request over the public socket."""

from __future__ import annotations

from dataclasses import dataclass

from readyfs.control.broken_request import BrokenRequest
from readyfs.control.change_requests import AckRequest, ChangesRequest
from readyfs.control.latest_request import LatestRequest
from readyfs.control.peer import Peer
from readyfs.control.pin_requests import PinRequest, PinsRequest, RenewRequest, UnpinRequest
from readyfs.control.public_protocol import PublicRequest
from readyfs.control.question_requests import ShownRequest, WatchRequest, WhyRequest
from readyfs.daemon.public_answers import PublicAnswers
from readyfs.daemon.public_changes import PublicChanges
from readyfs.daemon.public_questions import PublicQuestions


@dataclass(frozen=True, slots=True)
class PublicDesk:
    """Hands each request to whoever answers it."""

    pins: PublicAnswers
    questions: PublicQuestions
    changes: PublicChanges

    def entries(self, request: PublicRequest) -> int:
        """Return how many entries the answer would list."""
        return self.pins.entries(request) if isinstance(request, PinsRequest) else 0

    async def answer(self, request: PublicRequest, peer: Peer) -> dict[str, object]:
        """Answer a request; raise `UserError`."""
        match request:
            case PinRequest():
                return await self.pins.pin(request, peer)
            case RenewRequest():
                return await self.pins.renew(request, peer)
            case UnpinRequest():
                return await self.pins.unpin(request, peer)
            case PinsRequest():
                return await self.pins.pins(request)
            case WatchRequest():
                return await self.questions.answer_watch(request, peer)
            case WhyRequest():
                return await self.questions.answer_why(request, peer)
            case ShownRequest():
                return await self.questions.answer_shown(request, peer)
            case ChangesRequest():
                return await self.changes.changes(request, peer)
            case AckRequest():
                return await self.changes.acknowledge(request, peer)
            case LatestRequest():
                return await self.questions.answer_latest(request, peer)
            case BrokenRequest():
                return await self.questions.answer_broken(request, peer)
