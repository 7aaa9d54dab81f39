"""The asking end of the public socket: found through the mount, and used by the command line and by Python programs.

It needs neither privileges nor the daemon's libraries.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from readyfs.control.broken_request import BrokenRequest
from readyfs.control.caller import Caller, NobodyListensError
from readyfs.control.change_requests import AckRequest, ChangesRequest
from readyfs.control.latest_request import LatestRequest
from readyfs.control.pin_requests import PinRequest, PinsRequest, RenewRequest, UnpinRequest
from readyfs.control.public_protocol import MAX_REQUEST_BYTES, OTHER_MOUNT, PublicRequest, render_public_request
from readyfs.control.question_requests import ShownRequest, WatchRequest, WhyRequest
from readyfs.errors import LimitError, NotPermittedError, NotRunningError, UserError
from readyfs.text import escape_text

ANSWER_TIMEOUT_S: Final = 10.0
"""How long a daemon may take over an answer, which may have to wait for its disk."""
CHANGES_TIMEOUT_S: Final = 90.0
"""The same of a page of changes, for which catalogs may have to be read from the disk."""

WAIT_S: Final = 1.0
MOST_WAITS: Final = 120
"""How long, and how often, a list that goes on waits for its turn."""

_DEVICE_BYTES: Final = 64
"""More than a request takes to say for which mount it is."""

_LINK: Final = ".readyfs/socket"
_VIEWS: Final = ".readyfs/views"


class PublicClient:
    """Asks the daemon of one mount; every call is a connection of its own, and raises as `Caller.ask` does.

    That of another mount does nothing: `NotRunningError`.
    """

    def __init__(self, mountpoint: Path, socket: Path | None = None) -> None:
        """Find the socket through the mount unless it is named; raise `NotRunningError`, `NotPermittedError`."""
        self.mountpoint = mountpoint
        self._shown = escape_text(os.fsencode(mountpoint))
        self._socket = _find_socket(mountpoint, self._shown) if socket is None else socket
        self._socket_shown = escape_text(os.fsencode(self._socket))
        self._caller = Caller(
            self._socket,
            self._shown,
            ANSWER_TIMEOUT_S,
            f"have the directories above its public socket {self._socket_shown} opened, so that all may enter them",
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

    def watch(self, fingerprint: str, timeout_s: float) -> dict[str, object]:
        """Return when the catalog in force is another than this one, or when the time is up, which is bounded."""
        return self._ask(WatchRequest(fingerprint, timeout_s), ANSWER_TIMEOUT_S + timeout_s)

    def why(self, asked: str, source: str | None = None, *, in_turn: bool = False) -> dict[str, object]:
        """Return why a path or a key is ready or is not; `in_turn`, wait where the rate of the user is reached."""
        ask = self._ask_in_turn if in_turn else self._ask
        return ask(WhyRequest(asked, str(self.mountpoint), source))

    def shown(self, asked: Sequence[str], source: str | None = None) -> tuple[str, list[object] | None]:
        """Return the fingerprint that the kernel knows, and what the catalog shows at each path or key.

        None in place of that if it is not all of the catalog that the kernel knows. Whoever asks for so many that the
        rate of a user is reached waits for its turn.
        """
        request = ShownRequest((), str(self.mountpoint), source)
        room = MAX_REQUEST_BYTES - len(render_public_request(request)) - _DEVICE_BYTES
        fingerprints: set[str] = set()
        found: list[object] = []
        is_seen = True
        for part in _parts(asked, room):
            answer = self._ask_in_turn(replace(request, asked=part))
            shown = answer["shown"]
            assert isinstance(shown, list)
            found += shown
            fingerprints.add(str(answer["fingerprint"]))
            is_seen = is_seen and answer["is_seen"] is True
        return min(fingerprints, default=""), found if is_seen and len(fingerprints) == 1 else None

    def changes(self, request: ChangesRequest, *, in_turn: bool = False) -> dict[str, object]:
        """Return a page of what changed: `since`, `until`, `changes` as JSON lines, and `after` if there is more.

        `in_turn`, wait where the rate of the user is reached.
        """
        ask = self._ask_in_turn if in_turn else self._ask
        return ask(request, CHANGES_TIMEOUT_S)

    def acknowledge(self, consumer: str, cursor: str, lease_s: float | None = None) -> dict[str, object]:
        """Acknowledge the batch of a consumer that ends with a cursor."""
        return self._ask(AckRequest(consumer, cursor, lease_s))

    def latest(
        self, request: LatestRequest, warn: Callable[[str], None] = lambda _: None
    ) -> Iterator[dict[str, object]]:
        """Yield how far series have come, as their answers come in; each answer is of one catalog.

        `warn` is called once if the mount does not show the state as it is now. Whoever asks for so many series that
        the rate of a user is reached waits for its turn.
        """
        asked: LatestRequest | None = request
        is_warned = False
        while asked is not None:
            answer = self._ask(asked) if asked is request else self._ask_in_turn(asked)
            found, after, outdated = answer.get("series"), answer.get("next"), answer.get("outdated")
            if isinstance(outdated, str) and not is_warned:
                is_warned = True
                warn(outdated)
            if isinstance(found, list):
                yield from (one for one in found if isinstance(one, dict))
            asked = replace(asked, after=after) if isinstance(after, str) else None

    def broken(self) -> Iterator[dict[str, object]]:
        """Yield the runs that the mount knows to be broken, as answers come in; wait for a turn between these."""
        begin = BrokenRequest()
        asked: BrokenRequest | None = begin
        while asked is not None:
            answer = self._ask(asked) if asked is begin else self._ask_in_turn(asked)
            found, after = answer.get("broken"), answer.get("next")
            if isinstance(found, list):
                yield from (one for one in found if isinstance(one, dict))
            asked = BrokenRequest(after) if isinstance(after, str) else None

    def _ask_in_turn(self, request: PublicRequest, timeout_s: float = ANSWER_TIMEOUT_S) -> dict[str, object]:
        """Ask, and wait for a turn where the rate of the user is reached."""
        for _ in range(MOST_WAITS):
            try:
                return self._ask(request, timeout_s)
            except LimitError:
                time.sleep(WAIT_S)
        return self._ask(request, timeout_s)

    def _ask(self, request: PublicRequest, timeout_s: float = ANSWER_TIMEOUT_S) -> dict[str, object]:
        # Looked at each time: a daemon that started again made another mount, and its socket is where it was.
        device = _find_device(self.mountpoint, self._shown)
        try:
            return self._caller.ask(render_public_request(request, device), timeout_s)
        except NobodyListensError as error:
            raise NobodyListensError(
                f"nobody listens at the public socket {self._socket_shown}",
                "start a daemon with `readyfs mount`, or name its socket with --socket; "
                "in a container bind the directory of the sockets",
            ) from error
        except NotRunningError as error:
            if error.message != OTHER_MOUNT:
                raise
            raise NotRunningError(
                f"the socket {self._socket_shown} is of another mount than {self._shown}", error.remedy
            ) from error
        except OSError as error:
            raise NotRunningError(
                f"cannot use the public socket {self._socket_shown}: {error.strerror or error}",
                "name another with --socket",
            ) from error


def _parts(asked: Sequence[str], room: int) -> Iterator[tuple[str, ...]]:
    """Yield addresses in lists that take no more than so many bytes as JSON; one that takes more is alone."""
    part: list[str] = []
    size = 0
    for one in asked:
        length = len(json.dumps(one)) + 1
        if part and size + length > room:
            yield tuple(part)
            part, size = [], 0
        part.append(one)
        size += length
    if part:
        yield tuple(part)


def _find_device(mountpoint: Path, shown: str) -> int:
    try:
        return mountpoint.stat().st_dev
    except OSError as error:
        raise _explain(error, mountpoint, shown) from error


def _find_socket(mountpoint: Path, shown: str) -> Path:
    try:
        return (mountpoint / _LINK).readlink()
    except OSError as error:
        raise _explain(error, mountpoint, shown) from error


def _explain(error: OSError, path: Path, shown: str) -> UserError:
    """Return what it means that a path cannot be used as a mount of ours."""
    if isinstance(error, PermissionError):
        return NotPermittedError(f"you may not enter {shown}", "ask its operator (root, or who mounted) for access")
    if error.errno == errno.ENOTCONN:
        return NotRunningError(f"the daemon of the mount at {shown} is gone", "have its operator mount it again")
    remedy = "name the mount point of a readyfs mount"
    for around in path.parents:
        if os.path.islink(around / _LINK):  # noqa: PTH114 - that of a path raises where one may not look
            where = escape_text(os.fsencode(around))
            return NotRunningError(f"{shown} lies inside the readyfs mount at {where}", "name that one")
    if not os.path.exists(path):  # noqa: PTH110 - as above
        return NotRunningError(f"there is no {shown}", remedy)
    if os.path.ismount(path):
        return NotRunningError(f"{shown} is no readyfs mount", remedy)
    return NotRunningError(f"nothing is mounted at {shown}", remedy)
