"""Columns of a block: integers and texts laid out so that they deflate well, each part deflated by itself.

A column of integers is stored as planes: all lowest bytes, then all second bytes, and so on; a plane of one value alone
takes no room. Texts of one length are stored in the same way, character by character.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

NULL: Final = -(1 << 63)
"""Stands for what is not known, where every other integer means something."""

_LEVEL: Final = 6


@dataclass(slots=True)
class Sections:
    """The parts of a block, in order: how long each is, and its deflated bytes.

    All of them behind each other, and then `END`, are one raw deflate stream.
    """

    lengths: dict[str, int] = field(default_factory=dict)
    columns: dict[str, list[int | None]] = field(default_factory=dict)
    deflated: list[bytes] = field(default_factory=list)

    @property
    def size(self) -> int:
        """How many deflated bytes there are."""
        return sum(map(len, self.deflated))

    def extend(self, others: Sections) -> None:
        """Add the parts of others."""
        self.lengths |= others.lengths
        self.columns |= others.columns
        self.deflated += others.deflated

    def add(self, name: str, content: bytes) -> None:
        """Add a part."""
        self.lengths[name] = len(content)
        self.deflated.append(deflate(content))

    def add_integers(self, name: str, values: array[int]) -> None:
        """Add a column of 64 bit integers."""
        if sys.byteorder == "big":
            values = values[:]
            values.byteswap()
        content = values.tobytes()
        planes: list[int | None] = []
        varying = []
        for place in range(8):
            plane = content[place::8]
            if not plane:
                planes.append(0)
            elif plane.count(plane[0]) == len(plane):
                planes.append(plane[0])
            else:
                planes.append(None)
                varying.append(plane)
        self.columns[name] = planes
        self.add(name, b"".join(varying))


def deflate(content: bytes) -> bytes:
    """Return a piece of a raw deflate stream, which ends on a whole byte and refers to nothing before it."""
    stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return stream.compress(content) + stream.flush(zlib.Z_FULL_FLUSH)


END: Final = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS).flush()
"""Ends a raw deflate stream."""


def transpose(texts: Iterable[bytes], length: int) -> bytes:
    """Return texts of one length: all first bytes, then all second ones, and so on."""
    joined = b"".join(texts)
    return b"".join(joined[place::length] for place in range(length))
