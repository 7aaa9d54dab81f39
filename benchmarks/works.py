"""The table of works: what is done, on which site, and what it is called."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Phase(StrEnum):
    """When: on a fresh mount, once more, or on a fresh mount of a raw tree whose files are not in memory."""

    FIRST = "first"
    AGAIN = "again"
    COLD = "cold"


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of work. `agains` is how often it is repeated after the first time, of which the median counts.

    `before` is the kind of work that is done on the same mount before, and not measured.
    """

    key: str
    title: str
    theme: str
    site: str
    agains: int = 1
    cold: bool = False
    before: str = ""

    @property
    def kind(self) -> str:
        """What the process that does it is told."""
        return self.key.removesuffix("-cold")


THEMES: Final = {
    "names": "Names and attributes",
    "small": "Small files",
    "large": "Large files",
    "queries": "Queries",
}

WORKS: Final = (
    Work("walk", "walk and stat", "names", "small"),
    Work("ls", "ls -lR", "names", "small"),
    Work("find", "find -printf %s", "names", "small"),
    Work("du", "du -a", "names", "small"),
    Work("small", "read every file", "small", "small"),
    Work("listed", "read what was listed", "small", "small", agains=0, before="list-to-read"),
    Work("small-parallel", "the same, 8 readers", "small", "small"),
    Work("large", "read the large file", "large", "large", agains=5),
    Work("large-cold", "read the large file", "large", "large", agains=0, cold=True),
    Work("large-random", "random reads of 4 KB", "large", "large", agains=3),
    Work("large-mmap", "the large file by mmap", "large", "large", agains=5),
    Work("large-parallel", "8 readers, a file each", "large", "large", agains=5),
    Work("duckdb", "DuckDB, every record", "queries", "small"),
    Work("spark", "Spark, some hundred partitions", "queries", "small", agains=5),
)

REFRESH: Final = "refresh"
"""The row that is not of this kind: latency while the state changes (`latency`)."""
