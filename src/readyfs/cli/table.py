"""Tables for people: columns whose widths are those of the first rows, so that a long answer begins at once.

A cell that is wider than its column pushes the rest of its line to the right. Foreign text is escaped. Colours are the
caller's choice of a column and a cell's text, and only used where `has_colours` says so.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple, TextIO

from readyfs.text import escape_text

FIRST_ROWS: Final = 200
"""How many rows decide the widths, and are held back until they do."""

_AT_ONCE: Final = 1000
"""How many further rows are written together."""
_WIDEST: Final = 64
"""How wide a column may be: one long name would make every line long."""
_GAP: Final = "  "
_CODES: Final[Mapping[str, int]] = {"red": 31, "green": 32, "yellow": 33, "cyan": 36}
_PLAIN: Final = "\x1b[0m"

Cells = tuple[str, ...]


class Column(NamedTuple):
    """A column: its heading, whether it holds numbers, and the colour of a cell's text by name, empty for none."""

    heading: str
    is_number: bool = False
    colour: Callable[[str], str] | None = None


def write_table(
    columns: Sequence[Column], rows: Iterable[Cells], *, colours: bool = False, out: TextIO | None = None
) -> int:
    """Write a heading and a line for each row as they come in; without rows nothing. Return the number of rows."""
    out = sys.stdout if out is None else out
    iterator = iter(rows)
    some = list(islice(iterator, FIRST_ROWS))
    if not some:
        return 0
    headings = tuple(column.heading for column in columns)
    widths = [min(_WIDEST, max(map(len, cells))) for cells in zip(*map(_escape, [headings, *some]), strict=True)]
    form = _GAP.join(
        f"%{'' if column.is_number else '-'}{width}s" for column, width in zip(columns, widths, strict=True)
    )
    out.write((form % headings).rstrip() + "\n")
    count = 0
    while some:
        count += len(some)
        lines = list(map(str.rstrip, map(form.__mod__, some)))
        text = "\n".join(lines)
        if colours or not all(map(str.isprintable, lines)):
            text = "\n".join([_paint(form, columns, _escape(cells), colours=colours) for cells in some])
        out.write(text + "\n")
        some = list(islice(iterator, _AT_ONCE))
    return count


def _escape(cells: Cells) -> Cells:
    return tuple(map(escape_text, cells))


def _paint(form: str, columns: Sequence[Column], cells: Cells, *, colours: bool) -> str:
    """Return a line; its colours lie around what stands in a cell, so that they take no room."""
    line = (form % cells).rstrip()
    if not colours:
        return line
    begin = 0
    for cell, column in zip(cells, columns, strict=True):
        begin = line.index(cell, begin)
        colour = column.colour(cell) if column.colour is not None else ""
        painted = f"\x1b[{_CODES[colour]}m{cell}{_PLAIN}" if colour and cell else cell
        line = f"{line[:begin]}{painted}{line[begin + len(cell) :]}"
        begin += len(painted)
    return line
