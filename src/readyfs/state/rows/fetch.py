"""Fetching at driver speed: rows are squeezed into bytes while the transaction is open and unpacked after it.

A million rows as Python objects take over half a gigabyte; marshalled a chunk at a time they take about 150 MB, for a
quarter of the time that the driver needs anyway.
"""

from __future__ import annotations

import datetime
import marshal
import pickle
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import NoneType
from typing import Any, Final, Protocol
from uuid import UUID

from readyfs.state.rows.parser import Row

CHUNK_ROWS: Final = 1024

_PICKLED: Final = frozenset({NoneType, bool, int, float, str, bytes, datetime.date, Decimal, UUID})
"""Types that pickle gives back unchanged, whatever their value."""


@dataclass(frozen=True, slots=True)
class ForeignCell:
    """Stands for a cell of a driver's own type that cannot be kept; no parser knows it, so its row is withheld."""

    kind: str

    def __str__(self) -> str:
        return self.kind


class Cursor(Protocol):
    """What is used of an executed statement: a DB-API cursor, or SQLAlchemy's result."""

    def fetchmany(self, size: int, /) -> Sequence[Row]:
        """Return the next rows, none at the end."""


class RowBuffer:
    """The rows of one statement, compact; `drain` gives them back once and frees them on the way."""

    def __init__(self) -> None:
        self._chunks: deque[tuple[bool, bytes]] = deque()

    def fill(self, cursor: Cursor) -> None:
        """Fetch all rows."""
        while rows := cursor.fetchmany(CHUNK_ROWS):
            self._chunks.append(_pack(rows))

    def drain(self) -> Iterator[list[Row]]:
        """Yield the rows chunk by chunk."""
        while self._chunks:
            yield _unpack(*self._chunks.popleft())


def _pack(rows: Sequence[Row]) -> tuple[bool, bytes]:
    plain: Any = rows if type(rows[0]) is tuple else [tuple(row) for row in rows]
    try:
        return True, marshal.dumps(plain)
    except ValueError:
        # A date or a Decimal: pickle knows them and is a little slower.
        kept = [tuple(cell if type(cell) in _PICKLED else _keep(cell) for cell in row) for row in plain]
        return False, pickle.dumps(kept, protocol=5)


def _keep(cell: object) -> object:
    """Return what surely survives pickling and means the same, one cell at a time, so that none fails the others."""
    try:
        if isinstance(cell, memoryview | bytearray):
            return bytes(cell)
        if type(cell) is datetime.datetime:
            # The moment is all that counts, and a time zone may be of any class.
            return cell if cell.tzinfo is None else cell.astimezone(datetime.UTC)
        pickle.loads(pickle.dumps(cell, protocol=5))
    except Exception:  # noqa: BLE001 - pickling runs the code of the cell's own class
        return ForeignCell(type(cell).__name__)
    return cell


def _unpack(marshalled: bool, data: bytes) -> list[Row]:
    # Both read back only what `_pack` wrote in this process.
    rows: list[Row] = marshal.loads(data) if marshalled else pickle.loads(data)
    return rows
