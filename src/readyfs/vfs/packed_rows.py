"""Rows of integers and references by inode number, in a few arrays instead of an object or more for each.

Used by `packed_nodes`, under the inode table's lock. `Rows` is the port. The compiled module has a table that does the
same in less time, and lets the request loop read a row without the interpreter; `PackedRows` is the reference, and what
there is where nothing was compiled.

The rows lie in many small shards, each an open-addressing table with linear probing, so that no step of growing or
shrinking moves more than one shard's rows; a shard without rows is dropped. Hardly anything here lies in the
interpreter's own arenas, which go back to the system only when nothing else is left in them: what is dropped here can
go back.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

from readyfs import native

SHARD_BITS: Final = 10
"""So many low bits of a number choose the shard; numbers are hashes, so that all shards are of one size."""
SHARDS: Final = 1 << SHARD_BITS
SHARD_MASK: Final = SHARDS - 1
_FEWEST_SLOTS: Final = 8

Integers: TypeAlias = tuple[int, ...]
References: TypeAlias = tuple[object, ...]


class Rows(Protocol):
    """Rows by a number, each with a count, some integers (64 bits, signed) and some references.

    A number has 63 bits: one that is larger is not there. All raise `OverflowError` for an integer of a row that is too
    large, with nothing changed. References are names and kinds: nothing that leads back to the table.
    """

    def __len__(self) -> int: ...

    def __contains__(self, key: object, /) -> bool: ...

    def get(self, key: int, /) -> tuple[Integers, References] | None:
        """Return a row, None if it is not there."""
        ...

    def lookups(self, key: int, /) -> int:
        """Return a row's count, 0 if it is not there."""
        ...

    def add(self, key: int, integers: Integers, references: References, /) -> bool:
        """Add a row that is counted once; return False, with nothing changed, if the key is there."""
        ...

    def update(self, key: int, integers: Integers, references: References, /) -> bool:
        """Replace all of a row but its count; return whether it is there."""
        ...

    def count(self, key: int, change: int, /) -> References | None:
        """Change a row's count; at zero the row is gone, and its references are returned, else none.

        Returns None if it was not there.
        """
        ...

    def scan(self, shard: int, column: int, /) -> list[tuple[int, object]]:
        """Return the keys of one of the `SHARDS`, each with one of its references."""
        ...


MakeRows: TypeAlias = Callable[[int, int], Rows]
"""Makes a table whose rows have so many integers and so many references."""


class PackedRows:
    """See `Rows`."""

    def __init__(self, integers: int, references: int) -> None:
        self._integers = integers
        self._references = references
        self._shards: list[PackedShard | None] = [None] * SHARDS
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __contains__(self, key: object) -> bool:
        assert isinstance(key, int)
        shard = self._shards[key & SHARD_MASK]
        return shard is not None and shard.find(key) >= 0

    def get(self, key: int) -> tuple[Integers, References] | None:
        """See `Rows.get`."""
        shard = self._shards[key & SHARD_MASK]
        if shard is None or (slot := shard.find(key)) < 0:
            return None
        row, width, span = shard.slots[slot], shard.width, shard.span
        integers = shard.integers[row * width - self._integers : row * width]
        return tuple(integers), tuple(shard.references[row * span - span : row * span])

    def lookups(self, key: int) -> int:
        """See `Rows.lookups`."""
        shard = self._shards[key & SHARD_MASK]
        if shard is None or (slot := shard.find(key)) < 0:
            return 0
        return shard.integers[shard.slots[slot] * shard.width - shard.width + 1]

    def add(self, key: int, integers: Integers, references: References) -> bool:
        """See `Rows.add`."""
        shard = self._shards[key & SHARD_MASK]
        row = array("q", (key, 1, *integers))
        if shard is None:
            shard = self._shards[key & SHARD_MASK] = PackedShard(2 + self._integers, self._references)
        slot = shard.find(key)
        if slot >= 0:
            return False
        shard.add(slot, row, references)
        self._length += 1
        return True

    def update(self, key: int, integers: Integers, references: References) -> bool:
        """See `Rows.update`."""
        shard = self._shards[key & SHARD_MASK]
        if shard is None or (slot := shard.find(key)) < 0:
            return False
        row, width, span = shard.slots[slot], shard.width, shard.span
        shard.integers[row * width - self._integers : row * width] = array("q", integers)
        shard.references[row * span - span : row * span] = references
        return True

    def count(self, key: int, change: int) -> References | None:
        """See `Rows.count`."""
        at = key & SHARD_MASK
        shard = self._shards[at]
        if shard is None or (slot := shard.find(key)) < 0:
            return None
        counted = (shard.slots[slot] - 1) * shard.width + 1
        left = shard.integers[counted] + change
        if left > 0:
            shard.integers[counted] = left
            return ()
        self._length -= 1
        first = (shard.slots[slot] - 1) * shard.span
        references = tuple(shard.references[first : first + shard.span])
        if len(shard) == 1:
            self._shards[at] = None
        else:
            shard.remove(slot)
        return references

    def scan(self, shard: int, column: int) -> list[tuple[int, object]]:
        """See `Rows.scan`."""
        found = self._shards[shard]
        if found is None:
            return []
        return list(zip(found.integers[:: found.width], found.references[column :: found.span], strict=True))


compiled_rows: Final[MakeRows | None] = native.module.Rows if native.module is not None else None
"""Makes a table of the compiled module, if there is that."""


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

    def add(self, slot: int, integers: array[int], references: References) -> None:
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
