"""The wire form of the control socket: one JSON object a line in each direction, and where the socket stands.

Requests are `{"op": "status"}`, `{"op": "refresh", "wait": true, "accept": null}` and `{"op": "stop"}`; a reply is
`{"result": {...}}` or `{"error": message, "remedy": text, "exit_code": n}`. Several requests may follow each other
on one connection.
Plain `json` rather than orjson, because a path that is not UTF-8 must survive (as escaped surrogates).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from readyfs.errors import ExitCode, ReadyfsError, UsageError, UserError

MAX_REQUEST_BYTES: Final = 64 * 1024
"""Longest request line that a server reads."""

MAX_REPLY_BYTES: Final = 16 * 1024 * 1024
"""Longest reply line that a client reads."""

_MAX_SOCKET_PATH: Final = 107
"""Bytes of `sun_path` without its NUL (unix(7))."""


class MalformedMessageError(ReadyfsError):
    """A line that is not a message of this protocol; the text says why."""


def socket_path(runtime_dir: Path, mountpoint: Path) -> Path:
    """Return where the daemon of a resolved mount point listens: a readable tail and a hash of the whole path.

    Raises `UsageError` if the runtime directory's path is too long for a socket address (unix(7)).
    """
    whole = os.fsencode(mountpoint)
    tail = re.sub(r"[^A-Za-z0-9._-]", "_", mountpoint.name)[:24].lstrip(".") or "mount"
    path = runtime_dir / f"{tail}-{hashlib.blake2b(whole, digest_size=8).hexdigest()}.sock"
    if len(os.fsencode(path)) > _MAX_SOCKET_PATH:
        raise UsageError(
            f"the runtime directory {runtime_dir} is too long for a socket in it",
            "choose a shorter one with --runtime-dir",
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
    return _render_line(message)


def parse_request(line: bytes) -> ControlRequest:
    """Parse a request line; raise `MalformedMessageError` saying what is wrong with it."""
    message = _parse_object(line)
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


def render_result(result: dict[str, object]) -> bytes:
    """Return a successful reply as a line."""
    return _render_line({"result": result})


def render_error(error: UserError) -> bytes:
    """Return a failed reply as a line."""
    return _render_line({"error": error.message, "remedy": error.remedy, "exit_code": int(error.exit_code)})


def parse_reply(line: bytes) -> dict[str, object]:
    """Return the result that a reply line holds, or raise the error that it stands for.

    Raises the `UserError` of the reply's exit code, or `MalformedMessageError`.
    """
    message = _parse_object(line)
    error = message.get("error")
    if isinstance(error, str):
        raise _restore_error(error, str(message.get("remedy", "")), message.get("exit_code"))
    result = message.get("result")
    if not isinstance(result, dict):
        raise MalformedMessageError("the reply holds neither result nor error")
    return result


def _restore_error(message: str, remedy: str, exit_code: object) -> UserError:
    for kind in UserError.__subclasses__():
        if kind.exit_code == exit_code:
            return kind(message, remedy)
    error = UserError(message, remedy)
    error.exit_code = ExitCode.INTERNAL
    return error


def _render_line(message: dict[str, object]) -> bytes:
    return json.dumps(message, separators=(",", ":"), default=str).encode("ascii") + b"\n"


def _parse_object(line: bytes) -> dict[str, object]:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise MalformedMessageError("not a JSON object on one line") from error
    if not isinstance(message, dict):
        raise MalformedMessageError("not a JSON object")
    return message
