"""The daemon's end of the control socket.

One trio task per connection, beside and independent of the mount: it answers while the mount, the raw store or the
state store hangs. A client can be slow, wrong or gone; no such thing reaches the nursery that serves the others.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

import structlog
import trio

from readyfs.control.protocol import (
    MAX_REQUEST_BYTES,
    ControlRequest,
    MalformedMessageError,
    parse_request,
    render_error,
    render_result,
)
from readyfs.control.runtime_dir import (
    Registration,
    is_listening,
    lock_runtime_dir,
    prepare_runtime_dir,
    registration_file,
    write_registration,
)
from readyfs.errors import ExitCode, MountPointError, UsageError, UserError
from readyfs.text import escape_text

READ_TIMEOUT_S: Final = 5.0
"""How long a client may take over one request line, and over taking a reply."""

MAX_CONNECTIONS: Final = 64

_log = structlog.get_logger(__name__)


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
    read_timeout_s: float = READ_TIMEOUT_S,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Listen on `path` until cancelled; started once clients can connect, and the socket is removed at the end.

    The `mountpoint` of the handlers' status is what the socket is registered for.
    Raises `MountPointError` if another daemon listens there, `UsageError` if the socket cannot be made.
    """
    server = _Server(handlers, read_timeout_s)
    registration = Registration(Path(str(handlers.status()["mountpoint"])), os.getpid(), path)
    with _bind(registration) as bound:
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(bound))
        async with listener, trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, server.serve_connection, [listener])
            task_status.started()


class _Server:
    """Answers connections; its one mutable thing is the count of those in progress (trio thread only)."""

    def __init__(self, handlers: ControlHandlers, read_timeout_s: float) -> None:
        self._handlers = handlers
        self._read_timeout_s = read_timeout_s
        self._limiter = trio.CapacityLimiter(MAX_CONNECTIONS)

    async def serve_connection(self, stream: trio.SocketStream) -> None:
        try:
            self._limiter.acquire_nowait()
        except trio.WouldBlock:
            await self._reply(stream, _refusal("too many clients at once", "try again"))
            return
        try:
            await self._serve_requests(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            _log.debug("control client went away")
        except Exception:  # noqa: BLE001 - one client's trouble must not end the others' nursery
            _log.exception("control connection failed")
        finally:
            self._limiter.release()

    async def _serve_requests(self, stream: trio.SocketStream) -> None:
        buffer = bytearray()
        while True:
            try:
                with trio.fail_after(self._read_timeout_s):
                    line = await _receive_line(stream, buffer)
                if line is None:
                    return
                request = parse_request(line)
            except trio.TooSlowError:
                if buffer:
                    await self._reply(stream, _refusal("the request did not come in time", "send it as one line"))
                return
            except MalformedMessageError as error:
                await self._reply(stream, _refusal(f"malformed request: {error}", "send one JSON object a line"))
                return
            if _is_gone(stream):
                _log.info("a client gave up before it was answered, nothing is done", op=request.op)
                return
            reply = await self._answer(request)
            # A stop cancels this very task: the client still gets its reply.
            with trio.CancelScope(shield=request.op == "stop"):
                if not await self._reply(stream, reply):
                    return

    async def _answer(self, request: ControlRequest) -> bytes:
        try:
            match request.op:
                case "status":
                    return render_result(self._handlers.status())
                case "refresh":
                    return render_result(await self._handlers.refresh(request.wait, request.accept))
                case "stop":
                    self._handlers.stop()
                    return render_result({})
        except UserError as error:
            return render_error(error)
        except Exception as error:  # noqa: BLE001 - the client is told, the log has the traceback
            _log.exception("control request failed", op=request.op)
            return _refusal(f"internal error: {type(error).__name__}", "see the daemon's log", ExitCode.INTERNAL)

    async def _reply(self, stream: trio.SocketStream, line: bytes) -> bool:
        """Send one line; return whether the client took it in time."""
        with trio.move_on_after(self._read_timeout_s) as scope:
            await stream.send_all(line)
        return not scope.cancelled_caught


def _is_gone(stream: trio.SocketStream) -> bool:
    """Return whether the client closed its connection; one that will send no more, but waits, has not (unix(7))."""
    poller = select.poll()
    poller.register(stream.socket.fileno(), 0)
    return any(event & select.POLLHUP for _, event in poller.poll(0))


def _refusal(message: str, remedy: str, exit_code: ExitCode = ExitCode.USAGE) -> bytes:
    error = UserError(message, remedy)
    error.exit_code = exit_code
    return render_error(error)


async def _receive_line(stream: trio.SocketStream, buffer: bytearray) -> bytes | None:
    """Return the next line without its end, or None when the client hung up.

    Raises `MalformedMessageError` if it is too long.
    """
    while (end := buffer.find(b"\n")) < 0:
        if len(buffer) > MAX_REQUEST_BYTES:
            raise MalformedMessageError(f"longer than {MAX_REQUEST_BYTES} bytes")
        received = await stream.receive_some(8192)
        if not received:
            return None
        buffer += received
    line = bytes(buffer[:end])
    del buffer[: end + 1]
    return line


@contextmanager
def _bind(registration: Registration) -> Iterator[socket.socket]:
    """Listen at the registration's path and announce it; take both away at the end unless a successor stands there."""
    path = registration.socket
    prepare_runtime_dir(path.parent)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # On Linux bind(2) gives the file the mode of the unbound socket: no moment at which others may connect.
        os.fchmod(bound.fileno(), 0o600)
        with lock_runtime_dir(path.parent):
            if is_listening(path):
                raise MountPointError(
                    f"another readyfs daemon serves {escape_text(str(registration.mountpoint))}",
                    "end it first with `readyfs umount`",
                )
            path.unlink(missing_ok=True)
            bound.bind(str(path))
            bound.listen(MAX_CONNECTIONS)
            identity = _identify(path)
            write_registration(registration)
    except OSError as error:
        bound.close()
        raise UsageError(
            f"cannot make the control socket {escape_text(str(path))}: {error.strerror}",
            "choose another directory with --runtime-dir",
        ) from error
    except BaseException:
        bound.close()
        raise
    try:
        yield bound
    finally:
        bound.close()
        _remove(path, identity)


def _identify(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino


def _remove(path: Path, identity: tuple[int, int]) -> None:
    try:
        with lock_runtime_dir(path.parent):
            if _identify(path) == identity:
                registration_file(path).unlink(missing_ok=True)
                path.unlink()
    except FileNotFoundError:
        pass  # Somebody tidied up before us, perhaps with the whole directory.
    except OSError as error:
        _log.warning("control socket not removed", path=str(path), error=error.strerror)
