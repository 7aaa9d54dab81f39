"""The wire form of the public socket: how a request of any kind becomes a line, and comes back from one.

A request is a JSON object whose `op` is its word; what else it holds is said where its kind is: `pin_requests.py`,
`question_requests.py`, `latest_request.py`, `broken_request.py`, `change_requests.py`. Each may say with
`"device": number` which mount it is for: the device number that stat(2) tells of anything in it. That is the same in
every container, and one machine has no two mounts of one number.

A new kind is a class there and its name in `PublicRequest` here; `readyfs.daemon.public_desk` says who answers it.
"""

from __future__ import annotations

from typing import Final, TypeAlias, get_args

from readyfs.control.broken_request import BrokenRequest
from readyfs.control.change_requests import AckRequest, ChangesRequest
from readyfs.control.latest_request import LatestRequest
from readyfs.control.messages import MalformedMessageError, parse_object, render_line
from readyfs.control.pin_requests import PinRequest, PinsRequest, RenewRequest, UnpinRequest
from readyfs.control.question_requests import ShownRequest, WatchRequest, WhyRequest
from readyfs.errors import NotRunningError

MAX_REQUEST_BYTES: Final = 16 * 1024
"""Longest request line that the server reads: a path in which every byte is escaped may take so much."""
OTHER_MOUNT: Final = "the socket is of another mount"
"""What is answered to a request for another mount than the one that is served."""

PublicRequest: TypeAlias = (
    PinRequest
    | RenewRequest
    | UnpinRequest
    | PinsRequest
    | WatchRequest
    | WhyRequest
    | ShownRequest
    | ChangesRequest
    | AckRequest
    | LatestRequest
    | BrokenRequest
)

_KINDS: Final[dict[str, type[PublicRequest]]] = {kind.op: kind for kind in get_args(PublicRequest)}


def render_public_request(request: PublicRequest, device: int | None = None) -> bytes:
    """Return the request as a line, for whichever mount listens or for the one with this device number."""
    message: dict[str, object] = {"op": request.op}
    if device is not None:
        message["device"] = device
    return render_line(message | request.fields())


def parse_public_request(line: bytes, device: int | None = None) -> PublicRequest:
    """Parse a request line; raise `MalformedMessageError` saying what is wrong with it.

    With the `device` number of the mount that is served, `NotRunningError` is raised if another one is meant.
    """
    message = parse_object(line)
    if device is not None and message.get("device", device) != device:
        raise NotRunningError(OTHER_MOUNT, "name the one to which `.readyfs/socket` there leads")
    word = message.get("op")
    kind = _KINDS.get(word) if isinstance(word, str) else None
    if kind is None:
        raise MalformedMessageError(f"`op` is none of {', '.join(map(str, _KINDS))}")
    return kind.parse(message)
