"""How many columns of a terminal a text takes: wide characters take two, and combining ones none."""

from __future__ import annotations

from typing import Final
from unicodedata import category, east_asian_width

CUT: Final = "~"
"""Stands where a text was cut: a character that is as wide in every terminal."""

_JOINING: Final = (range(0x1160, 0x1200), range(0xD7B0, 0xD800))
"""Vowels and final consonants of Hangul, which join the character before them."""


def width_of(text: str) -> int:
    """Return how many columns a printable text takes."""
    return len(text) if text.isascii() else sum(map(_width, text))


def fit(text: str, width: int) -> str:
    """Return a printable text that takes exactly so many columns: padded, or cut with a sign."""
    taken = width_of(text)
    if taken > width:
        text, taken = _cut(text, width)
    return text + " " * (width - taken)


def _cut(text: str, width: int) -> tuple[str, int]:
    room = width - len(CUT)
    taken = 0
    for place, char in enumerate(text):
        wide = _width(char)
        if taken + wide > room:
            return text[:place] + CUT, taken + len(CUT)
        taken += wide
    raise AssertionError("the text fits")


def _width(char: str) -> int:
    if category(char) in ("Mn", "Me") or any(ord(char) in one for one in _JOINING):
        return 0
    return 2 if east_asian_width(char) in ("W", "F") else 1
