"""Counting the records of a payload in JSON lines.

A record is a line that holds more than blanks: readers of JSON lines skip blank ones. A last line that does not end
with a newline is a line.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from readyfs.raw.store import RawFile

CHUNK_BYTES: Final = 1 << 20

_NEWLINE: Final = b"\n"
_BLANKS: Final = b" \t\r"
_BLANK_LINE: Final = re.compile(rb"\n[ \t\r]*(?=\n)")


class EndedEarlyError(OSError):
    """The file became shorter while it was read."""


def count_records(file: RawFile, on_progress: Callable[[], None], chunk_bytes: int = CHUNK_BYTES) -> int:
    """Return how many records an open payload holds, up to its size when it was opened.

    `on_progress` is called after each read. Raises `OSError`.
    """
    records = offset = 0
    blank = True  # whether the line that the chunk begins in holds nothing but blanks so far
    while offset < file.stat.size:
        chunk = file.pread(min(chunk_bytes, file.stat.size - offset), offset)
        on_progress()
        if not chunk:
            raise EndedEarlyError(None, "a read ended early")
        offset += len(chunk)
        newlines = chunk.count(_NEWLINE)
        if not newlines:
            blank = blank and not chunk.strip(_BLANKS)
            continue
        records += newlines
        if blank and not chunk[: chunk.index(_NEWLINE)].strip(_BLANKS):
            records -= 1
        records -= sum(1 for _ in _BLANK_LINE.finditer(chunk))
        blank = not chunk[chunk.rindex(_NEWLINE) + 1 :].strip(_BLANKS)
    return records if blank else records + 1
