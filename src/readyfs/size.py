"""Sizes as people write them: a number and a unit, such as `512KiB`, `64MiB`, `2GiB`.

A bare number is refused, as with durations.
"""

from __future__ import annotations

import re
from typing import Final

from readyfs.errors import UsageError

_BYTES: Final = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_SIZE: Final = re.compile(r"([0-9]{1,12})\s*(KiB|MiB|GiB|TiB)", re.ASCII)


def parse_size(text: str, *, minimum: int, maximum: int = 1 << 50) -> int:
    """Return the bytes that a text such as `64MiB` stands for.

    Raises `UsageError` for anything else, and for a size outside the bounds (both inclusive).
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is not a size", "write a number and a unit such as 512KiB, 64MiB or 2GiB")
    size = int(match[1]) * _BYTES[match[2]]
    if not minimum <= size <= maximum:
        raise UsageError(
            f"the size {text.strip()} is out of bounds",
            f"choose one from {render_size(minimum)} to {render_size(maximum)}",
        )
    return size


def render_size(size: int) -> str:
    """Return the text of a size: exact where it is a whole number of KiB at least, else rounded up to one."""
    size = -(-size // 1024) * 1024
    for unit, factor in reversed(_BYTES.items()):
        if size >= factor and size % factor == 0:
            return f"{size // factor}{unit}"
    return "0KiB"
