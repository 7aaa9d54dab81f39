"""How a cell of a picture is written: one letter for its status, and words for people.

A letter in upper case is late, one in lower case is not. So a picture can be read without colours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from readyfs.consumer.agreement import Verdict
from readyfs.consumer.coverage import CELLS, Cell, Level
from readyfs.partition import PartitionStatus

NO_LETTER: Final = " "
READY_LETTER: Final = "."

_LETTERS: Final[Mapping[PartitionStatus, str]] = {
    PartitionStatus.FAILED: "f",
    PartitionStatus.MISSING: "m",
    PartitionStatus.WITHHELD: "w",
    PartitionStatus.PENDING: "p",
    PartitionStatus.REPROCESSING: "r",
}
LEVEL_WORDS: Final[Mapping[Level, str]] = {
    Level.OUTSIDE: "not judged",
    Level.WAITING: "not late yet",
    Level.KNOWN: "known",
    Level.GUESSED: "by a guess",
    Level.WARN: f"late ({Verdict.WARN.word})",
    Level.ERROR: f"late ({Verdict.ERROR.word})",
}
"""What people are told of a level, behind the status."""


def letter_of(cell: Cell) -> str:
    """Return the one character that stands for a cell."""
    if cell.status is None:
        return NO_LETTER
    if cell.level is None:
        return READY_LETTER
    letter = _LETTERS[cell.status]
    return letter.upper() if cell.level.is_late else letter


def words_of(cell: Cell) -> str:
    """Return what people are told of a cell."""
    if cell.status is None:
        return "nothing is there, and nothing is expected"
    if cell.level is None:
        return str(cell.status) if cell.is_expected else f"{cell.status}, and not expected"
    return f"{cell.status}, {LEVEL_WORDS[cell.level]}"


LETTERS: Final = tuple(map(letter_of, CELLS))
"""The letter of each number of `CELLS`, in its order."""
