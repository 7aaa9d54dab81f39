"""The wire form that every socket of ours shares: one JSON object a line in each direction.

A reply is `{"result": {...}}` or `{"error": message, "remedy": text, "exit_code": n}`. What a request holds is the
business of each socket's own protocol.
Plain `json` rather than orjson, because a path that is not UTF-8 must survive (as escaped surrogates).
"""

from __future__ import annotations

import json
from typing import Final

from readyfs.errors import ExitCode, ReadyfsError, UserError

MAX_REPLY_BYTES: Final = 16 * 1024 * 1024
"""Longest reply line that a client reads."""


class MalformedMessageError(ReadyfsError):
    """A line that is not a message of its protocol; the text says why."""


def render_line(message: dict[str, object]) -> bytes:
    """Return a message as a line."""
    return json.dumps(message, separators=(",", ":"), default=str).encode("ascii") + b"\n"


def parse_object(line: bytes) -> dict[str, object]:
    """Return the object that a line holds; raise `MalformedMessageError`."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise MalformedMessageError("not a JSON object on one line") from error
    if not isinstance(message, dict):
        raise MalformedMessageError("not a JSON object")
    return message


def render_result(result: dict[str, object]) -> bytes:
    """Return a successful reply as a line."""
    return render_line({"result": result})


def render_error(error: UserError) -> bytes:
    """Return a failed reply as a line."""
    return render_line({"error": error.message, "remedy": error.remedy, "exit_code": int(error.exit_code)})


def render_refusal(message: str, remedy: str, exit_code: ExitCode = ExitCode.USAGE) -> bytes:
    """Return a failed reply that no error of the core stands behind."""
    error = UserError(message, remedy)
    error.exit_code = exit_code
    return render_error(error)


def parse_reply(line: bytes) -> dict[str, object]:
    """Return the result that a reply line holds, or raise the error that it stands for.

    Raises the `UserError` of the reply's exit code, or `MalformedMessageError`.
    """
    message = parse_object(line)
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
