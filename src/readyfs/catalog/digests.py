"""Digests of content: of parts in order, and of the rows of a series in blocks.

Two catalogs are the same if their digests are, and a fingerprint is a digest that people see. So it is the same on
every machine, and depends on the content alone, not on the changes that led to it. Rows that somebody chose must not
lead to the digest of others. Blocks give a series all of that at the price of few rows: rows whose dates differ only in
their lowest bits are a block, wherever else there are rows, and a series is the hash of its blocks' hashes in order.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from readyfs.series_rows import SeriesRows

DIGEST_BYTES: Final = 16
BLOCK_BITS: Final = 6
"""A block is of 64 days: half of the work is then the hash of the rows and half that of the other blocks' hashes."""
_KIND: Final = b"block"


def hash_parts(kind: bytes, parts: Iterable[bytes]) -> bytes:
    """Hash byte strings so that no two different sequences feed the hash the same bytes."""
    text = b"".join([piece for part in parts for piece in (len(part).to_bytes(4, "little"), part)])
    return blake2b(text, digest_size=DIGEST_BYTES, person=kind).digest()


def little_endian(values: array[int]) -> bytes:
    """Return numbers as bytes that are the same on every machine."""
    if sys.byteorder == "big":
        values = array(values.typecode, values)
        values.byteswap()
    return values.tobytes()


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """The numbers of the blocks in which a series has rows, sorted, and their digests, joined in that order."""

    numbers: array[int]
    digests: bytes

    @classmethod
    def of(cls, rows: SeriesRows, versions: tuple[bytes | None, ...]) -> Blocks:
        """Hash all rows; they must be sorted. `versions` has one value if it is the same for all rows."""
        dates, size = rows.dates, len(rows)
        numbers: list[int] = []
        digests: list[bytes] = []
        begin = 0
        while begin < size:
            number = dates[begin] >> BLOCK_BITS
            end = bisect_left(dates, (number + 1) << BLOCK_BITS, begin)
            numbers.append(number)
            digests.append(_hash_rows(rows, versions, begin, end))
            begin = end
        return cls(array("i", numbers), b"".join(digests))

    def patched(self, rows: SeriesRows, versions: tuple[bytes | None, ...], changed: Collection[int]) -> Blocks:
        """Return the blocks of rows that differ at no other dates from those that these blocks were made of."""
        numbers, digests = self.numbers, bytearray(self.digests)
        for number in {date >> BLOCK_BITS for date in changed}:
            begin = bisect_left(rows.dates, number << BLOCK_BITS)
            end = bisect_left(rows.dates, (number + 1) << BLOCK_BITS, begin)
            place = bisect_left(numbers, number)
            is_known = place < len(numbers) and numbers[place] == number
            digest = _hash_rows(rows, versions, begin, end) if begin < end else b""
            if is_known != bool(digest):
                kept = numbers[place + is_known :]
                numbers = numbers[:place] + (array("i", [number]) if digest else array("i")) + kept
            digests[place * DIGEST_BYTES : (place + is_known) * DIGEST_BYTES] = digest
        return Blocks(numbers, bytes(digests))


def _hash_rows(rows: SeriesRows, versions: tuple[bytes | None, ...], begin: int, end: int) -> bytes:
    """Hash the rows between two positions; what is hashed can be taken apart again, so that no two are the same."""
    run_ids = rows.run_ids[begin:end]
    own = versions if len(versions) == 1 else versions[begin:end]
    if len(set(own)) == 1:
        own = own[:1]
    texts = [b"" if version is None else b"=" + version for version in own]
    parts = (
        (end - begin).to_bytes(4, "little"),
        little_endian(rows.dates[begin:end]),
        little_endian(rows.updated_at_ns[begin:end]),
        little_endian(rows.record_counts[begin:end]),
        little_endian(array("I", map(len, run_ids))),
        *run_ids,
        little_endian(array("I", (len(texts), *map(len, texts)))),
        *texts,
    )
    return blake2b(b"".join(parts), digest_size=DIGEST_BYTES, person=_KIND).digest()
