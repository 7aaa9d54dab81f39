"""What is asked over the public socket: a pin, its renewal, its end, and a list of those that there are.

Requests are `{"op": "pin", "name": null, "lease_seconds": null, "note": "", "refresh": false}`, `{"op": "renew",
"name": text, "lease_seconds": null}`, `{"op": "unpin", "name": text}` and `{"op": "pins", "expired": false}`. What is
null is up to the daemon. Each may say with `"device": number` which mount it is for: the device number that stat(2)
tells of anything in it. That is the same in every container, and one machine has no two mounts of one number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from readyfs.control.messages import MalformedMessageError, parse_object, render_line
from readyfs.duration import parse_duration
from readyfs.errors import NotRunningError

MAX_REQUEST_BYTES: Final = 4096
"""Longest request line that the server reads."""
MAX_LEASE_S: Final = 1e11
"""What no lease comes near; what it says of a longer one is never seen."""
OTHER_MOUNT: Final = "the socket is of another mount"
"""What is answered to a request for another mount than the one that is served."""


@dataclass(frozen=True, slots=True)
class PinRequest:
    """Keep the catalog in force; `refresh` first, if so."""

    name: str | None = None
    lease_s: float | None = None
    note: str = ""
    refresh: bool = False
    op: Literal["pin"] = "pin"


@dataclass(frozen=True, slots=True)
class RenewRequest:
    """Have the lease of a pin last longer."""

    name: str
    lease_s: float | None = None
    op: Literal["renew"] = "renew"


@dataclass(frozen=True, slots=True)
class UnpinRequest:
    """Remove a pin."""

    name: str
    op: Literal["unpin"] = "unpin"


@dataclass(frozen=True, slots=True)
class PinsRequest:
    """List pins, or what is left of those that ended."""

    expired: bool = False
    op: Literal["pins"] = "pins"


PublicRequest: TypeAlias = PinRequest | RenewRequest | UnpinRequest | PinsRequest


def parse_lease(text: str) -> float:
    """Return the seconds of a lease as people write it, of any length: each mount has bounds of its own."""
    return parse_duration(text, minimum_s=0.0, maximum_s=MAX_LEASE_S)


def render_public_request(request: PublicRequest, device: int | None = None) -> bytes:
    """Return the request as a line, for whichever mount listens or for the one with this device number."""
    message: dict[str, object] = {"op": request.op}
    if device is not None:
        message["device"] = device
    match request:
        case PinRequest(name, lease_s, note, refresh):
            message |= {"name": name, "lease_seconds": lease_s, "note": note, "refresh": refresh}
        case RenewRequest(name, lease_s):
            message |= {"name": name, "lease_seconds": lease_s}
        case UnpinRequest(name):
            message |= {"name": name}
        case PinsRequest(expired):
            message |= {"expired": expired}
    return render_line(message)


def parse_public_request(line: bytes, device: int | None = None) -> PublicRequest:
    """Parse a request line; raise `MalformedMessageError` saying what is wrong with it.

    With the `device` number of the mount that is served, `NotRunningError` is raised if another one is meant.
    """
    message = parse_object(line)
    if device is not None and message.get("device", device) != device:
        raise NotRunningError(OTHER_MOUNT, "name the one to which `.readyfs/socket` there leads")
    match message.get("op"):
        case "pin":
            name = None if message.get("name") is None else _text(message, "name")
            return PinRequest(name, _lease(message), _text(message, "note", ""), _flag(message, "refresh"))
        case "renew":
            return RenewRequest(_text(message, "name"), _lease(message))
        case "unpin":
            return UnpinRequest(_text(message, "name"))
        case "pins":
            return PinsRequest(_flag(message, "expired"))
        case _:
            raise MalformedMessageError("`op` is none of pin, renew, unpin, pins")


def _text(message: dict[str, object], key: str, default: str | None = None) -> str:
    value = message.get(key, default)
    if not isinstance(value, str):
        raise MalformedMessageError(f"`{key}` is not a text")
    return value


def _flag(message: dict[str, object], key: str) -> bool:
    value = message.get(key, False)
    if not isinstance(value, bool):
        raise MalformedMessageError(f"`{key}` is not true or false")
    return value


def _lease(message: dict[str, object]) -> float | None:
    value = message.get("lease_seconds")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_bounded(value):
        raise MalformedMessageError("`lease_seconds` is neither a number of seconds nor null")
    return float(value)


def _is_bounded(value: float) -> bool:
    # JSON as Python reads it knows NaN and infinity, and whole numbers that no float can hold.
    return -1e12 < value < 1e12 if isinstance(value, int) else math.isfinite(value) and abs(value) < 1e12
