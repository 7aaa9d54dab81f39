"""How pins look on a terminal: one line for each, in columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from readyfs.duration import render_duration
from readyfs.size import render_size
from readyfs.text import escape_text

_FINGERPRINT_DIGITS: Final = 12

Pin = Mapping[str, object]


def render_pins(pins: Sequence[Pin]) -> str:
    """Return the lines of pins that hold something."""
    if not pins:
        return "no pins"
    head = ("NAME", "FINGERPRINT", "TAKEN AT", "BEHIND", "EXPIRES", "USER", "ADDS", "NOTE")
    return _render_table(
        head,
        [
            (
                pin["name"],
                str(pin["fingerprint"])[:_FINGERPRINT_DIGITS],
                pin["taken_at"],
                _render_behind(pin),
                pin["expires_at"],
                _render_user(pin),
                _render_memory(pin),
                pin["note"],
            )
            for pin in pins
        ],
    )


def render_ended(pins: Sequence[Pin]) -> str:
    """Return the lines of pins that ended."""
    if not pins:
        return "no pins have ended"
    head = ("NAME", "FINGERPRINT", "TAKEN AT", "ENDED AT", "USER", "REASON", "NOTE")
    return _render_table(
        head,
        [
            (
                pin["name"],
                str(pin["fingerprint"])[:_FINGERPRINT_DIGITS],
                pin["taken_at"],
                pin["ended_at"],
                _render_user(pin),
                pin["reason"],
                pin["note"],
            )
            for pin in pins
        ],
    )


def _render_behind(pin: Pin) -> str:
    catalogs, seconds = pin.get("behind_catalogs"), pin.get("behind_seconds")
    if not isinstance(catalogs, int) or not isinstance(seconds, int | float):
        return "?"
    if catalogs == 0:
        return "0"
    return f"{catalogs} ({render_duration(_coarse(seconds))})"


def _coarse(seconds: float) -> float:
    """Return seconds of which a duration makes a short word."""
    for unit in (86400, 3600, 60):
        if seconds >= 2 * unit:
            return float(round(seconds / unit) * unit)
    return float(round(seconds))


def _render_user(pin: Pin) -> str:
    return str(pin["user"] if pin.get("user") is not None else pin["uid"])


def _render_memory(pin: Pin) -> str:
    size = pin.get("memory_bytes")
    return render_size(size) if isinstance(size, int) else "?"


def _render_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [list(head), *([escape_text(str(cell)) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
