"""The command line's end of the control socket."""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from typing import Final

from readyfs.control.caller import Caller
from readyfs.control.protocol import ControlRequest, render_request
from readyfs.control.runtime_dir import check_runtime_dir, read_registration
from readyfs.text import escape_text

ANSWER_TIMEOUT_S: Final = 5.0
"""How long a daemon may take over what it answers from memory."""

_PEER_CREDENTIALS: Final = struct.Struct("iII")


class ControlClient:
    """Asks the daemon behind one socket; every call is a connection of its own.

    A call takes at most `timeout_s`, and unless it waits for a refresh at most `ANSWER_TIMEOUT_S`. What was asked of a
    daemon that did not answer in time is withdrawn: it sees that its client is gone, and does nothing.

    Each raises as `Caller.ask` does.
    """

    def __init__(self, path: Path, timeout_s: float = 2.0, mountpoint: Path | None = None) -> None:
        self.path = path
        self._timeout_s = min(timeout_s, ANSWER_TIMEOUT_S)
        self._wait_s = timeout_s
        self._caller = Caller(
            path,
            # What messages speak of: people know their mount points, not our sockets.
            escape_text(str(path if mountpoint is None else mountpoint)),
            self._timeout_s,
            "run the command as the user who mounted",
            "see its log; kill -CONT it if it is stopped, or kill -9 it and run `readyfs umount`",
            self._who,
        )

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
        check_runtime_dir(self.path.parent)
        with self._caller.connect(self._timeout_s) as connection:
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
        return int(_PEER_CREDENTIALS.unpack(credentials)[0])

    def _ask(self, request: ControlRequest, timeout_s: float | None = None) -> dict[str, object]:
        check_runtime_dir(self.path.parent)
        return self._caller.ask(render_request(request), self._timeout_s if timeout_s is None else timeout_s)

    def _who(self) -> str:
        registration = read_registration(self.path)
        return f"the daemon (pid {registration.pid})" if registration is not None else "the daemon"
