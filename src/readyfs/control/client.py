"""The command line's end of the control socket: plain blocking calls with one time limit each."""

from __future__ import annotations

import socket
import struct
import time
from pathlib import Path
from typing import Final

from readyfs.control.protocol import MAX_REPLY_BYTES, ControlRequest, MalformedMessageError, parse_reply, render_request
from readyfs.control.runtime_dir import check_runtime_dir, read_registration
from readyfs.duration import render_duration
from readyfs.errors import NoAnswerError, NotRunningError
from readyfs.text import escape_text

ANSWER_TIMEOUT_S: Final = 5.0
"""How long a daemon may take over what it answers from memory."""

_PEER_CREDENTIALS: Final = struct.Struct("iII")


class NobodyListensError(NotRunningError):
    """There is no socket, or nobody behind it: from here one cannot tell why."""


class ControlClient:
    """Asks the daemon behind one socket; every call is a connection of its own.

    A call takes at most `timeout_s`, and unless it waits for a refresh at most `ANSWER_TIMEOUT_S`. What was asked of a
    daemon that did not answer in time is withdrawn: it sees that its client is gone, and does nothing.

    Each raises `NobodyListensError` if nobody listens, `NoAnswerError` if no answer came in time, and the daemon's own
    `UserError` if it refused.
    """

    def __init__(self, path: Path, timeout_s: float = 2.0, mountpoint: Path | None = None) -> None:
        self.path = path
        self._timeout_s = min(timeout_s, ANSWER_TIMEOUT_S)
        self._wait_s = timeout_s
        # What messages speak of: people know their mount points, not our sockets.
        self._shown = escape_text(str(path if mountpoint is None else mountpoint))

    def status(self) -> dict[str, object]:
        """Return the daemon's status."""
        return self._ask(ControlRequest("status"))

    def refresh(self, wait: bool, accept: str | None = None) -> dict[str, object]:
        """Have the daemon read the state; with `wait` return when the last kernel notification has.

        With the fingerprint `accept`, wait too, and have the state put into force if it has that one.
        """
        if not wait and accept is None:
            return self._ask(ControlRequest("refresh"))
        self.status()  # a daemon that is stopped or stuck is not waited for
        return self._ask(ControlRequest("refresh", wait=True, accept=accept), self._wait_s)

    def stop(self) -> dict[str, object]:
        """Have the daemon stop; return as soon as it has taken note."""
        return self._ask(ControlRequest("stop"))

    def peer_pid(self) -> int:
        """Return the process id of whoever listens, as the kernel knows it, or 0 if it is in another PID namespace."""
        with self._connect() as connection:
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
        return int(_PEER_CREDENTIALS.unpack(credentials)[0])

    def _ask(self, request: ControlRequest, timeout_s: float | None = None) -> dict[str, object]:
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        deadline = time.monotonic() + timeout_s
        with self._connect() as connection:
            try:
                connection.sendall(render_request(request))
                return parse_reply(_receive_line(connection, deadline))
            except (TimeoutError, BlockingIOError) as error:
                raise self._no_answer(f"did not answer within {render_duration(timeout_s)}") from error
            except (OSError, EOFError) as error:
                raise self._no_answer("hung up without an answer") from error
            except MalformedMessageError as error:
                raise self._no_answer(f"gave no answer that can be read ({error})") from error

    def _connect(self) -> socket.socket:
        check_runtime_dir(self.path.parent)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        connection.settimeout(self._timeout_s)
        try:
            connection.connect(str(self.path))
        except (FileNotFoundError, ConnectionRefusedError) as error:
            connection.close()
            raise NobodyListensError(
                f"no readyfs daemon serves {self._shown}", "start one with `readyfs mount`"
            ) from error
        except (TimeoutError, BlockingIOError) as error:
            connection.close()
            raise self._no_answer("does not take connections") from error
        except PermissionError as error:
            connection.close()
            raise NotRunningError(
                f"may not ask the daemon of {self._shown}: {error.strerror}",
                "run the command as the user who mounted",
            ) from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _no_answer(self, what: str) -> NoAnswerError:
        registration = read_registration(self.path)
        who = f"the daemon (pid {registration.pid})" if registration is not None else "the daemon"
        return NoAnswerError(
            f"{who} of {self._shown} {what}",
            "see its log; kill -CONT it if it is stopped, or kill -9 it and run `readyfs umount`",
        )


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
