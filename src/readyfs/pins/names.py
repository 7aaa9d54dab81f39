"""The names of pins: what one may be called, and the names that are made up."""

from __future__ import annotations

import re
import secrets
from typing import Final

from readyfs.errors import UsageError
from readyfs.text import escape_text

MAX_NAME_LENGTH: Final = 100
MAX_NOTE_LENGTH: Final = 200

_NAME: Final = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.+=@-]{{0,{MAX_NAME_LENGTH - 1}}}", re.ASCII)
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_TIME: Final = re.compile(r"\d{4}(?:[-TW\d].*)?", re.ASCII)
"""How every form of a time begins that ISO 8601 knows: weeks, days of the year and months are times to people, too."""
_SHOWN: Final = 60


def check_name(name: str) -> None:
    """Raise `UsageError` for what cannot be the name of a pin.

    A pin's name is also a name in `at/`, where it must not be taken for a time, for `~N` or for a fingerprint.
    """
    shown = show_name(name)
    if _NAME.fullmatch(name) is None:
        raise UsageError(
            f"a pin cannot be named {shown}",
            f"use at most {MAX_NAME_LENGTH} letters, digits and the characters _ . + = @ -, and none of the last five "
            "in front",
        )
    if _TIME.fullmatch(name) is not None:
        raise UsageError(
            f"a pin cannot be named {shown}, which begins as a time does", "choose a name that says what for"
        )
    if _FINGERPRINT.fullmatch(name.lower()) is not None:
        raise UsageError(f"a pin cannot be named {shown}, which is a fingerprint", "choose a name that says what for")


def check_note(note: str) -> None:
    """Raise `UsageError` for a note that is no short line of text."""
    if len(note) > MAX_NOTE_LENGTH or not note.isprintable():
        raise UsageError(
            f"the note {_show(note)} is too long, or no plain line",
            f"write one line of at most {MAX_NOTE_LENGTH} characters",
        )


def check_fingerprint(fingerprint: str) -> None:
    """Raise `UsageError` for what cannot be the fingerprint of a catalog."""
    if _FINGERPRINT.fullmatch(fingerprint) is None:
        raise UsageError(f"{_show(fingerprint)} is no fingerprint", "take one from `readyfs pins`")


def show_name(name: str) -> str:
    """Return what was given as a name, in quotes and fit to be shown."""
    return _show(name)


def _show(text: str) -> str:
    return f"'{escape_text(text[:_SHOWN])}'"


def make_name() -> str:
    """Return a name that nobody has chosen."""
    return f"pin-{secrets.token_hex(6)}"
