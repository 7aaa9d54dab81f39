"""The statements that read a SQLite table series by series, each column of a series concatenated into one text.

An index over source, customer, query and date gives the series in order, and SQLite works without the interpreter. Keys
are compared by their bytes. A key that is not text may be equal to one that is, and sorts elsewhere; so may the text of
another encoding than UTF-8. SQLite is asked ahead for such keys, source by source and customer by customer. From the
first that has one on, all rows are read one by one, sorted by their bytes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from readyfs.partition import SeriesKey, render_date
from readyfs.state.filters import Filters
from readyfs.state.rows.columns import NULL, SEPARATOR
from readyfs.state.rows.judge import READER_FIELDS, SAYS_FAILED, SAYS_OTHER, SAYS_READY
from readyfs.state.rows.parser import Row
from readyfs.state.rows.pump import Put
from readyfs.state.rows.reading import group_rows, rows_in, series_of
from readyfs.state.rows.series_chunk import SeriesChunk
from readyfs.state.rows.series_state import Found
from readyfs.state.sqlite.names import find_rowid, is_text, quote
from readyfs.state.sqlite.reals import may_hold_reals
from readyfs.state.sqlite.status import says_word
from readyfs.state.store import StateTable
from readyfs.state.table import split_table

_KEY: Final = ("source", "customer_id", "query_name")
_DAYS: Final = ("logical_date", "updated_at")
_FULL: Final = (*_DAYS, "current_run_id", "record_count", "schema_version")
_ISO_DATE: Final = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"
_SERIES_AT_ONCE: Final = 32
_ROWS_AT_ONCE: Final = 1024
_CACHE_KIB: Final = 32 * 1024
"""Rows written day by day lie apart in the order of keys: without room for a page of each day, each is read anew."""

Parameters = tuple[object, ...]


class SeriesPlan:
    """How to read one table, within the open transaction of a connection whose text comes as bytes."""

    def __init__(
        self, connection: sqlite3.Connection, table: StateTable, filters: Filters, columns: Mapping[str, str | None]
    ) -> None:
        """Look at the table; `columns` maps `READER_FIELDS` to the names of columns."""
        self._connection = connection
        self._name = split_table(table)[1]
        self._source = columns["source"]
        self._columns = {field: quote(name) for field, name in columns.items()}
        self._is_utf8 = connection.execute("PRAGMA encoding").fetchone()[0] == b"UTF-8"
        status = columns["status"]
        assert status is not None
        self._is_ready = says_word(status, table.ready)
        self._is_failed = says_word(status, table.failed)
        self._ready = table.ready
        self._rowid = find_rowid(connection, self._name)
        self._where = self._render_filters(filters, columns)

    def read_series(self, put: Put, *, full: bool) -> None:
        """Put what is found of each series, in the order of their keys."""
        self._connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        after: SeriesKey | None = None
        if self._is_utf8:
            after = self._read_chunks(put, _FULL if full else _DAYS)
            if after is None:
                return
        self._read_sorted(put, after)

    def read_waiting(self, put: Put) -> None:
        """Put the rows that do not have the ready word."""
        condition, parameters = self._is_ready
        where, values = self._where
        cursor = self._select(f"{where} AND {condition} IS NOT 1", (*values, *parameters))
        while rows := cursor.fetchmany(_ROWS_AT_ONCE):
            put(rows)

    def has_one_source(self) -> bool:
        """Tell whether the first and the last source are one, filters left out of account."""
        source, table = f"{self._columns['source']} COLLATE BINARY", quote(self._name)
        ends = f"(SELECT min({source}) FROM {table}), (SELECT max({source}) FROM {table})"
        first, last = self._connection.execute(f"SELECT {ends}").fetchone()
        return bool(first == last)

    def rows_of(self, series: Sequence[bytes], *, of_any_source: bool = False) -> list[Row]:
        """Return all rows of a series, or of all that differ from it by their source, and maybe others."""
        conditions, parameters = ["1"], []
        for field, value in zip(_KEY, series, strict=True):
            name = self._columns[field]
            if of_any_source and field == "source":
                if self._is_indexed:
                    conditions.append(f"{name} IN ({self._sources})")
                continue
            # Text of any bytes, or a blob. As they are, an index serves.
            one = f"{name} IN (CAST(? AS TEXT), ?)"
            if field not in self._texts:
                one = f"({one} OR typeof({name}) NOT IN ('text', 'blob'))"
            # Nothing stands for any source, or for what cannot be read. In another encoding bytes are not cast to the
            # text that they are here.
            if value and self._is_utf8:
                conditions.append(one)
                parameters += [value, value]
        found: list[Row] = self._select(" AND ".join(conditions), tuple(parameters)).fetchall()
        return found

    @property
    def _is_indexed(self) -> bool:
        """Whether an index begins with the source."""
        found = self._connection.execute(
            "SELECT 1 FROM pragma_index_list(?) AS list, pragma_index_info(list.name) AS info"
            " WHERE NOT list.partial AND info.seqno = 0 AND info.name = ? COLLATE NOCASE LIMIT 1",
            (self._name, self._source),
        )
        return found.fetchone() is not None

    @property
    def _sources(self) -> str:
        """A statement that finds all sources one after the other, each by one step in an index."""
        name, table = self._columns["source"], quote(self._name)
        return (
            f"WITH RECURSIVE found(it) AS (SELECT min({name}) FROM {table} UNION ALL "
            f"SELECT (SELECT min({name}) FROM {table} WHERE {name} > it) FROM found WHERE it IS NOT NULL) "
            "SELECT it FROM found WHERE it IS NOT NULL"
        )

    def _read_chunks(self, put: Put, fields: Sequence[str]) -> SeriesKey | None:
        """Put series in chunks; return the last one put if those after it cannot be read so, None at the end.

        An empty key stands for none that was put.
        """
        watch = _KeyWatch(self._has_odd_keys)
        last = SeriesKey(b"", b"", b"")
        statement, parameters = self._chunks(fields)
        cursor = self._connection.execute(statement, parameters)
        batch: list[Found] = []
        size = 1  # so that the first line comes at once
        while groups := cursor.fetchmany(size):
            size = min(2 * size, _SERIES_AT_ONCE)
            for cells in groups:
                if not watch.is_sound(cells):
                    put(batch)
                    return last
                chunk = SeriesChunk(*cells)
                last = chunk.series
                odd = chunk.odd_signs
                is_dear = self._rowid is None or len(odd) * 4 > chunk.rows
                if not chunk.is_splittable or self._may_hold_reals(chunk) or (odd and is_dear):
                    batch.append((None, rows_in(last, self.rows_of(last))))
                else:
                    batch.append((cells, self._rows_at(odd) if odd else []))
            put(batch)
            batch = []
        return None

    def _read_sorted(self, put: Put, after: SeriesKey | None) -> None:
        # Of a number with a fraction, and of NULL, nothing can be read.
        order = ", ".join(
            f"CASE WHEN typeof({name}) IN ('real', 'null') THEN x'' ELSE CAST({name} AS BLOB) END"
            for name in map(self._columns.__getitem__, _KEY)
        )
        cursor = self._select(*self._where, f" ORDER BY {order}")
        rows: Iterator[tuple[Any, ...]] = iter(cursor)
        if not self._is_utf8:
            # As bytes, text sorts otherwise there.
            rows = iter(sorted(cursor, key=series_of))
        for found in group_rows(rows):
            if after is None or series_of(found[1][0]) > after:
                put([found])

    def _chunks(self, fields: Sequence[str]) -> tuple[str, Parameters]:
        key = [self._columns[field] for field in _KEY]
        order = ", ".join(f"{name} COLLATE BINARY" for name in key)
        status, run = self._columns["status"], self._columns["current_run_id"]
        tests = [f"CAST({status} AS TEXT) COLLATE BINARY = ?", f"length({run}) > 0"]
        # As text, a number with a fraction would be taken for what it is not. Column by column it costs less to look
        # at all texts at once, for those that are read.
        unread = [field for field in _FULL if field not in fields]
        tests += [f"typeof({self._columns[field]}) <> 'real'" for field in unread if field not in self._texts]
        if "record_count" in unread:
            count = self._columns["record_count"]
            tests.append(f"({count} IS NULL OR typeof({count}) = 'integer' AND {count} >= 0)")
        sign = f"CASE WHEN {' AND '.join(tests)} THEN '' ELSE {self._rowid or 1} END"
        texts = [f"ifnull({self._columns[field]}, '{NULL.decode()}')" for field in fields]
        columns = ", ".join(f"group_concat({text}, '{SEPARATOR.decode()}')" for text in (sign, *texts))
        where, parameters = self._where
        statement = (
            f"SELECT {', '.join(key)}, count(*), {columns} FROM {quote(self._name)} WHERE {where} GROUP BY {order}"
        )
        return f"{statement} ORDER BY {order}", (self._ready, *parameters)

    def _has_odd_keys(self, field: int, above: Sequence[bytes]) -> bool:
        """Tell whether a part of the key is not text in a row whose key begins so."""
        name = self._columns[_KEY[field]]
        begin = "".join(f"{self._columns[one]} = CAST(? AS TEXT) AND " for one in _KEY[:field])
        # Numbers sort before all texts, and blobs after them; NULL is none of these.
        odd = (f"{name} < ''", f"{name} >= x''", f"{name} IS NULL")
        tests = " OR ".join(f"EXISTS (SELECT 1 FROM {quote(self._name)} WHERE {begin}{one})" for one in odd)
        return bool(self._connection.execute(f"SELECT {tests}", tuple(above) * len(odd)).fetchone()[0])

    def _may_hold_reals(self, chunk: SeriesChunk) -> bool:
        columns = zip(_FULL, chunk[5:], strict=True)
        return any(
            isinstance(column, bytes) and field in self._untyped and may_hold_reals(column, chunk.rows)
            for field, column in columns
        )

    def _rows_at(self, signs: Sequence[bytes]) -> list[Row]:
        # One statement for all of them, which is compiled once.
        return [self._select(f"{self._rowid} = ?", (int(sign),)).fetchone() for sign in signs]

    def _select(self, where: str, parameters: Parameters, rest: str = "") -> sqlite3.Cursor:
        (is_ready, ready), (is_failed, failed) = self._is_ready, self._is_failed
        verdict = f"CASE WHEN {is_ready} THEN {SAYS_READY} WHEN {is_failed} THEN {SAYS_FAILED} ELSE {SAYS_OTHER} END"
        cells = ", ".join(self._columns[field] for field in READER_FIELDS)
        statement = f"SELECT {verdict}, {cells} FROM {quote(self._name)} WHERE {where}{rest}"
        return self._connection.execute(statement, (*ready, *failed, *parameters))

    def _render_filters(self, filters: Filters, columns: Mapping[str, str | None]) -> tuple[str, Parameters]:
        """Return what SQLite can judge of the filters; it may let more rows pass than these, and never fewer."""
        declared = dict(self._connection.execute("SELECT name, type FROM pragma_table_xinfo(?)", (self._name,)))
        types = {
            name.decode("utf-8", "backslashreplace"): kind.decode("utf-8", "replace") for name, kind in declared.items()
        }
        self._texts = frozenset(field for field in (*_KEY, *_FULL) if is_text(types.get(columns[field] or "", "")))
        self._untyped = frozenset(_FULL) - self._texts
        conditions: list[str] = ["1"]
        parameters: list[object] = []
        patterns_of = zip(_KEY, (filters.sources, filters.customers, filters.queries), strict=True)
        for field, patterns in patterns_of:
            if patterns and field in self._texts and not any(set("*?[") & set(pattern) for pattern in patterns):
                values = [one.encode("utf-8", "surrogateescape") for one in patterns]
                conditions.append(f"{self._columns[field]} IN ({', '.join(['CAST(? AS TEXT), ?'] * len(values))})")
                parameters += [value for value in values for _ in range(2)]
        date = self._columns["logical_date"]
        for sign, ordinal in ((">=", filters.since), ("<=", filters.until)):
            if ordinal is not None:
                conditions.append(f"({date} {sign} ? OR {date} NOT GLOB '{_ISO_DATE}' OR {date} IS NULL)")
                parameters.append(render_date(ordinal).decode())
        return " AND ".join(conditions), tuple(parameters)


class _KeyWatch:
    """Asks for keys that are not text before the first series that they may belong to."""

    def __init__(self, has_odd_keys: Callable[[int, Sequence[bytes]], bool]) -> None:
        self._has_odd_keys = has_odd_keys
        self._asked: list[tuple[object, ...]] = [(None,), (None,), (None,)]

    def is_sound(self, cells: Sequence[Any]) -> bool:
        for field in range(3):
            above = tuple(cells[:field])
            if self._asked[field] != above:
                self._asked[field] = above
                if self._has_odd_keys(field, above):
                    return False
        return True
