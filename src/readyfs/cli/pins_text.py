"""How pins look on a terminal: two lines for each, of which the first is in columns. JSON has the exact values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from readyfs.duration import render_duration
from readyfs.partition import show_moment
from readyfs.size import render_size
from readyfs.text import escape_text

_FINGERPRINT_DIGITS: Final = 8

Pin = Mapping[str, object]


def render_pins(pins: Sequence[Pin]) -> str:
    """Return the lines of pins that hold something."""
    if not pins:
        return "no pins"
    head = ("NAME", "VIEW", "TAKEN", "BEHIND", "EXPIRES")
    rows = [
        (
            str(pin["name"]),
            _render_view(pin),
            show_moment(str(pin["taken_at"])),
            _render_behind(pin),
            show_moment(str(pin["expires_at"])),
        )
        for pin in pins
    ]
    notes = [_join(", ".join(_explain(pin)), pin["note"]) for pin in pins]
    return "\n".join(_render_table(head, rows, notes))


def render_ended(pins: Sequence[Pin]) -> str:
    """Return the lines of pins that ended."""
    if not pins:
        return "no pins have ended"
    head = ("NAME", "VIEW", "TAKEN", "ENDED")
    rows = [
        (str(pin["name"]), _render_view(pin), show_moment(str(pin["taken_at"])), show_moment(str(pin["ended_at"])))
        for pin in pins
    ]
    notes = [_join(f"{_render_user(pin)}, {pin['reason']}", pin["note"]) for pin in pins]
    return "\n".join(_render_table(head, rows, notes))


def _render_view(pin: Pin) -> str:
    return str(pin["fingerprint"])[:_FINGERPRINT_DIGITS]


def _join(who: str, note: object) -> str:
    return f"{who}: {note}" if note else who


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


def _explain(pin: Pin) -> Iterator[str]:
    """Yield whose a pin is, what it is if it is no mere view, and what it costs."""
    yield _render_user(pin)
    acknowledged = pin.get("acknowledged")
    if acknowledged is not None:
        is_done = acknowledged == pin["fingerprint"]
        yield f"a consumer of changes that has {'acknowledged all' if is_done else 'not acknowledged its batch'}"
    in_store = pin.get("in_store")
    if in_store is not None:
        yield "in the pin store" if in_store else "not in the pin store"
    size = pin.get("memory_bytes")
    yield f"adds {render_size(size)} of memory" if isinstance(size, int) else "memory not measured yet"


def _render_table(head: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str]) -> Iterator[str]:
    """Yield the columns, and below each row its note."""
    lines = [list(head), *([escape_text(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line, note in zip(lines, ["", *notes], strict=True):
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        if note:
            yield f"  {escape_text(note)}"
