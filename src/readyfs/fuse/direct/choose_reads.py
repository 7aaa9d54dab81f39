"""The choice of how files are read: by whom each open is answered, and from which size on the kernel reads by itself.

It is made once for a mount, from the setting and from what the kernel grants. What it leaves to the single file is
decided by that file's size as it was sealed, which never changes while the file is open.

Passthrough costs a registration for every first open and nothing for the bytes. Opened costs a trip to the daemon for
bytes that the kernel has not kept, and nothing for those that it has. Decision 0029 has the measurements.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from readyfs.errors import FuseError
from readyfs.fuse.engine_words import ReadsWord

PASSTHROUGH_FROM_BYTES: Final = 64 * 1024
"""From this size on the kernel reads a file by itself, where the choice is left to the file."""


@dataclass(frozen=True, slots=True)
class Choice:
    """How files are read, and why.

    `word` is `auto` if it is decided for each file. `passthrough_from` is the size in bytes from which on the kernel
    reads by itself; None if it never does.
    """

    word: ReadsWord
    passthrough_from: int | None
    reason: str


def choose_reads(word: ReadsWord, obstacle: str | None) -> Choice:
    """Decide how files are read; `obstacle` says why passthrough cannot be had, if it cannot.

    Raises `FuseError` if passthrough was asked for and cannot be had.
    """
    if word in (ReadsWord.CACHED, ReadsWord.OPENED):
        return Choice(word, None, "as asked for")
    if obstacle is None:
        if word is ReadsWord.PASSTHROUGH:
            return Choice(word, 0, "as asked for")
        border = f"{PASSTHROUGH_FROM_BYTES // 1024} KiB"
        return Choice(
            word, PASSTHROUGH_FROM_BYTES, f"by passthrough from {border} on, opened by the daemon below that size"
        )
    if word is ReadsWord.PASSTHROUGH:
        raise FuseError(f"passthrough cannot be had: {obstacle}", "use --reads auto, or mend that")
    return Choice(ReadsWord.OPENED, None, f"passthrough cannot be had: {obstacle}")
