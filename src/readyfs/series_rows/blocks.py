"""Blocks: the rows of one series whose dates differ only in their lowest bits, shared by all who have the same rows.

A block depends on nothing outside it, and on its rows alone, not on the changes that led to them. So a change makes few
blocks anew, and whoever keeps the rows as they were keeps these blocks and nothing else. Nor is a block copied for the
sake of few rows: it is a range of columns that it may share with other blocks, and the rows that stand in place of some
of these or between them. Once they are many, or some are gone, the block gets columns of its own.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain, islice
from operator import attrgetter, is_
from typing import Final

from readyfs.series_rows.columns import Columns, Row

DIGEST_BYTES: Final = 16
BLOCK_BITS: Final = 6
"""A block is of 64 days: half of the work is then the hash of the rows and half that of the other blocks' hashes."""
_PATCH_ROWS: Final = 24
"""With more rows than these in place of others, or between them, a block gets columns of its own."""
_HASH: Final = blake2b(digest_size=DIGEST_BYTES, person=b"block")
_NOTHING: Final = Columns.of(())
_number: Final = attrgetter("number")
_digest: Final = attrgetter("digest")

Blocks = tuple["Block", ...]
"""The blocks in which a series has rows, sorted by number."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """The rows of the dates that have this number but for their lowest bits.

    `digest` is the hash of the rows. They are those of `base` from `begin` to `end`, with those of `patch` in place of
    those of the same dates.
    """

    number: int
    digest: bytes
    size: int
    base: Columns
    begin: int
    end: int
    patch: Columns | None = None

    def __len__(self) -> int:
        return self.size

    def columns(self) -> Columns:
        """Return the rows."""
        if self.patch is None:
            return self.base.cut(self.begin, self.end)
        return self.base.with_rows(self.patch, self.begin, self.end)

    def row(self, date: int) -> Row | None:
        """Return the row of a date, or None."""
        patch = self.patch
        if patch is not None:
            dates = patch.dates
            place = bisect_left(dates, date)
            if place < len(dates) and dates[place] == date:
                return patch.row(place)
        dates, end = self.base.dates, self.end
        place = bisect_left(dates, date, self.begin, end)
        return self.base.row(place) if place < end and dates[place] == date else None

    def at(self, index: int) -> Row:
        """Return the row at a position of the sorted dates."""
        return self.base.row(self.begin + index) if self.patch is None else self.columns().row(index)

    def has_runs_of(self, other: Block) -> bool:
        """Tell whether both have the same dates, each with the same run id."""
        if self.size != other.size:
            return False
        for date, run_id, *_ in self.patch or ():  # what differs stands here most often
            row = other.row(date)
            if row is None or row[1] != run_id:
                return False
        mine, theirs = self.columns(), other.columns()
        return mine.dates == theirs.dates and mine.run_ids == theirs.run_ids

    def differing_dates(self, other: Block) -> set[int]:
        """Return the dates at which one has a row that the other does not have."""
        if self.base is other.base and (self.begin, self.end) == (other.begin, other.end):
            patches = {date for block in (self, other) if block.patch is not None for date in block.patch.dates}
            return {date for date in patches if self.row(date) != other.row(date)}
        mine, theirs = self.columns(), other.columns()
        return {date for date, *_ in {*mine} ^ {*theirs}}

    def patched(self, rows: Columns, gone: Set[int]) -> Block | None:
        """Return the block with these rows in place of those of the same dates, and without the dates that are gone.

        None if nothing is left. The rows must be sorted and none of them may be gone.
        """
        patch = rows if self.patch is None else self.patch.with_rows(rows, 0, len(self.patch))
        now = self.base.with_rows(patch, self.begin, self.end)
        if gone:
            now = now.without(gone)
            return _alone(self.number, now) if now else None
        if len(patch) > _PATCH_ROWS:
            return _alone(self.number, now)
        size = len(now)
        return Block(self.number, _hash_rows(now), size, self.base, self.begin, self.end, patch.shared())

    def alone(self) -> Block:
        """Return the block with columns of its own."""
        rows = self.columns().shared()
        return Block(self.number, self.digest, self.size, rows, 0, self.size)


def make_blocks(rows: Columns) -> Blocks:
    """Return the blocks of rows, which must be sorted and without duplicates, as ranges of these columns."""
    dates, size = rows.dates, len(rows)
    hash_rows = _hasher(rows)
    blocks: list[Block] = []
    begin = 0
    while begin < size:
        number = dates[begin] >> BLOCK_BITS
        end = bisect_left(dates, (number + 1) << BLOCK_BITS, begin)
        blocks.append(Block(number, hash_rows(begin, end), end - begin, rows, begin, end))
        begin = end
    return tuple(blocks)


def patch_blocks(blocks: Blocks, rows: Columns, gone: Set[int]) -> Blocks:
    """Do for all blocks of a series what `Block.patched` does for one; those without a change stay the same objects."""
    now = list(blocks)
    is_loose = False
    for number in {date >> BLOCK_BITS for date in chain(rows.dates, gone)}:
        begin = bisect_left(rows.dates, number << BLOCK_BITS)
        end = bisect_left(rows.dates, (number + 1) << BLOCK_BITS, begin)
        came = rows if end - begin == len(rows) else rows.cut(begin, end)
        place = bisect_left(now, number, key=_number)
        if place == len(now) or now[place].number != number:
            if came:
                now.insert(place, _alone(number, came))
            continue
        block = now[place].patched(came, {date for date in gone if date >> BLOCK_BITS == number} if gone else gone)
        is_loose = is_loose or block is None or block.base is not now[place].base
        now[place : place + 1] = [] if block is None else [block]
    return tuple(_tidied(now) if is_loose else now)


def find_row(blocks: Blocks, date: int) -> Row | None:
    """Return the row of a date, or None."""
    if not blocks:
        return None
    number = date >> BLOCK_BITS
    place = number - blocks[0].number  # it is there if none is missing
    if not 0 <= place < len(blocks) or blocks[place].number != number:
        place = bisect_left(blocks, number, key=_number)
        if place == len(blocks) or blocks[place].number != number:
            return None
    return blocks[place].row(date)


def rows_from(blocks: Blocks, index: int) -> Iterator[Row]:
    """Yield the rows from a position of the sorted dates on."""
    for block in blocks:
        if index < block.size:
            yield from islice(block.columns(), index, None)
            index = 0
        else:
            index -= block.size


def join_blocks(blocks: Blocks) -> Columns:
    """Return all rows; where blocks are all of the columns that they share, these columns."""
    base = blocks[0].base if blocks else _NOTHING
    if all(block.base is base and block.patch is None for block in blocks) and len(base) == sum(map(len, blocks)):
        return base
    parts = [block.columns() for block in blocks]
    dates, updated_at_ns, record_counts = array("i"), array("q"), array("q")
    for part in parts:
        dates.extend(part.dates)
        updated_at_ns.extend(part.updated_at_ns)
        record_counts.extend(part.record_counts)
    return Columns(
        dates,
        tuple(chain.from_iterable(part.run_ids for part in parts)),
        updated_at_ns,
        record_counts,
        tuple(chain.from_iterable(part.versions(0, len(part)) for part in parts)),
    )


def share_blocks(blocks: Blocks, known: Blocks) -> Blocks:
    """Return equal blocks, and where one is known already that one."""
    if any(map(is_, blocks, known)):
        return blocks  # they come from the same ones, and share what they can
    by_digest = dict(zip(map(_digest, known), known, strict=True))
    return tuple([by_digest.get(block.digest, block) for block in blocks])


def digests_of(blocks: Blocks) -> bytes:
    """Return the digests, joined."""
    return b"".join(map(_digest, blocks))


def little_endian(values: array[int]) -> bytes:
    """Return numbers as bytes that are the same on every machine."""
    if sys.byteorder == "big":
        values = array(values.typecode, values)
        values.byteswap()
    return values.tobytes()


def _alone(number: int, rows: Columns) -> Block:
    return Block(number, _hash_rows(rows), len(rows), rows.shared(), 0, len(rows))


def _tidied(blocks: Sequence[Block]) -> Iterator[Block]:
    """Yield the blocks, none of them in columns of which not even half is in use."""
    used: Counter[int] = Counter()
    for block in blocks:
        used[id(block.base)] += block.end - block.begin
    for block in blocks:
        yield block.alone() if used[id(block.base)] * 2 < len(block.base) else block


def _hash_rows(rows: Columns) -> bytes:
    """Return the hash of rows."""
    return _hasher(rows)(0, len(rows))


def _hasher(rows: Columns) -> Callable[[int, int], bytes]:
    """Return what hashes the rows between two positions.

    What is hashed can be taken apart again, so that no two are the same. Columns become bytes once for all blocks: most
    series are of few rows or of many blocks.
    """
    run_ids, versions, are_alike = rows.run_ids, rows.schema_versions, len(rows.schema_versions) == 1
    dates, updated_at_ns, record_counts = map(little_endian, (rows.dates, rows.updated_at_ns, rows.record_counts))
    run_sizes = little_endian(array("I", map(len, run_ids)))

    def hash_rows(begin: int, end: int) -> bytes:
        own = versions if are_alike else versions[begin:end]
        if not are_alike and own.count(own[0]) == len(own):
            own = own[:1]
        texts = [b"" if version is None else b"=" + version for version in own]
        parts = (
            (end - begin).to_bytes(4, "little"),
            dates[4 * begin : 4 * end],
            updated_at_ns[8 * begin : 8 * end],
            record_counts[8 * begin : 8 * end],
            run_sizes[4 * begin : 4 * end],
            *run_ids[begin:end],
            little_endian(array("I", (len(texts), *map(len, texts)))),
            *texts,
        )
        found = _HASH.copy()
        found.update(b"".join(parts))
        return found.digest()

    return hash_rows
