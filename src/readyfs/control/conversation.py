"""A conversation over a socket: request lines are read, answered one after the other, and bounded in size and time.

Both servers hold theirs here. A client can be slow, wrong or gone; no such thing reaches the nursery that serves the
others.
"""

from __future__ import annotations

import select
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

import structlog
import trio

from readyfs.control.messages import MalformedMessageError, render_error, render_refusal
from readyfs.errors import ExitCode, UserError

READ_TIMEOUT_S: Final = 5.0
"""How long a client may take over one request line, and over taking a reply."""

_log = structlog.get_logger(__name__)


class Request(Protocol):
    """What was asked for, in one word."""

    @property
    def op(self) -> str:
        """The word."""
        ...


R = TypeVar("R", bound=Request)


@dataclass(frozen=True, slots=True)
class Rules(Generic[R]):
    """What a socket understands, and how much of it.

    `parse` turns a line into a request. It raises `MalformedMessageError`, or a `UserError` for a client that is told
    no more; both end the conversation. `answer` returns the reply's line; its `UserError` is told, and the next request
    may follow. `is_last_words` says of which request the reply is sent although the server itself is being ended.
    """

    parse: Callable[[bytes], R]
    answer: Callable[[R], Awaitable[bytes]]
    max_request_bytes: int
    read_timeout_s: float = READ_TIMEOUT_S
    is_last_words: Callable[[R], bool] = lambda _request: False


async def converse(stream: trio.SocketStream, rules: Rules[R]) -> None:
    """Answer requests until the client hangs up, is too slow, or sends what cannot be understood.

    Raises nothing but `trio.Cancelled`: what else happens concerns this client alone.
    """
    try:
        await _converse(stream, rules)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        _log.debug("client went away")
    except Exception:  # noqa: BLE001 - one client's trouble must not end the others' nursery
        _log.exception("control connection failed")


async def refuse(stream: trio.SocketStream, error: UserError, read_timeout_s: float = READ_TIMEOUT_S) -> None:
    """Tell a client why it is not served; raises nothing but `trio.Cancelled`."""
    try:
        await _send(stream, render_error(error), read_timeout_s)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        _log.debug("client went away")


async def _converse(stream: trio.SocketStream, rules: Rules[R]) -> None:
    buffer = bytearray()
    while True:
        try:
            with trio.fail_after(rules.read_timeout_s):
                line = await _receive_line(stream, buffer, rules.max_request_bytes)
            if line is None:
                return
            request = rules.parse(line)
        except trio.TooSlowError:
            if buffer:
                refusal = render_refusal("the request did not come in time", "send it as one line")
                await _send(stream, refusal, rules.read_timeout_s)
            return
        except MalformedMessageError as error:
            refusal = render_refusal(f"malformed request: {error}", "send one JSON object a line")
            await _send(stream, refusal, rules.read_timeout_s)
            return
        except UserError as error:
            await _send(stream, render_error(error), rules.read_timeout_s)
            return
        if is_gone(stream):
            _log.info("a client gave up before it was answered, nothing is done", op=request.op)
            return
        reply = await _answer(request, rules)
        # A stop cancels this very task: the client still gets its reply.
        with trio.CancelScope(shield=rules.is_last_words(request)):
            if not await _send(stream, reply, rules.read_timeout_s):
                return


async def _answer(request: R, rules: Rules[R]) -> bytes:
    try:
        return await rules.answer(request)
    except UserError as error:
        return render_error(error)
    except Exception as error:  # noqa: BLE001 - the client is told, the log has the traceback
        _log.exception("control request failed", op=request.op)
        return render_refusal(f"internal error: {type(error).__name__}", "see the daemon's log", ExitCode.INTERNAL)


async def _send(stream: trio.SocketStream, line: bytes, timeout_s: float) -> bool:
    """Send one line; return whether the client took it in time."""
    with trio.move_on_after(timeout_s) as scope:
        await stream.send_all(line)
    return not scope.cancelled_caught


def is_gone(stream: trio.SocketStream) -> bool:
    """Return whether the client closed its connection; one that will send no more, but waits, has not (unix(7))."""
    poller = select.poll()
    poller.register(stream.socket.fileno(), 0)
    return any(event & select.POLLHUP for _, event in poller.poll(0))


async def _receive_line(stream: trio.SocketStream, buffer: bytearray, limit: int) -> bytes | None:
    """Return the next line without its end, or None when the client hung up.

    Raises `MalformedMessageError` if it is too long.
    """
    while (end := buffer.find(b"\n")) < 0:
        if len(buffer) > limit:
            raise MalformedMessageError(f"longer than {limit} bytes")
        received = await stream.receive_some(8192)
        if not received:
            return None
        buffer += received
    line = bytes(buffer[:end])
    del buffer[: end + 1]
    return line
