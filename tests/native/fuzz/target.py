"""What a fuzzer does: episodes, each from a seed alone, that end with a difference or without."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Final, Protocol

JOURNAL: Final = "journal"
COUNTS: Final = "counts.json"
"""Files in which a fuzzer says what it tries, and how far it came."""


class Difference(Exception):
    """The compiled module does not do what Python does."""


class Journal:
    """What is being tried: kept in a file that outlives a crash."""

    ROOM = 1 << 16

    def __init__(self, path: Path) -> None:
        path.write_bytes(b"\0" * self.ROOM)
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), self.ROOM)

    def note(self, what: str, data: bytes = b"") -> None:
        """Note what comes next."""
        text = f"{what} {data.hex()}"[: self.ROOM - 1].encode()
        self._map[: len(text) + 1] = text + b"\0"

    @staticmethod
    def read(path: Path) -> str:
        """Return what was noted last."""
        return path.read_bytes().partition(b"\0")[0].decode()


class Target(Protocol):
    """One part of the module."""

    def __call__(self, module: ModuleType, random: Random, base: Path, journal: Journal) -> Iterator[None]:
        """Run one episode in an empty directory: try something between each two steps.

        Raises `Difference`.
        """
        ...


def strange_number(random: Random) -> int:
    """Return a number of 64 bits, often one at an edge."""
    edge = random.choice((0, 1, 2, 7, 8, 511, 4095, 4096, 8191, 1 << 16, 1 << 17, 1 << 31, 1 << 32, 1 << 62, 1 << 63))
    return random.choice((edge, edge + random.randint(-3, 3), random.getrandbits(64), random.getrandbits(12))) % (
        1 << 64
    )
