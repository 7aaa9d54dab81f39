"""Tables for people: columns whose widths are those of the first rows, so that a long answer begins at once.

A cell that is wider than its column pushes the rest of its line to the right. Foreign text is escaped. Colours are the
caller's choice of a column and a cell's text, and only used where `has_colours` says so.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import Final, NamedTuple, TextIO

from readyfs.text import escape_text

FIRST_ROWS: Final = 200
"""How many rows decide the widths, and are held back until they do."""

_GAP: Final = "  "
_CODES: Final[Mapping[str, int]] = {"red": 31, "green": 32, "yellow": 33, "cyan": 36}
_PLAIN: Final = "\x1b[0m"


class Column(NamedTuple):
    """A column: its heading, whether it holds numbers, and the colour of a cell's text by name, empty for none."""

    heading: str
    is_number: bool = False
    colour: Callable[[str], str] | None = None


def write_table(
    columns: Sequence[Column], rows: Iterable[Sequence[str]], *, colours: bool = False, out: TextIO | None = None
) -> int:
    """Write a heading and a line for each row as they come in; without rows nothing. Return the number of rows."""
    out = sys.stdout if out is None else out
    iterator = iter(rows)
    first = list(islice(iterator, FIRST_ROWS))
    if not first:
        return 0
    first = [tuple(map(escape_text, row)) for row in first]
    widths = [max(len(column.heading), *(len(row[index]) for row in first)) for index, column in enumerate(columns)]
    out.write(_line([column.heading for column in columns], columns, widths))
    count = 0
    for row in chain(first, iterator):
        count += 1
        cells = [cell if cell.isprintable() else escape_text(cell) for cell in row]
        out.write(_line(cells, columns, widths, colours=colours))
    return count


def _line(cells: Sequence[str], columns: Sequence[Column], widths: Sequence[int], *, colours: bool = False) -> str:
    padded = [
        cell.rjust(width) if column.is_number else cell.ljust(width)
        for cell, column, width in zip(cells, columns, widths, strict=True)
    ]
    if not colours:
        return _GAP.join(padded).rstrip() + "\n"
    painted = [
        _paint(text, column.colour(cell)) if column.colour is not None else text
        for text, cell, column in zip(padded, cells, columns, strict=True)
    ]
    return _GAP.join(painted).rstrip() + "\n"


def _paint(text: str, colour: str) -> str:
    return f"\x1b[{_CODES[colour]}m{text}{_PLAIN}" if colour else text
