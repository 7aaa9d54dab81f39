"""The names of pins: what one may be called, and the names that are made up."""

from __future__ import annotations

import re
import secrets
from typing import Final

from readyfs.errors import UsageError
from readyfs.history.times import parse_time
from readyfs.text import escape_text

MAX_NAME_LENGTH: Final = 100
MAX_NOTE_LENGTH: Final = 200

_NAME: Final = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.+=@-]{{0,{MAX_NAME_LENGTH - 1}}}", re.ASCII)
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{32}", re.ASCII | re.IGNORECASE)
_SHOWN: Final = 60


def check_name(name: str) -> None:
    """Raise `UsageError` for what cannot be the name of a pin.

    A pin's name is also a name in `at/`, where it must not be taken for a time, for `~N` or for a fingerprint.
    """
    shown = repr(escape_text(name[:_SHOWN]))
    if _NAME.fullmatch(name) is None:
        raise UsageError(
            f"a pin cannot be named {shown}",
            f"use at most {MAX_NAME_LENGTH} letters, digits and the characters _ . + = @ -, and none of the last five "
            "in front",
        )
    if parse_time(name) is not None:
        raise UsageError(f"a pin cannot be named {shown}, which is a time", "choose a name that says what for")
    if _FINGERPRINT.fullmatch(name) is not None:
        raise UsageError(f"a pin cannot be named {shown}, which is a fingerprint", "choose a name that says what for")


def check_note(note: str) -> None:
    """Raise `UsageError` for a note that is no short line of text."""
    if len(note) > MAX_NOTE_LENGTH or not note.isprintable():
        raise UsageError(
            f"the note {escape_text(note[:_SHOWN])!r} is too long, or no plain line",
            f"write one line of at most {MAX_NOTE_LENGTH} characters",
        )


def make_name() -> str:
    """Return a name that nobody has chosen."""
    return f"pin-{secrets.token_hex(6)}"
