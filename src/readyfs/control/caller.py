"""The asking end of a socket of ours: plain blocking calls with one time limit each, a connection for each call."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from readyfs.control.messages import MAX_REPLY_BYTES, MalformedMessageError, parse_reply
from readyfs.duration import render_duration
from readyfs.errors import NoAnswerError, NotRunningError

_QUEUE_S: Final = 0.02


class NobodyListensError(NotRunningError):
    """There is no socket, or nobody behind it: from here one cannot tell why."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Asks the daemon behind one socket.

    `shown` is the mount as messages speak of it. `if_denied` is the remedy where the socket may not be used, `who`
    names the daemon that does not answer, and `if_silent` says what to do about it.
    """

    path: Path
    shown: str
    connect_timeout_s: float
    if_denied: str
    if_silent: str
    who: Callable[[], str] = lambda: "the daemon"

    def ask(self, line: bytes, timeout_s: float) -> dict[str, object]:
        """Send one request and return its result.

        Raises `NobodyListensError` if nobody listens, `NotRunningError` if the socket may not be used, `NoAnswerError`
        if no answer came in time, and the daemon's own `UserError` if it refused.
        """
        deadline = time.monotonic() + timeout_s
        with self.connect(min(timeout_s, self.connect_timeout_s)) as connection:
            try:
                connection.sendall(line)
            except (BrokenPipeError, ConnectionResetError):
                pass  # It may have said why before it hung up.
            except (TimeoutError, BlockingIOError) as error:
                raise self._no_answer(f"did not answer within {render_duration(timeout_s)}") from error
            try:
                return parse_reply(_receive_line(connection, deadline))
            except (TimeoutError, BlockingIOError) as error:
                raise self._no_answer(f"did not answer within {render_duration(timeout_s)}") from error
            except (OSError, EOFError) as error:
                raise self._no_answer("hung up without an answer") from error
            except MalformedMessageError as error:
                raise self._no_answer(f"gave no answer that can be read ({error})") from error

    def connect(self, timeout_s: float) -> socket.socket:
        """Return a connection; raises as `ask` does."""
        deadline = time.monotonic() + timeout_s
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        connection.settimeout(timeout_s)
        try:
            while not self._has_connected(connection):
                if time.monotonic() > deadline:
                    raise self._no_answer("does not take connections")
                time.sleep(_QUEUE_S)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            connection.close()
            raise NobodyListensError(
                f"no readyfs daemon serves {self.shown}", "start one with `readyfs mount`"
            ) from error
        except PermissionError as error:
            connection.close()
            raise NotRunningError(
                f"may not ask the daemon of {self.shown}: {error.strerror}", self.if_denied
            ) from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _has_connected(self, connection: socket.socket) -> bool:
        try:
            connection.connect(str(self.path))
        except BlockingIOError:
            return False  # Its queue is full: nobody is told when it is not (connect(2)).
        return True

    def _no_answer(self, what: str) -> NoAnswerError:
        return NoAnswerError(f"{self.who()} of {self.shown} {what}", self.if_silent)


def _receive_line(connection: socket.socket, deadline: float) -> bytes:
    buffer = bytearray()
    while not buffer.endswith(b"\n"):
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0:
            raise TimeoutError
        connection.settimeout(remaining_s)
        received = connection.recv(65536)
        if not received:
            raise EOFError
        buffer += received
        if len(buffer) > MAX_REPLY_BYTES:
            raise MalformedMessageError("the reply is too long")
    return bytes(buffer)
