"""Percentages as people write them: a number and a percent sign, such as `50%` or `2.5%`, kept exactly.

A bare number is refused, because half of all readers would take 0.5 for the half and the others for half a percent.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

from readyfs.errors import UsageError

_PERCENTAGE: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)\s*%", re.ASCII)


def parse_percentage(text: str) -> Fraction:
    """Return the share that a text such as `50%` stands for, above 0 and below 1; raise `UsageError` for any other."""
    word = text.strip()
    match = _PERCENTAGE.fullmatch(word)
    if match is None:
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", word, re.ASCII):
            raise UsageError(f"{word} has no percent sign", "write a percentage such as 50%")
        raise UsageError(f"{text!r} is not a percentage", "write a number and a percent sign such as 50% or 2.5%")
    share = Fraction(match.group(1)) / 100
    if not 0 < share < 1:
        raise UsageError(f"{word} is out of bounds", "choose one above 0% and below 100%, or none")
    return share


def render_percentage(share: Fraction) -> str:
    """Return the shortest exact text of a share: the inverse of `parse_percentage`."""
    return f"{float(share * 100):.6f}".rstrip("0").rstrip(".") + "%"
