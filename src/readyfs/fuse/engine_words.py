"""The words of --engine, --engine-loop and --reads, with which an engine and its ways are chosen."""

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


class EngineLoopWord(StrEnum):
    """--engine-loop."""

    AUTO = "auto"
    PYTHON = "python"
    NATIVE = "native"
    SHADOW = "shadow"


def engines_to_try(word: EngineWord) -> tuple[EngineWord, ...]:
    """Return the engines to try in turn: a later one serves where the kernel lacks what an earlier one needs."""
    return (EngineWord.DIRECT, EngineWord.PYFUSE3) if word is EngineWord.AUTO else (word,)
