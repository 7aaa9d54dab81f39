"""What is asked over the public socket of the runs that a mount knows to be broken.

`{"op": "broken", "after": null}` is answered by some of them, in the order of their keys, and by `next`: what to ask
for `after` next, null at the end. Keys and run ids are percent-encoded, so that any bytes come through.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import quote_from_bytes, unquote_to_bytes

from readyfs.control.allowance import QUERY_BYTES
from readyfs.control.public_fields import Fields, read_text_or_null


@dataclass(frozen=True, slots=True)
class BrokenRequest:
    """Tell which runs are known to be broken, of those whose key comes after one."""

    after: str | None = None
    op: ClassVar[str] = "broken"

    @classmethod
    def parse(cls, fields: Fields) -> BrokenRequest:
        """Read it from a message."""
        return cls(read_text_or_null(fields, "after"))

    def fields(self) -> dict[str, object]:
        """Return what the message says beside the word."""
        return {"after": self.after}

    @property
    def cost_bytes(self) -> int:
        """What the user is charged with beside the bytes of the request."""
        return QUERY_BYTES


def render_parts(*parts: bytes) -> str:
    """Return names as one text from which they can be read back."""
    return "/".join(quote_from_bytes(part, safe="") for part in parts)


def parse_parts(text: str) -> tuple[bytes, ...]:
    """Return the names in a text that `render_parts` made."""
    return tuple(map(unquote_to_bytes, os.fsencode(text).split(b"/")))
