"""What is asked over the control socket, and where it stands.

Requests are `{"op": "status"}`, `{"op": "refresh", "wait": true, "accept": null}` and `{"op": "stop"}`. Several may
follow each other on one connection.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from readyfs.control.messages import MalformedMessageError, parse_object, render_line
from readyfs.errors import UsageError
from readyfs.text import escape_text

MAX_REQUEST_BYTES: Final = 64 * 1024
"""Longest request line that the server reads."""

_MAX_SOCKET_PATH: Final = 107
"""Bytes of `sun_path` without its NUL (unix(7))."""


def socket_path(directory: Path, mountpoint: Path, flag: str = "--runtime-dir") -> Path:
    """Return where the daemon of a resolved mount point listens: a readable tail and a hash of the whole path.

    Raises `UsageError`, which names the `flag`, if the directory's path is too long for a socket address (unix(7)).
    """
    whole = os.fsencode(mountpoint)
    tail = re.sub(r"[^A-Za-z0-9._-]", "_", mountpoint.name)[:24].lstrip(".") or "mount"
    path = directory / f"{tail}-{hashlib.blake2b(whole, digest_size=8).hexdigest()}.sock"
    if len(os.fsencode(path)) > _MAX_SOCKET_PATH:
        raise UsageError(
            f"the directory {escape_text(str(directory))} is too long for a socket in it",
            f"choose a shorter one with {flag}",
        )
    return path


@dataclass(frozen=True, slots=True)
class ControlRequest:
    """What a client asks for; `wait` and the fingerprint `accept` concern a refresh alone."""

    op: Literal["status", "refresh", "stop"]
    wait: bool = False
    accept: str | None = None


def render_request(request: ControlRequest) -> bytes:
    """Return the request as a line."""
    message: dict[str, object] = {"op": request.op}
    if request.op == "refresh":
        message |= {"wait": request.wait, "accept": request.accept}
    return render_line(message)


def parse_request(line: bytes) -> ControlRequest:
    """Parse a request line; raise `MalformedMessageError` saying what is wrong with it."""
    message = parse_object(line)
    wait = message.get("wait", False)
    if not isinstance(wait, bool):
        raise MalformedMessageError("`wait` is not true or false")
    accept = message.get("accept")
    if accept is not None and not isinstance(accept, str):
        raise MalformedMessageError("`accept` is neither a text nor null")
    match message.get("op"):
        case "status" | "refresh" | "stop" as op:
            return ControlRequest(op, wait, accept)
        case _:
            raise MalformedMessageError("`op` is none of status, refresh, stop")
