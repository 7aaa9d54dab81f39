"""The picture of what is ready, as lines for people: a row for each series, and dates from left to right.

Each character shows the worst of the dates that it stands for.
"""

from __future__ import annotations

import re
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from textwrap import wrap
from typing import Final, NamedTuple

from readyfs.cli.date_axis import LEFT_OUT, LONG, OLDER, DateAxis, Unit, join_stretches, make_axis
from readyfs.cli.text_width import fit, width_of
from readyfs.consumer.agreement import Verdict
from readyfs.consumer.cell_letters import LETTERS, LEVEL_WORDS
from readyfs.consumer.coverage import CELLS, Level, SeriesCoverage
from readyfs.partition import SeriesKey, render_date
from readyfs.text import escape_text

NARROWEST: Final = 20
"""So many columns are drawn at least, however narrow a terminal is."""
_WIDE: Final = 60
"""From so many columns on, the level of each series stands before it."""
_GAP: Final = "  "
_ALIKE: Final = 500
"""So many pictures are remembered, and so many places on the axis: many series look the same, or begin and end so."""
_LETTERS: Final = bytes(map(ord, LETTERS)).ljust(256, b"?")
_EMPTY: Final = re.compile(rb"\0{%d,}" % LONG)
_RUN: Final = re.compile(rb"(.)\1*", re.DOTALL)
_NO_BREAK: Final = "\xa0"
_PLAIN: Final = "\x1b[0m"
_COLOURS: Final[Mapping[Level, str]] = {
    Level.KNOWN: "30;46",
    Level.GUESSED: "30;46",
    Level.WARN: "30;43",
    Level.ERROR: "97;41",
}
_READY_COLOUR: Final = "30;42"


class Piece(NamedTuple):
    """Cells of dates in a row, from the ordinal `first` on."""

    first: int
    cells: bytes


class Row(NamedTuple):
    """What is drawn of one series. Its `badness` counts dates: of alarms, of warnings, by a guess, and not late yet."""

    series: SeriesKey
    verdict: Verdict
    badness: tuple[int, int, int, int]
    pieces: tuple[Piece, ...]


def row_of(one: SeriesCoverage) -> Row:
    """Return what is drawn of a series, which is much less than what is known of it."""
    gaps = one.gaps
    late = (gaps.count(Verdict.ERROR), gaps.count(Verdict.WARN), gaps.guessed_dates) if gaps.gaps else (0, 0, 0)
    return Row(gaps.series, gaps.verdict, (*late, gaps.waiting), tuple(_pieces(one.first, one.cells)))


def by_key(row: Row) -> SeriesKey:
    """Return what rows are sorted by so that each is found by its names."""
    return row.series


def by_badness(row: Row) -> tuple[list[int], SeriesKey]:
    """Return what rows are sorted by so that the worst come first."""
    return [-count for count in row.badness], row.series


def write_picture(
    rows: Sequence[Row], *, unit: Unit | None, width: int, colours: bool, screen: int | None = None
) -> None:
    """Write rows below a ruler, and what the characters mean. The ruler comes again once in so many lines."""
    names = _Names(rows, width)
    stretches = join_stretches(
        {(piece.first, piece.first + len(piece.cells) - 1) for row in rows for piece in row.pieces}
    )
    room = width - names.width
    axis = make_axis(stretches, room, unit) if stretches else DateAxis(Unit.DAY, ())
    draw = lru_cache(_ALIKE)(Drawing(axis).draw)
    show = _paint if colours else _show
    top, bottom = axis.ruler(room)
    names.widen(room - max(len(axis.columns), len(top), len(bottom)))
    ruler = f"{' ' * names.width}{top}".rstrip() + "\n" + f"{names.headings}{bottom}".rstrip() + "\n"
    used: set[int] = set()
    for place, row in enumerate(rows):
        if place == 0 or (screen is not None and place % screen == 0):
            sys.stdout.write(ruler)
        codes = draw(row.pieces)
        used.update(codes)
        sys.stdout.write((names.of(row, colours=colours) + show(codes)).rstrip() + "\n")
    _write_wrapped(_describe(axis).split(" "), " ", width)
    _write_wrapped(list(_legend(used)), "; ", width)


def _write_wrapped(parts: Iterable[str], between: str, width: int) -> None:
    """Write parts in as many lines as they need; those alone are taken apart that a line is too short for."""
    text = between.join(part.replace(" ", _NO_BREAK) if len(part) < width else part for part in parts)
    for line in wrap(text, width, break_long_words=False, break_on_hyphens=False):
        sys.stdout.write(line.replace(_NO_BREAK, " ") + "\n")


def _pieces(first: int, cells: bytes) -> Iterator[Piece]:
    begin = 0
    if len(cells) > LONG:
        for empty in _EMPTY.finditer(cells):
            yield Piece(first + begin, cells[begin : empty.start()])
            begin = empty.end()
    if cells:  # which neither begin nor end without a date
        yield Piece(first + begin, cells[begin:])


