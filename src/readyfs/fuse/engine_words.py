"""The words of --engine and --reads, with which an engine and its way of reading are chosen."""

from __future__ import annotations

from enum import StrEnum


class EngineWord(StrEnum):
    """--engine."""

    AUTO = "auto"
    DIRECT = "direct"
    PYFUSE3 = "pyfuse3"


class ReadsWord(StrEnum):
    """--reads."""

    AUTO = "auto"
    PASSTHROUGH = "passthrough"
    OPENED = "opened"
    CACHED = "cached"


def engines_to_try(word: EngineWord) -> tuple[EngineWord, ...]:
    """Return the engines to try in turn: a later one serves where the kernel lacks what an earlier one needs."""
    return (EngineWord.DIRECT, EngineWord.PYFUSE3) if word is EngineWord.AUTO else (word,)
