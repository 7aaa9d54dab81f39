"""What we tell the service manager: sd_notify(3) messages over the `sdnotify` library.

Used by the daemon alone. Without `NOTIFY_SOCKET` in the environment every call does nothing. A message that the
manager does not take at once is dropped rather than waited for: these calls come from the serving loop.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

import sdnotify

from readyfs.text import escape_text


class ServiceManager:
    """One connection to the service manager, or none.

    Every method may be called from any thread: each sends one datagram.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._watchdog_s = _parse_watchdog(environ)
        self._connection: sdnotify.SystemdNotifier | None = None
        # The library takes the address from the process's environment and leaks a socket when there is none.
        if environ.get("NOTIFY_SOCKET"):
            self._connection = sdnotify.SystemdNotifier()
            if self._connection.socket is not None:
                self._connection.socket.setblocking(False)

    def ready(self, text: str = "serving") -> None:
        """Report that the service is up (or that a reload is over), with a status line."""
        self._send("READY=1", f"STATUS={_ascii(text)}")

    def status(self, text: str) -> None:
        """Set the status line that `systemctl status` shows."""
        self._send(f"STATUS={_ascii(text)}")

    def reloading(self) -> None:
        """Report that a reload began; `ready` ends it. The clock is CLOCK_MONOTONIC, as Type=notify-reload asks."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, text: str = "stopping") -> None:
        """Report that the service is going down."""
        self._send("STOPPING=1", f"STATUS={_ascii(text)}")

    def watchdog(self) -> None:
        """Feed the watchdog once."""
        self._send("WATCHDOG=1")

    def watchdog_interval_s(self) -> float | None:
        """Return how often to feed the watchdog, in seconds, or None if nobody watches.

        Half of `WatchdogSec`, as sd_watchdog_enabled(3) advises.
        """
        return self._watchdog_s

    def close(self) -> None:
        """Close the connection; later calls do nothing."""
        connection, self._connection = self._connection, None
        if connection is not None and connection.socket is not None:
            connection.socket.close()

    def _send(self, *lines: str) -> None:
        if self._connection is not None:
            self._connection.notify("\n".join(lines))


def _ascii(text: str) -> str:
    # The library encodes as Latin-1 and drops silently what does not fit; a newline would begin another field.
    return escape_text(text).encode("ascii", "backslashreplace").decode("ascii")


def _parse_watchdog(environ: Mapping[str, str]) -> float | None:
    pid = environ.get("WATCHDOG_PID", "")
    if pid and pid != str(os.getpid()):
        return None
    usec = environ.get("WATCHDOG_USEC", "")
    if not (usec.isascii() and usec.isdigit() and int(usec) > 0):
        return None
    return int(usec) / 2_000_000
