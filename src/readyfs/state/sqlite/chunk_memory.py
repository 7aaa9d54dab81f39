"""What a store remembers of a table that it reads in chunks: the content of each chunk, and the ready rows of all.

A chunk whose content hashes to what it was is not looked into. Of the others the former content is at hand, compressed,
and so only those rows are parsed that differ: those that stand there no more, and those that came. What they change is
patched into the series.
"""

from __future__ import annotations

import marshal
import zlib
from collections.abc import Collection, Iterable, Sequence
from hashlib import blake2b
from itertools import islice
from struct import Struct
from typing import Final, NamedTuple, TypeAlias

from readyfs.partition import ChangedDates, SeriesKey, WithheldTally
from readyfs.series_rows import SeriesRows
from readyfs.state.filters import Filters
from readyfs.state.rows.columns import Cells, Chunk, find_differing, join_cells, join_chunks
from readyfs.state.rows.parser import Row, RowParser
from readyfs.state.rows.vocabulary import Vocabulary

Content: TypeAlias = Chunk | list[Row]
"""The ready rows of a chunk: columns where they can be split again, else cells as the driver gave them."""

_NO_ROWS: Final = SeriesRows.of(())
_MARSHAL_VERSION: Final = 2
"""Later ones write references, so that equal values need not give equal bytes."""
_HEAD: Final = Struct("=9I")
"""How many rows a chunk has, and how long each of its columns is."""
_BLOCK_ROWS: Final = 2048
"""So many rows are parsed at once. More make it no quicker and keep the interpreter from readers."""
_BLOCK_CHUNKS: Final = 16
"""About as many rows."""


class NotPatchableError(Exception):
    """A row stands where another one stood that did not change: only a whole load can tell what is there."""


class PackedChunk(NamedTuple):
    """The number of a chunk, the hash of its content, and the content, compressed: columns, or else cells."""

    number: int
    digest: bytes
    is_columns: bool
    data: bytes

    def unpack(self) -> Content:
        """Return the content."""
        # It reads back only what `pack` wrote in this process.
        data = zlib.decompress(self.data)
        if not self.is_columns:
            cells: list[Row] = marshal.loads(data)
            return cells
        rows, *sizes = _HEAD.unpack_from(data)
        columns, begin = [], _HEAD.size
        for size in sizes:
            columns.append(data[begin : begin + size])
            begin += size
        return Chunk(rows, *columns)


class _Arrival(NamedTuple):
    """The rows that came into a chunk, and all that it has now."""

    number: int
    came: list[Cells]
    content: Chunk


