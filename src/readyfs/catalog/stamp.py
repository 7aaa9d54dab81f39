"""The stamp of a listing: 31 bits that stand for the ordered names of a directory (V7).

A position in a listing holds the stamp, so it is good for as long as the names are the same, whatever else changed.
Two different lists of names have one stamp once in 2**31.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

STAMP_BITS: Final = 31
_HASH: Final = blake2b(digest_size=4)


def stamp_of(names: bytes) -> int:
    """Return the stamp of names, given as bytes that are the same for the same names in the same order alone.

    No names are no bytes, so that every empty directory has one stamp.
    """
    digest = _HASH.copy()
    digest.update(names)
    return int.from_bytes(digest.digest(), "little") >> (32 - STAMP_BITS)
