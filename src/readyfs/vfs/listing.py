"""Frozen listings, and positions in them that survive a refresh (V7).

A position is `(revision << 32) | (index + 1)`: above 0 it continues in the listing of that revision, 0 begins anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from readyfs.vfs.attributes import Entry

_INDEX_BITS: Final = 32
_INDEX_MASK: Final = (1 << _INDEX_BITS) - 1


@dataclass(frozen=True, slots=True)
class Listing:
    """The entries of one directory as of one revision.

    `count` entries, of which `entry_at(index)` gives name and answer; the answers are made when they are asked for.
    """

    revision: int
    count: int
    entry_at: Callable[[int], tuple[bytes, Entry]]


@dataclass(frozen=True, slots=True)
class ListedEntry:
    """One entry of a pass; `counted` is false for `.` and `..`, for which the kernel counts no lookup."""

    name: bytes
    entry: Entry
    next_position: int
    counted: bool


DOTS: Final[Sequence[bytes]] = (b".", b"..")


def position_after(revision: int, index: int) -> int:
    """Return the position behind the entry at `index`."""
    return (revision << _INDEX_BITS) | (index + 1)


def split_position(position: int) -> tuple[int, int]:
    """Return the revision and the index of the next entry."""
    return position >> _INDEX_BITS, position & _INDEX_MASK
