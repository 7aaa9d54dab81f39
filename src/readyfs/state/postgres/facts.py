"""What a PostgreSQL server and a table in it are: asked anew at each load, because all of it may change under us."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from readyfs.errors import StateError
from readyfs.state.postgres.asked import Asker
from readyfs.state.postgres.connection import PostgresConnection, quote_table
from readyfs.state.postgres.functions import SERVER_FACTS, TABLE_FACTS, TOKEN_FACTS
from readyfs.state.postgres.snapshot import Snapshot
from readyfs.state.rows.parser import ROW_FIELDS
from readyfs.state.store import StateTable
from readyfs.state.table import find_columns, missing_table

_TABLE_SQL: Final = """
WITH RECURSIVE tree(relation) AS (
    SELECT oid FROM pg_class WHERE oid = to_regclass(%s)
    UNION
    SELECT inhrelid FROM pg_inherits i JOIN tree ON inhparent = relation
    WHERE to_jsonb(i) ->> 'inhdetachpending' IS DISTINCT FROM 'true'
), domains(type, base) AS (
    SELECT oid, typbasetype FROM pg_type WHERE typtype = 'd'
    UNION ALL
    SELECT d.type, t.typbasetype FROM domains d JOIN pg_type t ON t.oid = d.base WHERE t.typtype = 'd'
)
SELECT json_agg(json_build_object(
    'oid', c.oid::text, 'kind', c.relkind, 'name', c.oid::regclass::text, 'file', c.relfilenode::text,
    'pages', {pages}, 'guarded', {guarded}, 'readable', {readable},
    'heap', c.relam = (SELECT oid FROM pg_am WHERE amname = 'heap'),
    'columns', (SELECT json_agg(json_build_array(
            attname, attnum, quote_ident(attname), t.typname, t.typtype, t.typcategory,
            t.typnamespace = 'pg_catalog'::regnamespace,
            (SELECT json_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid)
        ) ORDER BY attnum)
        FROM pg_attribute
        LEFT JOIN (domains JOIN pg_type b ON b.oid = domains.base AND b.typtype <> 'd') ON domains.type = atttypid
        JOIN pg_type t ON t.oid = coalesce(domains.base, atttypid)
        WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped),
    'keys', (SELECT json_agg(indkey::text) FROM pg_index
        WHERE indrelid = c.oid AND indisunique AND indisvalid AND indimmediate
        AND indpred IS NULL AND indexprs IS NULL)
    ) ORDER BY c.oid = to_regclass(%s) DESC, c.oid)::text
FROM tree JOIN pg_class c ON c.oid = relation
"""
"""The table and whatever inherits from it, partitions included; `ONLY` is what keeps these apart.

A partition whose detaching has begun is none any more (pg_inherits.inhdetachpending, from PostgreSQL 14 on). A domain
counts as the type that it is made from.
"""
_TABLE_FACT_SQL: Final = "SELECT {fact} FROM pg_class c WHERE c.oid IN (to_regclass(%s), to_regclass(%s))"
_TABLES_SQL: Final = """
SELECT oid::regclass::text FROM pg_class
WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND relnamespace NOT IN (
    SELECT oid FROM pg_namespace WHERE nspname LIKE 'pg\\_%' OR nspname = 'information_schema')
