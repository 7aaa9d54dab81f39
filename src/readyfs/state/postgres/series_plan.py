"""The statements that read a PostgreSQL table series by series, each column of a series concatenated into one text.

Keys are sorted by their bytes. Where the database's own order is that of bytes, the key's index serves; elsewhere an
index with COLLATE "C" does, or the server sorts. What cannot be written as text in this way is read row by row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import psycopg

from readyfs.state.filters import Filters
from readyfs.state.postgres.cells import is_plain, render_compact, render_ready, render_text
from readyfs.state.postgres.connection import PostgresConnection, is_of_statement
from readyfs.state.postgres.facts import Column, Relation
from readyfs.state.postgres.plan import render_filters
from readyfs.state.postgres.row_plan import plan_judged_rows
from readyfs.state.rows.columns import NULL, SEPARATOR
from readyfs.state.rows.fetch import CHUNK_ROWS
from readyfs.state.rows.parser import Row
from readyfs.state.rows.pump import Put
from readyfs.state.rows.reading import group_rows, rows_in, series_of
from readyfs.state.rows.series_chunk import SeriesChunk
from readyfs.state.rows.series_state import Found
from readyfs.state.store import StateTable

_KEY: Final = ("source", "customer_id", "query_name")
_DAYS: Final = ("logical_date", "updated_at")
_FULL: Final = (*_DAYS, "current_run_id", "record_count", "schema_version")
_SORTED: Final = frozenset({"text", "varchar", "bpchar", "name"})
"""Types of keys whose text sorts as their bytes do, with COLLATE "C"."""
_BARE: Final = frozenset({"text", "varchar"})
"""Types that are compared with texts as they are, so that an index serves."""
_INTEGERS: Final = frozenset({"int2", "int4", "int8"})
_COLLATION: Final = "SELECT datcollate::text FROM pg_database WHERE datname = current_database()"
_SERIES_AT_ONCE: Final = 32


class SeriesPlan:
    """How to read one table, within the open transaction of a connection."""

    def __init__(
        self,
        connection: PostgresConnection,
        relation: Relation,
        found: Mapping[str, str | None],
        table: StateTable,
        filters: Filters,
    ) -> None:
        """Look at the table; `found` maps `READER_FIELDS` to the names of columns."""
        self._connection = connection
        self._relation = relation
        self._columns = {field: None if name is None else relation.columns[name] for field, name in found.items()}
        self._rows = plan_judged_rows(relation, found, table.ready, table.failed)
        self._ready = render_ready(self._column("status"), table.ready)
        self._sorts_by_bytes = self._has_byte_order()
        conditions, self._values, _ = render_filters(self._columns, filters)
        self._where = " AND ".join(conditions) or "true"

    def read_series(self, put: Put, *, full: bool) -> None:
        """Put what is found of each series, in the order of their keys."""
        count = self._columns["record_count"]
        # What is not read has to be known to be sound.
        fields = _FULL if full or not (count is None or count.type_name in _INTEGERS) else _DAYS
        if not all(self._column(field).type_name in _SORTED for field in _KEY):
            for found in group_rows(sorted(self._stream_rows(""), key=series_of)):
                put([found])
        elif not all(is_plain(field, column) for field in _FULL if (column := self._columns[field]) is not None):
            for found in group_rows(self._stream_rows(f" ORDER BY {', '.join(self._order())}")):
                put([found])
        else:
            self._read_chunks(put, fields)

    def read_waiting(self, put: Put) -> None:
        """Put the rows that do not have the ready word."""
        condition, values = self._ready
        put(list(self._stream_rows(f" AND ({condition}) IS NOT TRUE", values)))

    def has_one_source(self) -> bool:
        """Tell whether the first and the last source are one, filters left out of account."""
        source = self._key("source")
        first, last = self._connection.row(
            f"SELECT min({source})::text, max({source})::text FROM {self._relation.name}"
        )
        return bool(first == last)

    def rows_of(self, series: Sequence[bytes]) -> list[Row]:
        """Return all rows of a series, without a source those of any, and maybe others."""
        conditions, parameters = [], list(self._rows.parameters)
        for field, value in zip(_KEY, series, strict=True):
            column = self._column(field)
            if value and column.type_name in _BARE:
                conditions.append(f"{column.quoted} = %s AND {render_text(column)} = %s")
                parameters += [value.decode("utf-8", "surrogateescape")] * 2
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        return self._rows.read([*self._connection.rows(self._rows.statement + where, parameters)])

    def _read_chunks(self, put: Put, fields: Sequence[str]) -> None:
        is_ready, ready = self._ready
        is_sound = f"({is_ready}) AND {render_text(self._column('current_run_id'))} <> ''"
        count = self._columns["record_count"]
        if count is not None and count.type_name in _INTEGERS:
            is_sound += f" AND coalesce({count.quoted} >= 0, true)"
        # As arrays, so that rows that are not plain come with the chunk.
        cells = self._rows.cells
        odd = f"array_agg(ARRAY[({cells[0]})::text, {', '.join(cells[1:])}]) FILTER (WHERE ({is_sound}) IS NOT TRUE)"
        texts = [f"CASE WHEN {is_sound} THEN '' ELSE '1' END", *map(self._text, fields)]
        columns = ", ".join(f"string_agg({text}, '{SEPARATOR.decode()}')" for text in texts)
        keys, order = ", ".join(render_text(self._column(field)) for field in _KEY), ", ".join(self._order())
        statement = (
            f"SELECT {odd}, {keys}, count(*), {columns} FROM {self._relation.name} WHERE {self._where} "
            f"GROUP BY {order} ORDER BY {order}"
        )
        parameters = (*self._rows.parameters, *ready, *ready, *self._values)
        with self._connection.stream(statement, parameters) as cursor:
            size = 1  # so that the first line comes at once
            while groups := cursor.fetchmany(size):
                size = min(2 * size, _SERIES_AT_ONCE)
                put([self._found(group) for group in groups])

    def _found(self, group: Sequence[Any]) -> Found:
        odd, *cells = group
        rows = self._rows.read([(int(verdict), *rest) for verdict, *rest in odd or ()])
        chunk = SeriesChunk(*cells)
        if chunk.is_splittable:
            return tuple(cells), rows
        return None, rows_in(chunk.series, self.rows_of(chunk.series))

    def _stream_rows(self, rest: str, values: Sequence[object] = ()) -> Iterator[Row]:
        statement = f"{self._rows.statement} WHERE {self._where}{rest}"
        with self._connection.stream(statement, (*self._rows.parameters, *self._values, *values)) as cursor:
            while rows := cursor.fetchmany(CHUNK_ROWS):
                yield from self._rows.read([*rows])

    def _has_byte_order(self) -> bool:
        """Tell whether the database sorts texts by their bytes of itself."""
        try:
            with self._connection.attempt():
                (collation,) = self._connection.row(_COLLATION)
        except psycopg.Error as error:
            if not is_of_statement(error):
                raise
            return False
        return collation in (b"C", b"POSIX")

    def _order(self) -> list[str]:
        return [self._key(field) for field in _KEY]

    def _key(self, field: str) -> str:
        column = self._column(field)
        if column.type_name in _BARE and self._sorts_by_bytes:
            return column.quoted
        return render_text(column)

    def _text(self, field: str) -> str:
        column = self._columns[field]
        text = "NULL::text" if column is None else render_compact(field, column)
        return f"coalesce({text}, '{NULL.decode()}')"

    def _column(self, field: str) -> Column:
        column = self._columns[field]
        assert column is not None
        return column
