"""Rows of integers and references by inode number, in a few arrays instead of an object or more for each.

Used by `packed_nodes`, under the inode table's lock. The rows lie in many small shards, each an open-addressing table
with linear probing, so that no step of growing or shrinking moves more than one shard's rows; a shard without rows is
dropped. Hardly anything here lies in the interpreter's own arenas, which go back to the system only when nothing else
is left in them: what is dropped here can go back.
"""

from __future__ import annotations

from array import array
from typing import Final

SHARD_BITS: Final = 10
"""So many low bits of a number choose the shard; numbers are hashes, so that all shards are of one size."""
SHARDS: Final = 1 << SHARD_BITS
SHARD_MASK: Final = SHARDS - 1
_FEWEST_SLOTS: Final = 8


class PackedShard:
    """Rows of `width` integers (64 bits, signed) and `span` references, close together, and where each begins.

    The first integer of a row is its key. `slots` holds the number of a row plus one, 0 where there is none, at the
    first free place from the one that the key hashes to.
    """

    __slots__ = ("integers", "references", "slots", "span", "width")

    def __init__(self, width: int, span: int) -> None:
        self.width = width
        self.span = span
        self.integers: array[int] = array("q")
        self.references: list[object] = []
        self.slots = _slots(_FEWEST_SLOTS)

    def __len__(self) -> int:
        return len(self.integers) // self.width

    def find(self, key: int) -> int:
        """Return the slot of a key, or if it is not there -1 minus the slot that is free for it."""
        slots, integers, width = self.slots, self.integers, self.width
        mask = len(slots) - 1
        slot = key >> SHARD_BITS & mask
        while row := slots[slot]:
            if integers[row * width - width] == key:
                return slot
            slot = slot + 1 & mask
        return -1 - slot

    def add(self, slot: int, integers: tuple[int, ...], references: tuple[object, ...]) -> None:
        """Add a row whose key was not found; `slot` is what `find` returned."""
        row = len(self.integers) // self.width + 1
        self.slots[-1 - slot] = row
        self.integers.extend(integers)
        self.references.extend(references)
        if row * 3 > len(self.slots) * 2:
            self._rebuild(len(self.slots) * 2)

    def remove(self, slot: int) -> None:
        """Remove the row of a slot; the last one takes its place."""
        slots, integers, references, width, span = self.slots, self.integers, self.references, self.width, self.span
        row, last = slots[slot] - 1, len(integers) // width - 1
        if row != last:
            slots[self.find(integers[last * width])] = row + 1
            integers[row * width : (row + 1) * width] = integers[last * width :]
            references[row * span : (row + 1) * span] = references[last * span :]
        del integers[last * width :], references[last * span :]
        self._free(slot)
        if last * 8 < len(slots) > _FEWEST_SLOTS:
            self.integers = integers[:]  # an array keeps what it once needed: only a copy is as small as its content
            self._rebuild(len(slots) // 2)

    def _free(self, slot: int) -> None:
        """Free a slot, moving up what stands behind it only because it was taken."""
        slots, integers, width = self.slots, self.integers, self.width
        mask = len(slots) - 1
        behind = slot + 1 & mask
        while row := slots[behind]:
            wanted = integers[row * width - width] >> SHARD_BITS & mask
            if behind - wanted & mask >= behind - slot & mask:
                slots[slot] = row
                slot = behind
            behind = behind + 1 & mask
        slots[slot] = 0

    def _rebuild(self, length: int) -> None:
        slots = self.slots = _slots(length)
        mask = length - 1
        for row, key in enumerate(self.integers[:: self.width], 1):
            slot = key >> SHARD_BITS & mask
            while slots[slot]:
                slot = slot + 1 & mask
            slots[slot] = row


def _slots(length: int) -> array[int]:
    """Return empty slots, wide enough for the numbers of as many rows."""
    code = "H" if length <= 1 << 16 else "I"
    return array(code, bytes(length * array(code).itemsize))
