"""Digests of content: of parts in order.

Two catalogs are the same if their digests are, and a fingerprint is a digest that people see. So it is the same on
every machine, and depends on the content alone, not on the changes that led to it. Rows that somebody chose must not
lead to the digest of others. The blocks of a series bring digests of their own, so that a change costs the hash of few
rows: a series is the hash of its blocks' hashes in order. A fingerprint begins with the version of all this, so that
two releases that hash in other ways never take one catalog for another.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

DIGEST_BYTES: Final = 16
FINGERPRINT_VERSION: Final = 1
"""To be raised with whatever changes the fingerprint of a catalog that stays the same: tests hold written-down ones."""


def hash_parts(kind: bytes, parts: Iterable[bytes]) -> bytes:
    """Hash byte strings so that no two different sequences feed the hash the same bytes."""
    text = b"".join([piece for part in parts for piece in (len(part).to_bytes(4, "little"), part)])
    return blake2b(text, digest_size=DIGEST_BYTES, person=kind).digest()


def make_fingerprint(settings: Iterable[bytes], content: bytes) -> str:
    """Return the fingerprint of content under settings: two hex digits of the version, then thirty of the hash."""
    version = bytes((FINGERPRINT_VERSION,))
    return (version + hash_parts(b"catalog", (version, *settings, content))[: DIGEST_BYTES - 1]).hex()