class ChunkMemory:
    """The chunks and ready rows as of the last load. One thread at a time uses it."""

    def __init__(self, ready: str, filters: Filters) -> None:
        self._ready = ready
        self._vocabulary = Vocabulary(filters)
        self.clear()

    def clear(self) -> None:
        """Know nothing: every chunk has changed."""
        self._chunks: dict[int, PackedChunk] = {}
        self._withheld: dict[int, WithheldTally] = {}
        self._served = 0
        self._has_duplicates = False
        self.series: dict[SeriesKey, SeriesRows] = {}

    @property
    def rows(self) -> int:
        """How many ready rows passed the filters, withheld ones included."""
        return self._served + self.withheld().total()

    @property
    def has_duplicates(self) -> bool:
        """Whether a partition stands twice, so that nothing can be patched."""
        return self._has_duplicates

    def withheld(self) -> WithheldTally:
        """Return what is withheld in all chunks."""
        withheld = WithheldTally()
        for _, tally in sorted(self._withheld.items()):
            withheld.merge(tally)
        return withheld

    def pack(self, number: int, content: Content) -> PackedChunk | None:
        """Return a chunk for `update`, None if it is what it was."""
        if isinstance(content, Chunk):
            rows, *columns = content
            is_columns, data = True, _HEAD.pack(rows, *map(len, columns)) + b"".join(columns)
        else:
            is_columns, data = False, marshal.dumps(content, _MARSHAL_VERSION)
        digest = blake2b(data, digest_size=16, person=b"columns" if is_columns else b"cells").digest()
        known = self._chunks.get(number)
        if known is not None and known.digest == digest:
            return None
        return PackedChunk(number, digest, is_columns, zlib.compress(data, 1))

    def update(self, changed: Iterable[PackedChunk], present: Iterable[int]) -> ChangedDates | None:
        """Take in chunks that changed; `present` are the numbers of all that there are now.

        Returns the dates that changed, None if nothing was known before. Raises `NotPatchableError`, after which
        everything must be forgotten.
        """
        self._vocabulary.prune()
        if not self._chunks:
            self._take_all(changed)
            return None
        gone, came = self._parser(), self._parser()
        self._compare(changed, gone, came)
        for number in self._chunks.keys() - set(present):
            _feed(gone, self._chunks.pop(number).unpack())
            self._note_withheld(number, WithheldTally())
        return self._patch(gone.series(), came)

    def _take_all(self, chunks: Iterable[PackedChunk]) -> None:
        parser = self._parser()
        waiting = iter(chunks)
        while block := list(islice(waiting, _BLOCK_CHUNKS)):
            contents = [chunk.unpack() for chunk in block]
            plain = [content for content in contents if isinstance(content, Chunk)]
            if len(plain) < len(block) or not parser.try_chunk(join_chunks(plain)):
                for chunk, content in zip(block, contents, strict=True):
                    _feed(parser, content)
                    self._note_withheld(chunk.number, parser.take_withheld())
            self._chunks.update((chunk.number, chunk) for chunk in block)
        self.series = parser.series()
        self._has_duplicates = parser.has_duplicates
        self._served = sum(map(len, self.series.values()))

    def _compare(self, changed: Iterable[PackedChunk], gone: RowParser, came: RowParser) -> None:
        """Feed the rows of chunks that changed to one parser or the other, where the same row is not in both states."""
        left: list[Cells] = []
        arrivals: list[_Arrival] = []
        size = 0
        for chunk in changed:
            before, after = self._chunks.get(chunk.number), chunk.unpack()
            self._chunks[chunk.number] = chunk
            content: Content = [] if before is None else before.unpack()
            if isinstance(content, Chunk) and isinstance(after, Chunk):
                went, entered = find_differing(content, after)
                left += went
                arrivals.append(_Arrival(chunk.number, entered, after))
                size += len(went) + len(entered)
                if size >= _BLOCK_ROWS:
                    self._take_differing(left, arrivals, gone, came)
                    left, arrivals, size = [], [], 0
            else:
                _feed(gone, content)
                _feed(came, after)
                self._note_withheld(chunk.number, came.take_withheld())
        self._take_differing(left, arrivals, gone, came)

    def _take_differing(
        self, left: Sequence[Cells], arrivals: Sequence[_Arrival], gone: RowParser, came: RowParser
    ) -> None:
        if left:
            gone.feed_chunk(join_cells(left))
        entered = [row for arrival in arrivals for row in arrival.came]
        is_plain = not entered or came.try_chunk(join_cells(entered))
        for arrival in arrivals:
            if not is_plain and arrival.came:
                came.feed_chunk(join_cells(arrival.came))
            if came.take_withheld().counts or arrival.number in self._withheld:
                # What is withheld is counted by chunk.
                parser = self._parser()
                parser.feed_chunk(arrival.content)
                self._note_withheld(arrival.number, parser.take_withheld())

    def _patch(self, gone: dict[SeriesKey, SeriesRows], parser: RowParser) -> ChangedDates:
        """Put the rows that came in place of those that stand there, and take away those that are gone."""
        came = parser.series()
        if parser.has_duplicates:
            raise NotPatchableError
        changed: dict[SeriesKey, Collection[int]] = {}
        for key in gone.keys() | came.keys():
            held, read = self.series.get(key, _NO_ROWS), came.get(key, _NO_ROWS)
            left = set(gone.get(key, _NO_ROWS).dates)
            if any(date not in left and held.holds(date) for date in read.dates):
                raise NotPatchableError
            left.difference_update(read.dates)
            # A row that moved, or that is written in another way, means what it meant.
            differing = held.differing(read)
            if not left and not differing:
                continue
            fresh = read if len(differing) == len(read) else read.take(differing)
            changed[key] = left.union(fresh.dates)
            rows = held.patched(fresh, left)
            self._served += len(rows) - len(held)
            if len(rows):
                self.series[key] = rows
            else:
                self.series.pop(key, None)
        return changed

    def _parser(self) -> RowParser:
        return RowParser(self._ready, self._vocabulary)

    def _note_withheld(self, number: int, tally: WithheldTally) -> None:
        if tally.counts:
            self._withheld[number] = tally
        else:
            self._withheld.pop(number, None)


def _feed(parser: RowParser, content: Content) -> None:
    if isinstance(content, Chunk):
        parser.feed_chunk(content)
    else:
        parser.feed(content)
