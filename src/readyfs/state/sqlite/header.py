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

_SALTS: Final = slice(32, 40)
_BACKFILLED: Final = slice(96, 100)
_BACKFILL_ATTEMPTED: Final = slice(128, 132)
_CHECKPOINTS_SIZE: Final = 136
"""WalIndexHdr, twice, and WalCkptInfo: how much of the log a checkpoint moved into the database, or set out to move."""
_WHOLE_HEADER_SIZE: Final = 100


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


def read_checkpoints(descriptor: int) -> bytes | None:
    """Read from shared memory what moves with each checkpoint, before it first writes; None while one is under way."""
    data = os.pread(descriptor, _CHECKPOINTS_SIZE, 0)
    if len(data) < _CHECKPOINTS_SIZE or data[_BACKFILLED] != data[_BACKFILL_ATTEMPTED]:
        return None
    return data[_SALTS] + data[_BACKFILLED]


def read_trace(descriptor: int) -> tuple[int, bytes]:
    """Read by which a database in WAL mode can be told from another that was written over it: size and header."""
    return os.fstat(descriptor).st_size, os.pread(descriptor, _WHOLE_HEADER_SIZE, 0)
