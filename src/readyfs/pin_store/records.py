"""Small files of a pin store: a line that says what it is, with a checksum, and a line of JSON.

Whoever may write the store may write anything. So what is read is checked whole, and trusted in nothing but its form.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Final

from readyfs.pin_store.words import DamagedStoreError

FORMAT: Final = 1
"""The version of everything in a store."""
MOST_BYTES: Final = 1 << 20
_HEAD: Final = re.compile(rb"readyfs ([a-z-]{1,20}) (\d{1,9}) ([0-9a-f]*)", re.ASCII)
MOST_SECONDS: Final = 1e10
"""The longest duration that is written."""
_MOST_TIME_NS: Final = 253_000_000_000 * 1_000_000_000
_MOST_USER: Final = 2**32 - 1
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)


class OtherFormatError(DamagedStoreError):
    """It is of another version of readyfs; the text says of which format."""


Body = Mapping[str, object]


def render_record(kind: str, body: Body) -> bytes:
    """Return a record as bytes."""
    # Plain `json`: a text that is not UTF-8 must survive (as escaped surrogates).
    text = json.dumps(body, separators=(",", ":"), sort_keys=True).encode("ascii") + b"\n"
    return f"readyfs {kind} {FORMAT} {_checksum(text)}\n".encode("ascii") + text


def parse_record(kind: str, content: bytes) -> Body:
    """Return the body of a record; raise `DamagedStoreError`."""
    head, _, text = content.partition(b"\n")
    match = _HEAD.fullmatch(head)
    if match is None or match[1].decode() != kind:
        raise DamagedStoreError(f"the {kind} does not hold what was written there")
    if int(match[2]) != FORMAT:
        raise OtherFormatError(f"the {kind} is of format {int(match[2])}, and this readyfs reads {FORMAT}")
    if match[3].decode() != _checksum(text):
        raise DamagedStoreError(f"the {kind} does not hold what was written there")
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedStoreError(f"the {kind} makes no sense") from error
    if not isinstance(body, dict):
        raise DamagedStoreError(f"the {kind} makes no sense")
    return body


def is_fingerprint(text: str) -> bool:
    """Tell whether a text can be the fingerprint of a catalog."""
    return _FINGERPRINT.fullmatch(text) is not None


# What a body holds; each raises `ValueError` for anything else.


def as_text(value: object, most: int = 10_000) -> str:
    """Return a text."""
    if not isinstance(value, str) or len(value) > most:
        raise ValueError("no text")
    return value


def as_fingerprint(value: object) -> str:
    """Return a fingerprint."""
    if not is_fingerprint(as_text(value)):
        raise ValueError("no fingerprint")
    return as_text(value)


def as_holder(value: object) -> str:
    """Return what tells a mount from all others."""
    return as_fingerprint(value)  # as many digits


def as_seconds(value: object) -> float:
    """Return a duration."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST_SECONDS:
        raise ValueError("no duration")
    return float(value)


def as_number(value: object, most: int, least: int = 0) -> int:
    """Return a whole number between bounds, both inclusive."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError("no number")
    return value


def as_time_ns(value: object) -> int:
    """Return a time of day that can be shown, in nanoseconds since the epoch."""
    return as_number(value, _MOST_TIME_NS, -62_000_000_000 * 1_000_000_000)


def as_user(value: object) -> int:
    """Return a user id."""
    return as_number(value, _MOST_USER)


def _checksum(text: bytes) -> str:
    return hashlib.blake2b(text, digest_size=32).hexdigest()