"""


@dataclass(frozen=True, slots=True)
class Server:
    """Which server answers: cluster, history (timeline), database, and since when it runs; None where not known."""

    is_standby: bool | None
    started: str | None
    database: str | None
    cluster: str | None
    timeline: str | None


@dataclass(frozen=True, slots=True)
class Column:
    """One column: number, quoted name, name, kind and category of its type (pg_type), and the words if that is an enum.

    A type that PostgreSQL does not bring has a dot before its name.
    """

    number: int
    quoted: str
    type_name: str
    type_kind: str
    type_category: str
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Relation:
    """One table: `file` changes whenever it is written anew; `pages` of it hold rows, None if the server does not say.

    Row level security may be what makes it `is_guarded`; `is_heap` says that PostgreSQL's own storage holds it.
    """

    oid: str
    kind: str
    name: str
    file: str
    pages: int | None
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
    snapshot: Snapshot | None
    flushed: int | None
    signature: tuple[object, ...] = ()

    @property
    def tells_changes(self) -> bool:
        """Whether row versions can be compared with this moment's: by its snapshot, unless numbers are used twice.

        A server that crashed may give numbers of transactions that it lost to others. Its start tells of that, with
        which goes when it last recovered without being started anew.
        """
        return self.snapshot is not None and self.server.started is not None

    @property
    def token(self) -> Hashable | None:
        """What is the same only while the same transactions are seen; None if the server cannot tell.

        Another server has another start, to the microsecond. Whatever makes another database of the same name ends
        transactions.
        """
        if self.snapshot is None or not self.tells_changes:
            return None
        if self.server.is_standby is not False and self.snapshot.xmin != self.snapshot.xmax:
            return None  # a standby does not say which transactions between the two are in progress
        return self.server.is_standby, self.server.started, self.snapshot

    def lags_behind(self, earlier: Moment) -> bool:
        """Tell whether transactions are missing that were seen at an earlier moment of the same server."""
        if self.snapshot is None or earlier.snapshot is None:
            return False
        return self.snapshot.lags_behind(earlier.snapshot)

    def horizon_since(self, earlier: Moment) -> int | None:
        """Return the lowest transaction that may have written what only this moment sees; None if that cannot be told.

        See `Snapshot.horizon_since`.
        """
        if self.snapshot is None or earlier.snapshot is None:
            return None
        return self.snapshot.horizon_since(earlier.snapshot)


def look_at_server(connection: PostgresConnection, asker: Asker) -> Moment:
    """Return which server answers, and the snapshot of the open transaction."""
    names = ", ".join(f"{{{fact.name}}}" for fact in SERVER_FACTS)
    return _moment(*asker.ask(connection, SERVER_FACTS, f"SELECT {names}", "SELECT {fact}"))


def glance_at_server(connection: PostgresConnection, asker: Asker) -> Moment | None:
    """Return a moment that has a token and no more, as cheaply as can be; None if `look_at_server` has to be asked."""
    found = asker.look(connection, TOKEN_FACTS)
    return None if found is None else _moment(*found)


def _moment(
    snapshot: bytes | None,
    standby: bytes | None,
    started: bytes | None,
    database: bytes | None = None,
    cluster: bytes | None = None,
    timeline: bytes | None = None,
    flushed: bytes | None = None,
) -> Moment:
    start, name, system, history = (
        None if cell is None else cell.decode() for cell in (started, database, cluster, timeline)
    )
    return Moment(
        Server(None if standby is None else standby == b"true", start, name, system, history),
        None if snapshot is None else Snapshot.parse(snapshot.decode()),
        None if flushed is None else int(flushed),
    )


def look_at_table(connection: PostgresConnection, asker: Asker, table: StateTable, label: str) -> tuple[Relation, ...]:
    """Return the table and all that inherits from it, itself first; raise `StateError` if there is none."""
    parameters = (quote_table(table.table),) * 2
    (text,) = asker.ask(connection, TABLE_FACTS, _TABLE_SQL, _TABLE_FACT_SQL, parameters)
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
                name: Column(number, _escape(quoted), "." * (not ours) + type_name, kind, category, tuple(words or ()))
                for name, number, quoted, type_name, kind, category, ours, words in one["columns"] or ()
            },
            tuple(frozenset(map(int, key.split())) for key in one["keys"] or ()),
        )
        for one in found
    )


def _escape(name: str) -> str:
    """Return a name for a statement that has parameters."""
    return name.replace("%", "%%")


def find_columns_of(
    relations: Sequence[Relation], table: StateTable, label: str, fields: Sequence[str] = ROW_FIELDS
) -> dict[str, str | None]:
    """Map the fields to columns of the first relation; raise `StateError` if one is missing."""
    if not relations:
        raise StateError(f"state store {label} has no table", "name the table with --state-table")
    return find_columns(table, list(relations[0].columns), label, fields)
