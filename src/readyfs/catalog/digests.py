"""Digests of content: of parts in order.

Two catalogs are the same if their digests are, and a fingerprint is a digest that people see. So it is the same on
every machine, and depends on the content alone, not on the changes that led to it. Rows that somebody chose must not
lead to the digest of others. The blocks of a series bring digests of their own, so that a change costs the hash of few
rows: a series is the hash of its blocks' hashes in order.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

DIGEST_BYTES: Final = 16


def hash_parts(kind: bytes, parts: Iterable[bytes]) -> bytes:
    """Hash byte strings so that no two different sequences feed the hash the same bytes."""
    text = b"".join([piece for part in parts for piece in (len(part).to_bytes(4, "little"), part)])
    return blake2b(text, digest_size=DIGEST_BYTES, person=kind).digest()
