"""The first bytes of a database, of its log and of its shared memory (sqlite.org/fileformat2.html, walformat.html)."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import Final

_DATABASE_SIZE: Final = 40
_MODE: Final = slice(18, 20)
"""Write and read version of the file format; 2 means WAL."""
_VERSION: Final = slice(24, 40)
"""Change counter, size in pages, and the list of free pages."""
_WAL_MODE: Final = b"\x02\x02"

_LOG: Final = struct.Struct(">IIII")
_LOG_MAGIC: Final = (0x377F0682, 0x377F0683)

_INDEX_SIZE: Final = 48
"""WalIndexHdr; it stands twice at the beginning of the shared memory, and a writer changes one after the other."""


@dataclass(frozen=True, slots=True)
class DatabaseHeader:
    """What a database says of itself in its first bytes; `version` moves with each commit in rollback-journal mode."""

    is_wal: bool
    page_size: int
    version: bytes


def read_header(descriptor: int) -> DatabaseHeader:
    """Read a database's header."""
    data = os.pread(descriptor, _DATABASE_SIZE, 0)
    size = int.from_bytes(data[16:18], "big")
    return DatabaseHeader(data[_MODE] == _WAL_MODE, 65536 if size == 1 else size, data[_VERSION])


def read_log_page_size(descriptor: int) -> int | None:
    """Read the size of the pages in a log; None for one without a header."""
    data = os.pread(descriptor, _LOG.size, 0)
    if len(data) < _LOG.size:
        return None
    magic, _, page_size, _ = _LOG.unpack(data)
    return int(page_size) if magic in _LOG_MAGIC else None


def read_index(descriptor: int) -> bytes | None:
    """Read the header of the log's index in shared memory, which moves with each commit; None while it is changed."""
    data = os.pread(descriptor, 2 * _INDEX_SIZE, 0)
    first, second = data[:_INDEX_SIZE], data[_INDEX_SIZE:]
    return first if first == second and len(first) == _INDEX_SIZE else None
