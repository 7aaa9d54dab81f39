"""Passes over directories, and positions in them that survive a refresh (V7).

A position is `(stamp << 32) | (index + 1)`: above 0 it continues behind the entry at `index` of a listing whose ordered
names have that stamp, 0 begins anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from readyfs.vfs.attributes import Entry

_INDEX_BITS: Final = 32
_INDEX_MASK: Final = (1 << _INDEX_BITS) - 1
DOTS: Final[Sequence[bytes]] = (b".", b"..")


class ListedEntry(NamedTuple):
    """One entry of a pass; `counted` is false for `.` and `..`, for which the kernel counts no lookup."""

    name: bytes
    entry: Entry
    next_position: int
    counted: bool


class Listing(NamedTuple):
    """The names of one directory in order, and what they stand for.

    `names` gives them all, `entries_from` name and answer from an index on; answers are made as they are asked for.
    `cacheable` is false where the kernel must not keep the listing.
    """

    stamp: int
    names: Callable[[], Iterable[bytes]]
    entries_from: Callable[[int], Iterator[tuple[bytes, Entry]]]
    cacheable: bool = True


@dataclass(slots=True, eq=False)  # not frozen: that makes it four times as dear, and there is one for each request
class DirectoryPass:
    """A pass over a listing behind a position: iterating gives the entries from there on, dots first.

    `expiries` is how many views had expired when it began.
    """

    listing: Listing
    dot_entry: Callable[[int], Entry]
    position: int
    expiries: int

    @property
    def cacheable(self) -> bool:
        """Whether the kernel may keep the listing."""
        return self.listing.cacheable

    def names(self) -> Iterator[bytes]:
        """Yield every name of the listing from its very beginning, dots included."""
        yield from DOTS
        yield from self.listing.names()

    def __iter__(self) -> Iterator[ListedEntry]:
        start = self.position & _INDEX_MASK
        position = (self.listing.stamp << _INDEX_BITS) + start
        for index in range(start, len(DOTS)):
            position += 1
            yield tuple.__new__(ListedEntry, (DOTS[index], self.dot_entry(index), position, False))
        for name, entry in self.listing.entries_from(max(start - len(DOTS), 0)):
            position += 1
            yield tuple.__new__(ListedEntry, (name, entry, position, True))


def position_after(stamp: int, index: int) -> int:
    """Return the position behind the entry at `index`."""
    return (stamp << _INDEX_BITS) | (index + 1)


def stamp_at(position: int) -> int | None:
    """Return the stamp in a position; None if it begins anew."""
    return position >> _INDEX_BITS if position else None
