"""One manifest: how large it is, and its bytes from any offset on.

Its rows are taken in pieces of at most so many, and of each piece only the place and the offset are kept. So a read
makes the lines of the few pieces that it touches, whatever the size of the whole.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Final

from readyfs.catalog.tree import Catalog, Path
from readyfs.manifest.form import Form
from readyfs.manifest.lines import Broken, make_lines
from readyfs.manifest.selection import Rows, Selection, select

PIECE_ROWS: Final = 1024


class Manifest:
    """The manifest of what was selected of a catalog, which it holds; it never changes."""

    def __init__(self, catalog: Catalog, path: Path, form: Form, files: Sequence[bytes], selection: Selection) -> None:
        self._selection = selection
        self._lines = make_lines(form, catalog.layout, len(path), files)
        # Where each piece begins: the position of its first group, that of its first row there, and its offset.
        self._groups, self._rows, self._offsets = array("q"), array("q"), array("q", (0,))
        self._index()

    @classmethod
    def of(cls, catalog: Catalog, path: Path, form: Form, files: Sequence[bytes]) -> Manifest | None:
        """Return the manifest of a directory, None if there is no such directory."""
        selection = select(catalog, path)
        return None if selection is None else cls(catalog, path, form, files, selection)

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return self._offsets[-1]

    def pieces(self, offset: int, size: int) -> range:
        """Return which pieces some bytes are in."""
        end = min(offset + size, self.size)
        if offset >= end:
            return range(0)
        return range(bisect_right(self._offsets, offset) - 1, bisect_right(self._offsets, end - 1))

    def span(self, piece: int) -> tuple[int, int]:
        """Return at which offset a piece begins and ends."""
        return self._offsets[piece], self._offsets[piece + 1]

    def render(self, piece: int, broken: Broken) -> bytes:
        """Return the bytes of a piece."""
        some: list[Rows] = []
        left = PIECE_ROWS
        for rows in self._rows_from(self._groups[piece], self._rows[piece]):
            size = len(rows.columns)
            some.append(rows if size <= left else rows._replace(columns=rows.columns.cut(0, left)))
            left -= min(size, left)
            if not left:
                break
        return b"".join(self._lines.render(some, broken))

    def _rows_from(self, first: int, skipped: int) -> Iterator[Rows]:
        """Yield the rows from a group on, without some of its first."""
        groups = self._selection.groups
        for index in range(first, len(groups)):
            for rows in self._selection.rows(groups[index]):
                size = len(rows.columns)
                if not skipped:
                    yield rows
                elif skipped < size:
                    yield rows._replace(columns=rows.columns.cut(skipped, size))
                skipped = max(skipped - size, 0)

    def _index(self) -> None:
        piece: list[Rows] = []
        width = filled = 0
        for index, group in enumerate(self._selection.groups):
            row = 0
            for rows in self._selection.rows(group):
                one = self._lines.width(rows.key, rows.ambiguous)
                size, begin = len(rows.columns.dates), 0
                while begin < size:
                    if not filled:
                        self._groups.append(index)
                        self._rows.append(row)
                    end = min(size, begin + PIECE_ROWS - filled)
                    whole = end - begin == size
                    piece.append(rows if whole else rows._replace(columns=rows.columns.cut(begin, end)))
                    width += one * (end - begin)
                    filled += end - begin
                    row += end - begin
                    begin = end
                    if filled == PIECE_ROWS:
                        self._close(width, piece)
                        piece, width, filled = [], 0, 0
        if filled:
            self._close(width, piece)

    def _close(self, width: int, piece: list[Rows]) -> None:
        self._offsets.append(self._offsets[-1] + width + self._lines.varying_width(piece))
