"""The daemon's end of the public socket, at which every user of the mount may ask, and strangers knock.

One trio task per connection, as for the control socket. Here nobody is trusted: who the kernel would not let into the
mount is refused, and every user is bounded in connections, bytes and time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol

import structlog
import trio

from readyfs.control.allowance import ENTRY_BYTES, LIST_BYTES, RESERVE, SECOND_BYTES, Allowances
from readyfs.control.conversation import READ_TIMEOUT_S, Rules, converse, is_gone, refuse
from readyfs.control.listening import listen
from readyfs.control.messages import render_result
from readyfs.control.peer import Entrance, Peer, read_peer
from readyfs.control.public_dir import prepare_public_dir
from readyfs.control.public_protocol import MAX_REQUEST_BYTES, PublicRequest, parse_public_request
from readyfs.control.question_requests import WatchRequest, WhyRequest
from readyfs.errors import LimitError, NotPermittedError, UserError

CONVERSATION_S: Final = 60.0
"""How long one client may go on asking. An answer that takes longer, to a refresh for one, is still given."""
GONE_TICK_S: Final = 0.5
"""How often it is looked whether a client that waits is still there."""


_log = structlog.get_logger(__name__)


class PublicHandlers(Protocol):
    """What the daemon does for whoever asks; called on the trio thread."""

    def entries(self, request: PublicRequest) -> int:
        """Return how many entries the answer would list, 0 if it is no list; cheap."""

    async def answer(self, request: PublicRequest, peer: Peer) -> dict[str, object]:
        """Do what is asked and return the result; raise `UserError`."""


async def serve_public(
    path: Path,
    mountpoint: Path,
    entrance: Entrance,
    handlers: PublicHandlers,
    *,
    device: int | None = None,
    read_timeout_s: float = READ_TIMEOUT_S,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Listen on `path` until cancelled; started once clients can connect, and the socket is removed at the end.

    What is asked of a mount with another device number than `device` is refused, if that is known.
    Raises `MountPointError` if another daemon listens there, `UsageError` if the socket cannot be made.
    """
    server = _Server(entrance, handlers, device, read_timeout_s)
    prepare_public_dir(path.parent)
    with listen(path, mountpoint, 0o666, "--public-dir") as bound:
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(bound))
        async with listener, trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, server.serve_connection, [listener])
            task_status.started()


class _Server:
    """Answers connections; its one mutable thing is the account that it keeps of users (trio thread only)."""

    def __init__(self, entrance: Entrance, handlers: PublicHandlers, device: int | None, read_timeout_s: float) -> None:
        self._entrance = entrance
        self._handlers = handlers
        self._device = device
        self._read_timeout_s = read_timeout_s
        self._allowances = Allowances(trio.current_time)

    async def serve_connection(self, stream: trio.SocketStream) -> None:
        try:
            await self._serve(stream, read_peer(stream.socket))
        except Exception:  # noqa: BLE001 - one client's trouble must not end the others' nursery
            _log.exception("public connection failed")

    async def _serve(self, stream: trio.SocketStream, peer: Peer) -> None:
        try:
            with self._allowances.connection(peer.uid):
                if self._entrance.admits(peer):
                    await converse(stream, self._rules(stream, peer))
                else:
                    await refuse(stream, _stranger(), self._read_timeout_s)
        except LimitError as error:
            await refuse(stream, error, self._read_timeout_s)

    def _rules(self, stream: trio.SocketStream, peer: Peer) -> Rules[PublicRequest]:
        ends_s = trio.current_time() + CONVERSATION_S

        def parse(line: bytes) -> PublicRequest:
            if trio.current_time() > ends_s:
                raise LimitError("this connection has been open for too long", "open another")
            self._allowances.spend(peer.uid, len(line))
            request = parse_public_request(line, self._device)
            listed = min(ENTRY_BYTES * self._handlers.entries(request), LIST_BYTES)
            if request.cost_bytes or listed:
                self._allowances.spend(peer.uid, request.cost_bytes + listed, RESERVE)
            return request

        async def answer(request: PublicRequest) -> bytes:
            if isinstance(request, WatchRequest):
                return render_result(await self._answer_while_there(stream, request, peer))
            begun_s = trio.current_time()
            try:
                return render_result(await self._handlers.answer(request, peer))
            finally:
                if isinstance(request, WhyRequest):
                    self._allowances.charge(peer.uid, round((trio.current_time() - begun_s) * SECOND_BYTES))

        return Rules(parse, answer, MAX_REQUEST_BYTES, self._read_timeout_s)

    async def _answer_while_there(
        self, stream: trio.SocketStream, request: PublicRequest, peer: Peer
    ) -> dict[str, object]:
        """Answer what takes long; whoever hangs up meanwhile has its connection back soon."""
        result: dict[str, object] | UserError = {}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when_gone, stream, nursery.cancel_scope)
            try:
                result = await self._handlers.answer(request, peer)
            except UserError as error:
                result = error
            nursery.cancel_scope.cancel()
        if isinstance(result, UserError):
            raise result
        return result


async def _cancel_when_gone(stream: trio.SocketStream, scope: trio.CancelScope) -> None:
    while True:
        if is_gone(stream):
            scope.cancel()
        await trio.sleep(GONE_TICK_S)


def _stranger() -> UserError:
    return NotPermittedError("you may not enter this mount", "ask its operator (root, or who mounted) for access")
