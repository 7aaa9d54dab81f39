"""The daemon's end of the control socket.

One trio task per connection, beside and independent of the mount: it answers while the mount, the raw store or the
state store hangs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Protocol

import trio

from readyfs.control.conversation import READ_TIMEOUT_S, Rules, converse, refuse
from readyfs.control.listening import BACKLOG, listen
from readyfs.control.messages import render_result
from readyfs.control.protocol import MAX_REQUEST_BYTES, ControlRequest, parse_request
from readyfs.control.runtime_dir import Registration, prepare_runtime_dir, registration_file, write_registration
from readyfs.errors import UsageError

MAX_CONNECTIONS: Final = BACKLOG


class ControlHandlers(Protocol):
    """What the daemon does for the control socket; called on the trio thread."""

    def status(self) -> dict[str, object]:
        """Return the status as plain JSON values, without blocking."""

    async def refresh(self, wait: bool, accept: str | None) -> dict[str, object]:
        """Start a refresh; with `wait` return when its last kernel notification has. Raises `UserError`.

        With the fingerprint `accept`, wait too, and put the state into force if it has that one.
        """

    def stop(self) -> None:
        """Begin to stop, without waiting."""


async def serve_control(
    path: Path,
    handlers: ControlHandlers,
    *,
    public: Path | None = None,
    read_timeout_s: float = READ_TIMEOUT_S,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Listen on `path` until cancelled; started once clients can connect, and the socket is removed at the end.

    The `mountpoint` of the handlers' status is what the socket is registered for, and `public` the daemon's other one.
    Raises `MountPointError` if another daemon listens there, `UsageError` if the socket cannot be made.
    """
    server = _Server(handlers, read_timeout_s)
    registration = Registration(Path(str(handlers.status()["mountpoint"])), os.getpid(), path, public)
    prepare_runtime_dir(path.parent)
    announced = registration_file(path)
    with listen(
        path,
        registration.mountpoint,
        0o600,
        "--runtime-dir",
        announce=lambda: write_registration(registration),
        renounce=lambda: announced.unlink(missing_ok=True),
    ) as bound:
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(bound))
        async with listener, trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, server.serve_connection, [listener])
            task_status.started()


class _Server:
    """Answers connections; its one mutable thing is the count of those in progress (trio thread only)."""

    def __init__(self, handlers: ControlHandlers, read_timeout_s: float) -> None:
        self._handlers = handlers
        self._rules = Rules(
            parse_request, self._answer, MAX_REQUEST_BYTES, read_timeout_s, lambda request: request.op == "stop"
        )
        self._limiter = trio.CapacityLimiter(MAX_CONNECTIONS)

    async def serve_connection(self, stream: trio.SocketStream) -> None:
        try:
            self._limiter.acquire_nowait()
        except trio.WouldBlock:
            await refuse(stream, UsageError("too many clients at once", "try again"))
            return
        try:
            await converse(stream, self._rules)
        finally:
            self._limiter.release()

    async def _answer(self, request: ControlRequest) -> bytes:
        match request.op:
            case "status":
                return render_result(self._handlers.status())
            case "refresh":
                return render_result(await self._handlers.refresh(request.wait, request.accept))
            case "stop":
                self._handlers.stop()
                return render_result({})
