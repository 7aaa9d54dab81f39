"""Texts of a page that many places share: each is stored once, and named by its number."""

from __future__ import annotations

import json
from typing import Final

from readyfs.page.columns import Sections

LONGEST: Final = 1000
"""How many characters of a text a page holds."""
CUT: Final = "… (cut)"
"""Ends a text of which a page holds no more."""


class Texts:
    """Texts by number, in the order in which they came."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def number(self, text: str) -> int:
        """Return the number of a text, which is shortened if it is too long."""
        if len(text) > LONGEST:
            text = shorten(text)
        return self._numbers.setdefault(text, len(self._numbers))

    def write(self, name: str, sections: Sections, longest: int = LONGEST) -> None:
        """Add them to a block, none longer than that, as JSON of ASCII characters alone."""
        sections.add(name, render_json([shorten(text, longest) for text in self._numbers]))


def render_json(value: object) -> bytes:
    """Return a value as JSON of ASCII characters alone: bytes that are no UTF-8 are there as lone surrogates."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def shorten(text: str, longest: int = LONGEST) -> str:
    """Return a text that is not too long, with a sign if it was cut."""
    return text if len(text) <= longest else text[: longest - len(CUT)] + CUT