class Drawing:
    """Draws series on one axis: of each column the number of its worst cell."""

    def __init__(self, axis: DateAxis) -> None:
        self._axis = axis
        self._begins = [column.begin for column in axis.columns]
        self._cut = lru_cache(_ALIKE)(self._find_cuts)

    def draw(self, pieces: tuple[Piece, ...]) -> bytes:
        """Return the number of `CELLS` in each column."""
        drawn = bytearray(len(self._begins))
        for first, cells in pieces:
            place, cuts, rest = self._cut(first, len(cells))
            part = bytes(map(max, map(cells.__getitem__, cuts))) + cells[rest:]
            # Only in the column of all older dates another piece may lie.
            worst = max(drawn[place], part[0])
            drawn[place : place + len(part)] = part
            drawn[place] = worst
        return bytes(drawn)

    def _find_cuts(self, first: int, size: int) -> tuple[int, tuple[slice, ...], int]:
        """Return the first column of a piece, what of it lies in that and in the next ones, and where the rest begins.

        The rest has a column for each date, so that nothing has to be looked for.
        """
        begin = bisect_right(self._begins, first) - 1
        end = bisect_left(self._begins, first + size)
        if self._axis.unit is Unit.DAY:
            end = min(end, 1) if begin == 0 and self._axis.has_older else begin
        columns = self._axis.columns[begin:end]
        cuts = tuple(slice(max(0, column.begin - first), column.end - first) for column in columns)
        if self._axis.unit is not Unit.DAY:
            return begin, cuts, size
        return begin, cuts, columns[-1].end - first if columns else 0


class _Names:
    """What stands before the picture: the level, and the names of series.

    These take at most half of the width, and then what the dates leave of it.
    """

    def __init__(self, rows: Sequence[Row], width: int) -> None:
        sources = {row.series.source for row in rows}
        self._skipped = 0 if len(sources) > 1 else 1
        self._has_level = width >= _WIDE
        self._headings = headings = ("SOURCE", "CUSTOMER", "QUERY")[self._skipped :]
        names = zip(*(self._shown(row) for row in rows), strict=True) if rows else ()
        self._natural = [
            max(map(width_of, (heading, *set(column)))) for heading, column in zip(headings, names, strict=True)
        ]
        taken = len(_GAP) * len(headings) + (len("LEVEL") + len(_GAP) if self._has_level else 0)
        self._take(max(len(headings), width // 2 - taken))

    def widen(self, spare: int) -> None:
        """Take so many columns more, as far as names need them."""
        self._take(sum(self._widths) + spare)

    def _take(self, room: int) -> None:
        self._widths = _share(self._natural, room)
        self.headings = self._join("LEVEL", self._headings)
        self.width = width_of(self.headings)

    def of(self, row: Row, *, colours: bool) -> str:
        """Return what stands before one row."""
        level = "" if row.verdict is Verdict.PASS else row.verdict.word
        line = self._join(level, self._shown(row))
        if colours and level and self._has_level:
            colour = _COLOURS[Level.ERROR if row.verdict is Verdict.ERROR else Level.WARN]
            return f"\x1b[{colour}m{level}{_PLAIN}{line[len(level) :]}"
        return line

    def _shown(self, row: Row) -> tuple[str, ...]:
        return tuple(map(escape_text, row.series[self._skipped :]))

    def _join(self, level: str, names: Iterable[str]) -> str:
        cells = [fit(name, width) for name, width in zip(names, self._widths, strict=True)]
        if self._has_level:
            cells.insert(0, level.ljust(len("LEVEL")))
        return "".join(cell + _GAP for cell in cells)


def _share(natural: Sequence[int], room: int) -> list[int]:
    """Return widths that fit into a room; the widest are cut first."""
    most = max(1, min(room, max(natural)))
    while most > 1 and sum(min(one, most) for one in natural) > room:
        most -= 1
    return [min(one, most) for one in natural]


def _show(codes: bytes) -> str:
    return codes.translate(_LETTERS).decode("ascii")


def _paint(codes: bytes) -> str:
    text = _show(codes)
    parts = []
    for run in _RUN.finditer(codes.translate(_PAINTED)):
        colour = _PALETTE[run[1][0]]
        part = text[run.start() : run.end()]
        parts.append(f"\x1b[{colour}m{part}{_PLAIN}" if colour else part)
    return "".join(parts)


def _colour_of(code: int) -> str:
    cell = CELLS[code]
    if cell.status is None:
        return ""
    return _READY_COLOUR if cell.level is None else _COLOURS.get(cell.level, "")


_PALETTE: Final = ("", *sorted({_READY_COLOUR, *_COLOURS.values()}))
_PAINTED: Final = bytes(_PALETTE.index(_colour_of(code)) for code in range(len(CELLS))).ljust(256, b"\0")


def _describe(axis: DateAxis) -> str:
    """Return which dates the columns stand for."""
    if not axis.columns:
        return ""
    unit = str(axis.unit)
    worst = "" if axis.unit is Unit.DAY else ", and shows the worst of its dates"
    older = ""
    if axis.has_older:
        end = axis.columns[0].end
        older = f"; {OLDER} is the worst of all dates before {render_date(end).decode()}"
    blank = f"; {LEFT_OUT} is a long time without any date" if any(one.begin == one.end for one in axis.columns) else ""
    return f"Each character is a {unit}{worst}{older}{blank}."


def _legend(used: Iterable[int]) -> Iterator[str]:
    """Yield what each character means that occurs, the worst first."""
    levels: dict[tuple[str, str], list[str]] = {}
    for code in sorted(used, reverse=True):
        cell = CELLS[code]
        if cell.status is not None:
            found = levels.setdefault((LETTERS[code], str(cell.status)), [])
            if cell.level is not None:
                found.append(LEVEL_WORDS[cell.level])
    for (letter, status), words in levels.items():
        yield f"{letter} {status}" + (f", {' or '.join(words)}" if words else "")
