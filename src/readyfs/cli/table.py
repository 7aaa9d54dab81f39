"""Tables for people: columns whose widths are those of the first rows, so that a long answer begins at once.

A cell that is wider than its column pushes the rest of its line to the right. Foreign text is escaped. Colours are the
caller's choice of a column and a cell's text, and only used where `has_colours` says so.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, repeat
from typing import Final, NamedTuple, TextIO, TypeVar

from readyfs.text import escape_text

FIRST_ROWS: Final = 200
"""How many rows decide the widths, and are held back until they do."""

_AT_ONCE: Final = 1000
"""How many further rows are written together, or as many as a block has."""
_WIDEST: Final = 64
"""How wide a column may be: one long name would make every line long."""
_GAP: Final = "  "
_CODES: Final[Mapping[str, int]] = {"red": 31, "green": 32, "yellow": 33, "cyan": 36}
_PLAIN: Final = "\x1b[0m"

Cells = tuple[str, ...]
T = TypeVar("T")


class Column(NamedTuple):
    """A column: its heading, whether it holds numbers, and the colour of a cell's text by name, empty for none."""

    heading: str
    is_number: bool = False
    colour: Callable[[str], str] | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """Rows that come together: `size` of them by the column, as one text where all cells of a column are the same.

    `others` are further rows, each with how many of those by the column stand before it, in order.
    """

    size: int
    columns: Sequence[str | list[str]]
    others: Sequence[tuple[int, Cells]]

    def __len__(self) -> int:
        return self.size + len(self.others)

    def rows(self) -> list[Cells]:
        """Return all rows, cell by cell."""
        cells = (repeat(column) if isinstance(column, str) else column for column in self.columns)
        return merge(list(islice(zip(*cells, strict=False), self.size)), self.others)


def merge(rows: list[T], others: Iterable[tuple[int, T]]) -> list[T]:
    """Return rows with others among them, each behind so many of the rows; these others come in order."""
    found: list[T] = []
    begin = 0
    for end, other in others:
        found += rows[begin:end]
        found.append(other)
        begin = end
    return found + rows[begin:]


def write_table(
    columns: Sequence[Column], rows: Iterable[Cells], *, colours: bool = False, out: TextIO | None = None
) -> int:
    """Write a heading and a line for each row as they come in; without rows nothing. Return the number of rows."""
    return write_blocks(columns, (Block(0, (), ((0, cells),)) for cells in rows), colours=colours, out=out)


def write_blocks(
    columns: Sequence[Column], blocks: Iterable[Block], *, colours: bool = False, out: TextIO | None = None
) -> int:
    """Write a table of blocks as they come in, as `write_table` does of their rows."""
    out = sys.stdout if out is None else out
    iterator = iter(blocks)
    some = _take(iterator, FIRST_ROWS)
    if not some:
        return 0
    first = islice(chain.from_iterable(block.rows() for block in some), FIRST_ROWS)
    headings = tuple(column.heading for column in columns)
    widths = [min(_WIDEST, max(map(len, cells))) for cells in zip(*map(_escape, [headings, *first]), strict=True)]
    form = _Form(columns, widths, colours=colours)
    out.write(form.line(headings) + "\n")
    count = 0
    while some:
        lines = list(chain.from_iterable(map(form.lines, some)))
        out.write("\n".join(lines) + "\n")
        count += len(lines)
        some = _take(iterator, _AT_ONCE)
    return count


def _take(blocks: Iterator[Block], rows: int) -> list[Block]:
    """Return the next blocks until they have so many rows."""
    some: list[Block] = []
    count = 0
    while count < rows and (block := next(blocks, None)) is not None:
        if len(block):
            some.append(block)
            count += len(block)
    return some


class _Form:
    """Makes lines of rows, for columns of known widths."""

    def __init__(self, columns: Sequence[Column], widths: Sequence[int], *, colours: bool) -> None:
        self._columns = columns
        self._widths = widths
        self._colours = colours
        self._form = _GAP.join(
            f"%{'' if column.is_number else '-'}{width}s" for column, width in zip(columns, widths, strict=True)
        )

    def line(self, cells: Cells) -> str:
        return (self._form % cells).rstrip()

    def lines(self, block: Block) -> list[str]:
        if self._colours or not _is_printable(block.columns):
            return list(map(self._show, block.rows()))
        lines = list(map(str.rstrip, self._join(block))) if block.size else []
        return merge(lines, ((place, self._show(cells)) for place, cells in block.others))

    def _join(self, block: Block) -> Iterable[str]:
        """Return the lines of the rows by the column; what is the same in all of them is put together once."""
        parts: list[Iterable[str]] = []
        same = ""
        for place, (cells, column, width) in enumerate(zip(block.columns, self._columns, self._widths, strict=True)):
            same += _GAP if place else ""
            if isinstance(cells, str):
                same += cells.rjust(width) if column.is_number else cells.ljust(width)
                continue
            if min(map(len, cells)) < width:
                pad = str.rjust if column.is_number else str.ljust
                cells = list(map(pad, cells, repeat(width)))
            parts += (repeat(same), cells)
            same = ""
        return islice(map("".join, zip(*parts, repeat(same), strict=False)), block.size)

    def _show(self, cells: Cells) -> str:
        line = self.line(cells)
        if self._colours or not line.isprintable():
            return _paint(self._form, self._columns, _escape(cells), colours=self._colours)
        return line


def _is_printable(columns: Iterable[str | list[str]]) -> bool:
    return all((column if isinstance(column, str) else "".join(column)).isprintable() for column in columns)


def _escape(cells: Cells) -> Cells:
    return tuple(map(escape_text, cells))


def _paint(form: str, columns: Sequence[Column], cells: Cells, *, colours: bool) -> str:
    """Return a line; its colours lie around what stands in a cell, so that they take no room."""
    line = form % cells
    if not colours:
        return line.rstrip()
    begin = 0
    for cell, column in zip(cells, columns, strict=True):
        begin = line.index(cell, begin)
        colour = column.colour(cell) if column.colour is not None else ""
        painted = f"\x1b[{_CODES[colour]}m{cell}{_PLAIN}" if colour and cell else cell
        line = f"{line[:begin]}{painted}{line[begin + len(cell) :]}"
        begin += len(painted)
    return line.rstrip()
