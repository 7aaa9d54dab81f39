"""Reading a SQLite table in chunks of neighbouring rows, each concatenated by SQLite into one text per column.

SQLite has no row versions, so whatever a load wants to know of changes it must read. This is the quickest way to read
all of it: SQLite works on its own, without the interpreter, and hands over some hundred rows at a time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from readyfs.state.rows.columns import NULL, SEPARATOR, Chunk
from readyfs.state.rows.parser import KEY_FIELDS, ROW_FIELDS
from readyfs.state.sqlite.chunk_memory import ChunkMemory, PackedChunk
from readyfs.state.sqlite.names import find_rowid, is_text, quote
from readyfs.state.sqlite.reals import may_hold_reals
from readyfs.state.sqlite.status import says_word

CHUNK_BITS: Final = 7
"""128 rows: a single change costs little to parse, and the statements (8,000 for a million rows) cost little to run."""


@dataclass(frozen=True, slots=True)
class ChunkPlan:
    """The statements that read one table in chunks; `signature` stands for what they read.

    `untyped` are the places of those columns of a `Chunk` that may hold floating-point numbers.
    """

    next_row: str
    columns: str
    reals: str
    cells: str
    ready: tuple[object, ...]
    untyped: tuple[int, ...]

    @property
    def signature(self) -> str:
        """What a chunk's content means: equal content of another signature is other content."""
        return self.columns

    def read(self, connection: sqlite3.Connection, memory: ChunkMemory) -> tuple[list[PackedChunk], list[int], int]:
        """Read all chunks within the open transaction.

        Returns those that changed, the numbers of all, and how many ready rows there are.
        """
        changed: list[PackedChunk] = []
        present: list[int] = []
        count = 0
        for number, parameters, chunk in self._chunks(connection):
            count += chunk.rows
            present.append(number)
            has_reals = self._has_reals(connection, chunk, parameters)
            packed = None if has_reals else memory.pack(number, chunk)
            # What is equal to a chunk that could be split can be split, too.
            if has_reals or (packed is not None and not chunk.is_splittable):
                packed = memory.pack(number, connection.execute(self.cells, parameters).fetchall())
            if packed is not None:
                changed.append(packed)
        return changed, present, count

    def _chunks(self, connection: sqlite3.Connection) -> Iterator[tuple[int, tuple[object, ...], Chunk]]:
        """Yield the number of each chunk that has ready rows, the parameters for its statements, and its columns."""
        row = connection.execute(self.next_row, (-(2**63),)).fetchone()
        while row[0] is not None:
            number = row[0] >> CHUNK_BITS
            first, last = number << CHUNK_BITS, ((number + 1) << CHUNK_BITS) - 1
            parameters = (first, last, *self.ready)
            chunk = Chunk(*connection.execute(self.columns, parameters).fetchone())
            if chunk.rows:
                yield number, parameters, chunk
            if last == 2**63 - 1:
                return
            # Row numbers without a gap need not be looked for.
            row = (last + 1,) if chunk.rows else connection.execute(self.next_row, (last + 1,)).fetchone()

    def _has_reals(self, connection: sqlite3.Connection, chunk: Chunk, parameters: tuple[object, ...]) -> bool:
        rows, *columns = chunk
        if not any(may_hold_reals(columns[place], rows) for place in self.untyped):
            return False
        (count,) = connection.execute(self.reals, parameters).fetchone()
        return bool(count)


def plan_chunks(
    connection: sqlite3.Connection, name: str, columns: Mapping[str, str | None], ready: str
) -> ChunkPlan | None:
    """Return how to read a table in chunks; None if it has no row numbers, no UTF-8, or nothing that tells rows apart.

    `columns` maps `ROW_FIELDS` to the names of the columns, None for one that is absent.
    """
    if connection.execute("PRAGMA encoding").fetchone()[0] != b"UTF-8":
        return None  # SQLite would take a blob for text of that encoding
    described = {
        column.decode("utf-8", "surrogateescape"): (declared.decode("utf-8", "replace").upper(), bool(not_null))
        for column, declared, not_null in connection.execute(
            'SELECT name, type, "notnull" FROM pragma_table_xinfo(?)', (name,)
        )
    }
    rowid = find_rowid(connection, name)
    if rowid is None or not _has_unique_key(connection, name, columns):
        return None
    table = quote(name)
    assert columns["status"] is not None
    is_ready, parameters = says_word(columns["status"], ready)
    where = f"FROM {table} WHERE {rowid} BETWEEN ? AND ? AND {is_ready}"
    fields = [columns[field] for field in ROW_FIELDS if field != "status"]
    texts = [_concatenate(field, never_null=field is not None and described[field][1]) for field in fields]
    untyped = [one for one in fields if one is not None and not is_text(described[one][0])]
    # As text they lose digits.
    reals = " OR ".join(f"typeof({quote(one)}) = 'real'" for one in untyped)
    return ChunkPlan(
        next_row=f"SELECT min({rowid}) FROM {table} WHERE {rowid} >= ?",
        columns=f"SELECT count(*), {', '.join(texts)} {where}",
        reals=f"SELECT total({reals or '0'}) {where}",
        cells=f"SELECT {', '.join(quote(columns[field]) for field in ROW_FIELDS)} {where}",
        ready=parameters,
        untyped=tuple(place for place, one in enumerate(fields) if one in untyped),
    )


def _concatenate(column: str | None, *, never_null: bool) -> str:
    """Return the expression that makes one text of a column."""
    value = quote(column) if never_null else f"ifnull({quote(column)}, '{NULL.decode('ascii')}')"
    return f"group_concat({value}, '{SEPARATOR.decode('ascii')}')"


def _has_unique_key(connection: sqlite3.Connection, name: str, columns: Mapping[str, str | None]) -> bool:
    """Tell whether a unique index keeps two rows of one partition apart."""
    key = {name.encode("utf-8", "surrogateescape") for name in (columns[field] for field in KEY_FIELDS) if name}
    unique = 'SELECT name FROM pragma_index_list(?) WHERE "unique" AND NOT partial'
    for (index,) in connection.execute(unique, (name,)).fetchall():
        found = {row[0] for row in connection.execute("SELECT name FROM pragma_index_info(CAST(? AS TEXT))", (index,))}
        if found <= key:
            return True
    return False
