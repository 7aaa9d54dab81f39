"""What a PostgreSQL server and a table in it are: asked anew at each load, because all of it may change under us."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from readyfs.errors import StateError
from readyfs.state.postgres.connection import PostgresConnection, quote_table
from readyfs.state.postgres.snapshot import Snapshot
from readyfs.state.store import StateTable
from readyfs.state.table import find_columns, missing_table

_SERVER_SQL: Final = """
SELECT pg_current_snapshot()::text,
    pg_is_in_recovery(),
    extract(epoch FROM pg_postmaster_start_time())::text,
    (SELECT oid FROM pg_database WHERE datname = current_database())::text,
    CASE WHEN has_function_privilege('pg_control_system()', 'EXECUTE')
        THEN (SELECT system_identifier FROM pg_control_system())::text END,
    CASE WHEN pg_is_in_recovery() THEN NULL ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END,
    CASE WHEN pg_is_in_recovery() THEN NULL ELSE (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::text END
"""
"""A timeline is the first eight hexadecimal digits of the name of the file that is written to (pg_walfile_name)."""

_TABLE_SQL: Final = """
WITH RECURSIVE tree(relation) AS (
    SELECT oid FROM pg_class WHERE oid = to_regclass(%s)
    UNION
    SELECT inhrelid FROM pg_inherits i JOIN tree ON inhparent = relation
    WHERE to_jsonb(i) ->> 'inhdetachpending' IS DISTINCT FROM 'true'
)
SELECT json_agg(json_build_object(
    'oid', c.oid::text, 'kind', c.relkind, 'name', c.oid::regclass::text,
    'file', pg_relation_filenode(c.oid)::text,
    'pages', pg_relation_size(c.oid) / current_setting('block_size')::bigint,
    'guarded', row_security_active(c.oid),
    'readable', has_table_privilege(c.oid, 'SELECT'),
    'heap', c.relam = (SELECT oid FROM pg_am WHERE amname = 'heap'),
    'columns', (SELECT json_agg(json_build_array(
            attname, attnum, quote_ident(attname), t.typname, t.typtype,
            (SELECT json_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid)
        ) ORDER BY attnum)
        FROM pg_attribute JOIN pg_type t ON t.oid = atttypid
        WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped),
    'keys', (SELECT json_agg(indkey::text) FROM pg_index
        WHERE indrelid = c.oid AND indisunique AND indisvalid AND indimmediate
        AND indpred IS NULL AND indexprs IS NULL)
    ) ORDER BY c.oid = to_regclass(%s) DESC, c.oid)::text
FROM tree JOIN pg_class c ON c.oid = relation
"""
"""The table and whatever inherits from it, partitions included; `ONLY` is what keeps these apart.

A partition whose detaching has begun is none any more (pg_inherits.inhdetachpending, from PostgreSQL 14 on).
"""
_TABLES_SQL: Final = """
SELECT oid::regclass::text FROM pg_class
WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND relnamespace NOT IN (
    SELECT oid FROM pg_namespace WHERE nspname LIKE 'pg\\_%' OR nspname = 'information_schema')
"""


@dataclass(frozen=True, slots=True)
class Server:
    """Which server answers: cluster, history (timeline), database, and since when it runs; None where not known."""

    is_standby: bool
    started: str
    database: str
    cluster: str | None
    timeline: str | None


@dataclass(frozen=True, slots=True)
class Column:
    """One column: number, quoted name, name and kind of its type (pg_type), and the words if that is an enum."""

    number: int
    quoted: str
    type_name: str
    type_kind: str
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Relation:
    """One table: `file` changes whenever it is written anew; `pages` of it hold rows.

    Row level security may be what makes it `is_guarded`; `is_heap` says that PostgreSQL's own storage holds it.
    """

    oid: str
    kind: str
    name: str
    file: str | None
    pages: int
    is_guarded: bool
    is_readable: bool
    is_heap: bool
    columns: dict[str, Column]
    unique_keys: tuple[frozenset[int], ...]

    @property
    def identity(self) -> tuple[object, ...]:
        """Everything but the size: while this is the same, only transactions change the rows."""
        # The words of an enum are stored by number: renaming one changes no row and what all of them say.
        columns = tuple((name, one.number, one.type_name, one.words) for name, one in self.columns.items())
        return self.oid, self.kind, self.name, self.file, columns, self.unique_keys


@dataclass(frozen=True, slots=True)
class Moment:
    """What a load saw: server, snapshot, and all of the table on which the meaning of its row versions depends.

    `flushed` is how much of its log a primary had made durable, in bytes: no crash takes that back.
    """

    server: Server
    snapshot: Snapshot
    flushed: int | None
    signature: tuple[object, ...] = ()

    @property
    def token(self) -> Hashable | None:
        """What is the same only while the same transactions are seen; None if the snapshot cannot tell."""
        if self.server.is_standby and self.snapshot.xmin != self.snapshot.xmax:
            return None  # a standby does not say which transactions between the two are in progress
        return self.server, self.snapshot


def look_at_server(connection: PostgresConnection) -> Moment:
    """Return which server answers, and the snapshot of the open transaction."""
    snapshot, is_standby, *texts = connection.row(_SERVER_SQL)
    started, database, cluster, timeline, flushed = (None if text is None else text.decode() for text in texts)
    return Moment(
        Server(is_standby, started or "", database or "", cluster, timeline),
        Snapshot.parse(snapshot.decode()),
        None if flushed is None else int(flushed),
    )


def look_at_table(connection: PostgresConnection, table: StateTable, label: str) -> tuple[Relation, ...]:
    """Return the table and all that inherits from it, itself first; raise `StateError` if there is none."""
    (text,) = connection.row(_TABLE_SQL, (quote_table(table.table),) * 2)
    if text is None:
        names = [name.decode("utf-8", "replace") for (name,) in connection.rows(_TABLES_SQL)]
        raise missing_table(table, label, names)
    found: list[dict[str, Any]] = orjson.loads(text)
    return tuple(
        Relation(
            one["oid"],
            one["kind"],
            _escape(one["name"]),
            one["file"],
            one["pages"],
            one["guarded"],
            one["readable"],
            bool(one["heap"]),
            {
                name: Column(number, _escape(quoted), type_name, kind, tuple(words or ()))
                for name, number, quoted, type_name, kind, words in one["columns"] or ()
            },
            tuple(frozenset(map(int, key.split())) for key in one["keys"] or ()),
        )
        for one in found
    )


def _escape(name: str) -> str:
    """Return a name for a statement that has parameters."""
    return name.replace("%", "%%")


def find_columns_of(relations: Sequence[Relation], table: StateTable, label: str) -> dict[str, str | None]:
    """Map the fields to columns of the first relation; raise `StateError` if one is missing."""
    if not relations:
        raise StateError(f"state store {label} has no table", "name the table with --state-table")
    return find_columns(table, list(relations[0].columns), label)
