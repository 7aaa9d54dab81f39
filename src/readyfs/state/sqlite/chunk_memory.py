"""What a store remembers of a table that it reads in chunks: the content of each chunk, and the ready rows of all.

A chunk whose content hashes to what it was is not looked into. The others are parsed, and because each chunk's rows are
remembered, it is known which rows came, changed or went; only the series of those are made anew (patched).
"""

from __future__ import annotations

import marshal
import zlib
from array import array
from collections import defaultdict
from collections.abc import Collection, Iterable
from hashlib import blake2b
from typing import Any, Final, NamedTuple, TypeAlias

from readyfs.partition import ChangedDates, SeriesKey, WithheldTally
from readyfs.series_rows import SeriesRows
from readyfs.state.filters import Filters
from readyfs.state.rows.columns import Chunk
from readyfs.state.rows.parser import Row, RowParser
from readyfs.state.rows.vocabulary import Vocabulary

Content: TypeAlias = Chunk | list[Row]
"""The ready rows of a chunk: columns where they can be split again, else cells as the driver gave them."""

_NO_ROWS: Final = SeriesRows.of(())
_MARSHAL_VERSION: Final = 2
"""Later ones write references, so that equal values need not give equal bytes."""


class NotPatchableError(Exception):
    """A row stands where another one stood that did not change: only a whole load can tell what is there."""


class PackedChunk(NamedTuple):
    """The number of a chunk, the hash of its content, and the content, compressed: it waits for a transaction's end."""

    number: int
    digest: bytes
    content: bytes


class ChunkMemory:
    """The chunks and ready rows as of the last load. One thread at a time uses it."""

    def __init__(self, ready: str, filters: Filters) -> None:
        self._ready = ready
        self._vocabulary = Vocabulary(filters)
        self.clear()

    def clear(self) -> None:
        """Know nothing: every chunk has changed."""
        self._digests: dict[int, bytes] = {}
        self._members: dict[int, array[int]] = {}
        self._withheld: dict[int, WithheldTally] = {}
        self._rows = 0
        self._has_duplicates = False
        self.series: dict[SeriesKey, SeriesRows] = {}

    @property
    def rows(self) -> int:
        """How many ready rows passed the filters, withheld ones included."""
        return sum(map(len, self._members.values())) + self.withheld().total()

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
        cells: Any = content
        data = marshal.dumps((isinstance(content, Chunk), tuple(cells)), _MARSHAL_VERSION)
        digest = blake2b(data, digest_size=16).digest()
        if self._digests.get(number) == digest:
            return None
        return PackedChunk(number, digest, zlib.compress(data, 1))

    def update(self, changed: Iterable[PackedChunk], present: Iterable[int]) -> ChangedDates | None:
        """Take in chunks that changed; `present` are the numbers of all that there are now.

        Returns the dates that changed, None if nothing was known before. Raises `NotPatchableError`, after which
        everything must be forgotten.
        """
        self._vocabulary.prune()
        is_first = not self._digests
        parser = RowParser(self._ready, self._vocabulary)
        went: set[int] = set()
        came: set[int] = set()
        for chunk in changed:
            _feed(parser, chunk.content)
            members = parser.take_members()
            if not is_first:
                # Chunk by chunk: sets of the whole table would hold the interpreter for half a second.
                before, after = set(self._members.get(chunk.number, ())), set(members)
                went |= before - after
                came |= after - before
            self._digests[chunk.number], self._members[chunk.number] = chunk.digest, members
            self._note_withheld(chunk.number, parser.take_withheld())
        for number in self._digests.keys() - set(present):
            went.update(self._members.pop(number))
            del self._digests[number]
            self._note_withheld(number, WithheldTally())
        series = parser.series()
        if is_first:
            self.series = series
            self._has_duplicates = parser.has_duplicates
            return None
        if parser.has_duplicates:
            raise NotPatchableError
        return self._patch(series, went, came)

    def _patch(self, series: dict[SeriesKey, SeriesRows], went: set[int], came: set[int]) -> ChangedDates:
        """Put the rows of `series` in place of those that stand there, and take away those that left their chunks."""
        keys = self._vocabulary.series.keys_by_number
        for member in came - went:
            held = self.series.get(keys[member >> 32])
            if held is not None and held.holds(member & 0xFFFFFFFF):
                raise NotPatchableError
        gone: defaultdict[SeriesKey, set[int]] = defaultdict(set)
        for member in went - came:
            gone[keys[member >> 32]].add(member & 0xFFFFFFFF)
        changed: dict[SeriesKey, Collection[int]] = {}
        for key in series.keys() | gone.keys():
            held, read = self.series.get(key, _NO_ROWS), series.get(key, _NO_ROWS)
            # Most rows of a chunk that changed did not.
            differing = held.differing(read)
            if key not in gone and not differing:
                continue
            came_or_changed = read.take(differing)
            changed[key] = {*came_or_changed.dates, *gone.get(key, ())}
            rows = held.patched(came_or_changed, gone.get(key, frozenset()))
            if len(rows):
                self.series[key] = rows
            else:
                self.series.pop(key, None)
        return changed

    def _note_withheld(self, number: int, tally: WithheldTally) -> None:
        if tally.counts:
            self._withheld[number] = tally
        else:
            self._withheld.pop(number, None)


def _feed(parser: RowParser, content: bytes) -> None:
    # It reads back only what `pack` wrote in this process.
    is_chunk, cells = marshal.loads(zlib.decompress(content))
    if is_chunk:
        parser.feed_chunk(Chunk(*cells))
    else:
        parser.feed(cells)
