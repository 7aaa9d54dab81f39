"""Text that is fit to be shown: nothing foreign reaches a log or a terminal as it is."""

from __future__ import annotations


def escape_text(value: bytes | str) -> str:
    """Return a value as printable text: control characters and invalid UTF-8 as backslash escapes.

    Nothing that comes from a state row, a file name or an environment reaches a log or a terminal without this.
    """
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode("ascii")
        for char in text
    )


def decode_text(value: bytes) -> str:
    """Return a value for JSON, where any character may stand: only what is not UTF-8 becomes backslash escapes."""
    return value.decode("utf-8", "backslashreplace")
