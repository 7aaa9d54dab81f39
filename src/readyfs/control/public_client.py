"""The asking end of the public socket: found through the mount, and used by the command line and by Python programs.

It needs neither privileges nor the daemon's libraries.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from readyfs.control.caller import Caller
from readyfs.control.public_protocol import (
    PinRequest,
    PinsRequest,
    PublicRequest,
    RenewRequest,
    UnpinRequest,
    render_public_request,
)
from readyfs.errors import NotPermittedError, NotRunningError
from readyfs.text import escape_text

ANSWER_TIMEOUT_S: Final = 10.0
"""How long a daemon may take over an answer, which may have to wait for its disk."""

_LINK: Final = ".readyfs/socket"
_VIEWS: Final = ".readyfs/views"


class PublicClient:
    """Asks the daemon of one mount; every call is a connection of its own, and raises as `Caller.ask` does."""

    def __init__(self, mountpoint: Path, socket: Path | None = None) -> None:
        """Find the socket through the mount unless it is named; raise `NotRunningError`, `NotPermittedError`."""
        self.mountpoint = mountpoint
        shown = escape_text(os.fsencode(mountpoint))
        self._caller = Caller(
            _find_socket(mountpoint, shown) if socket is None else socket,
            shown,
            ANSWER_TIMEOUT_S,
            "bind the directory of its public socket here, and name the socket with --socket",
            "see its log; its operator can end it with `readyfs umount`",
        )

    def view(self, fingerprint: str) -> Path:
        """Return the path of a view."""
        return self.mountpoint / _VIEWS / fingerprint

    def pin(self, request: PinRequest, timeout_s: float = ANSWER_TIMEOUT_S) -> dict[str, object]:
        """Pin the catalog in force."""
        return self._ask(request, timeout_s)

    def renew(self, name: str, lease_s: float | None = None) -> dict[str, object]:
        """Renew a pin."""
        return self._ask(RenewRequest(name, lease_s))

    def unpin(self, name: str) -> dict[str, object]:
        """Remove a pin."""
        return self._ask(UnpinRequest(name))

    def pins(self, *, expired: bool = False) -> list[dict[str, object]]:
        """Return the pins, or what is left of those that ended."""
        found = self._ask(PinsRequest(expired)).get("pins")
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []

    def _ask(self, request: PublicRequest, timeout_s: float = ANSWER_TIMEOUT_S) -> dict[str, object]:
        return self._caller.ask(render_public_request(request), timeout_s)


def _find_socket(mountpoint: Path, shown: str) -> Path:
    try:
        return (mountpoint / _LINK).readlink()
    except PermissionError as error:
        raise NotPermittedError(
            f"you may not enter {shown}", "ask its operator (root, or who mounted) for access"
        ) from error
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            raise NotRunningError(
                f"the daemon of the mount at {shown} is gone", "have its operator mount it again"
            ) from error
        raise NotRunningError(
            f"{shown} is no readyfs mount: {error.strerror}", "name the mount point, or its socket with --socket"
        ) from error
