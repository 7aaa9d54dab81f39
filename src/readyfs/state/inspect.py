"""Looking at a state store as an operator would: keys, indexes, journal, rights, clocks; never a whole table.

Used by `readyfs doctor` once the store itself was opened as a mount opens it. Every call is a read-only transaction of
its own, ended before it returns, and raises `StateError`; a slow one leaves the answers of the others standing.
"""

from __future__ import annotations

import math
import os
import re
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.exc import SQLAlchemyError

from readyfs.errors import StateError
from readyfs.partition import NOT_SET, Partition, PartitionKey, SeriesKey
from readyfs.state.database.store import choose_driver, create_engine
from readyfs.state.filters import Filters
from readyfs.state.rows.values import BadValueError, parse_id, parse_logical_date, parse_updated_at
from readyfs.state.sqlite.connection import SqliteConnection
from readyfs.state.sqlite.errors import explain, locked_error
from readyfs.state.sqlite.file import Access
from readyfs.state.store import StateTable
from readyfs.state.table import find_columns, ready_rows, split_table
from readyfs.state.url import parse_url, render_label, scrub, sqlite_path

Columns = dict[str, str | None]

KEY_FIELDS: Final = ("source", "customer_id", "query_name", "logical_date")
_WRITES: Final = ("INSERT", "UPDATE", "DELETE", "TRUNCATE")
_TIMEOUTS: Final = (
    "statement_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "transaction_timeout",
)
_BESIDE: Final = ("-wal", "-shm", "-journal")


@dataclass(frozen=True, slots=True)
class Index:
    """One index or constraint of the table; `columns` as the database spells them, expressions left out."""

    columns: tuple[str, ...]
    is_unique: bool


@dataclass(frozen=True, slots=True)
class SqliteFiles:
    """How a SQLite state lies on disk; `beside` holds the owner's user id of each file that belongs to it."""

    path: Path
    access: Access
    owner: int
    beside: Mapping[Path, int]


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """What a PostgreSQL server says of itself and of our role; times in ms or s, None where the server has none.

    `clock_ahead_s` is how far its clock is ahead of ours, known to within `round_trip_s`.
    """

    version: str
    version_number: int
    role: str
    is_superuser: bool
    may: tuple[str, ...]
    hides_rows: bool
    is_standby: bool
    replay_lag_s: float | None
    timeouts_ms: Mapping[str, int]
    clock_ahead_s: float
    round_trip_s: float


class StateInspector(Protocol):
    """What can be asked of every state store. `dialect` is the database's name to SQLAlchemy."""

    dialect: str

    def columns(self) -> Columns:
        """Return the table's columns by the names of their settings, None for those that are absent."""

    def indexes(self) -> tuple[Index, ...]:
        """Return every index, the primary key and unique constraints included; none for a view."""

    def is_view(self) -> bool:
        """Tell whether what is read is a view, which has no keys of its own."""

    def count_rows(self) -> int:
        """Return about how many rows the table has, ready or not."""

    def newest(self) -> int | None:
        """Return the newest `updated_at` in nanoseconds since the epoch, None without one that can be read."""

    def sample(self, filters: Filters, rows: int) -> list[Partition]:
        """Return the ready partitions among so many ready rows, those that pass the filters and can be parsed."""


def open_inspector(url: str, table: StateTable, timeout_s: float) -> StateInspector:
    """Return what looks at a state store."""
    path = sqlite_path(url)
    if path is not None:
        return SqliteInspector(path, table, timeout_s)
    return ServerInspector(parse_url(url), table, timeout_s)


class SqliteInspector:
    """Looks at a SQLite file; see `StateInspector`."""

    dialect = "sqlite"

    def __init__(self, path: Path, table: StateTable, timeout_s: float) -> None:
        self._path = path
        self._table = table
        self._name = split_table(table)[1]
        self._timeout_s = timeout_s

    def columns(self) -> Columns:
        """See `StateInspector`."""
        with self._connection() as connection:
            return self._find_columns(connection)

    def indexes(self) -> tuple[Index, ...]:
        """See `StateInspector`."""
        found = []
        with self._connection() as connection:
            key = "SELECT name FROM pragma_table_xinfo(?) WHERE pk > 0 ORDER BY pk"
            primary = tuple(name.decode("utf-8", "replace") for (name,) in connection.execute(key, [self._name]))
            if primary:
                found.append(Index(primary, is_unique=True))
            # A partial index says nothing of the rows that it leaves out.
            listed = 'SELECT name, "unique" FROM pragma_index_list(?) WHERE NOT partial'
            for index, is_unique in connection.execute(listed, [self._name]).fetchall():
                cells = connection.execute("SELECT name FROM pragma_index_info(?) ORDER BY seqno", [index.decode()])
                names = tuple(name.decode("utf-8", "replace") for (name,) in cells if name is not None)
                found.append(Index(names, bool(is_unique)))
        return tuple(found)

    def is_view(self) -> bool:
        """See `StateInspector`."""
        statement = "SELECT count(*) FROM sqlite_master WHERE type = 'view' AND name = ? COLLATE NOCASE"
        with self._connection() as connection:
            return bool(connection.execute(statement, [self._name]).fetchone()[0])

    def count_rows(self) -> int:
        """See `StateInspector`; the highest row id, which costs nothing to find, unless the table has none."""
        quoted = _quote(self._name)
        with self._connection() as connection:
            try:
                (found,) = connection.execute(f"SELECT max(rowid) FROM {quoted}").fetchone()
            except sqlite3.OperationalError:
                found = None  # a table WITHOUT ROWID; a view has NULL in every row
            if found is None:
                (found,) = connection.execute(f"SELECT count(*) FROM {quoted}").fetchone()
        return int(found)

    def newest(self) -> int | None:
        """See `StateInspector`."""
        with self._connection() as connection:
            column = self._find_columns(connection)["updated_at"]
            if column is None:
                return None
            statement = f"SELECT max({_quote(column)}) FROM {_quote(self._name)}"
            return _parse_time(connection.execute(statement).fetchone()[0])

    def sample(self, filters: Filters, rows: int) -> list[Partition]:
        """See `StateInspector`."""
        with self._connection() as connection:
            statement = ready_rows(self._table, self._find_columns(connection)).limit(rows)
            compiled = statement.compile(dialect=SQLiteDialect_pysqlite())
            values = [compiled.params[key] for key in compiled.positiontup or ()]
            return _parse_sample(connection.execute(str(compiled), values).fetchall(), filters)

    def files(self) -> SqliteFiles:
        """Return how the state lies on disk."""
        path = Path(os.path.realpath(self._path))
        opened = SqliteConnection(self._path, self._timeout_s)
        try:
            # While it is open, so that a log that it needs is there, and before SQLite tidies up after it.
            beside = {one: one.stat().st_uid for suffix in _BESIDE if (one := Path(f"{path}{suffix}")).exists()}
            return SqliteFiles(path, opened.access, path.stat().st_uid, beside)
        finally:
            opened.close()

    def _find_columns(self, connection: sqlite3.Connection) -> Columns:
        names = [
            name.decode("utf-8", "backslashreplace")
            for (name,) in connection.execute("SELECT name FROM pragma_table_xinfo(?)", [self._name])
        ]
        return find_columns(self._table, names, str(self._path))

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            opened = SqliteConnection(self._path, self._timeout_s)
            try:
                if opened.access is not Access.WAL_AT_REST:
                    yield opened.connection
                    return
                # Nothing but this lock guards a database that SQLite believes to be unchangeable.
                with opened.shared_lock(self._timeout_s) as got_lock:
                    if not got_lock:
                        raise locked_error(self._path, self._timeout_s)
                    yield opened.connection
            finally:
                opened.close()
        except sqlite3.Error as error:
            raise explain(error, self._path, self._timeout_s) from error


class ServerInspector:
    """Looks at a database server; see `StateInspector`."""

    def __init__(self, url: sa.URL, table: StateTable, timeout_s: float) -> None:
        self._url = url
        self._table = table
        self._timeout_s = timeout_s
        self._schema, self._name = split_table(table)
        self._engine = create_engine(choose_driver(url), timeout_s)
        self.dialect = self._engine.dialect.name

    def columns(self) -> Columns:
        """See `StateInspector`."""
        with self._transaction() as connection:
            return self._find_columns(connection)

    def indexes(self) -> tuple[Index, ...]:
        """See `StateInspector`."""
        with self._transaction() as connection:
            inspector = sa.inspect(connection)
            primary = inspector.get_pk_constraint(self._name, self._schema)["constrained_columns"]
            unique = inspector.get_unique_constraints(self._name, self._schema)
            found = [Index(tuple(primary), is_unique=True)] if primary else []
            found.extend(Index(tuple(one["column_names"]), is_unique=True) for one in unique)
            for index in inspector.get_indexes(self._name, self._schema):
                if "postgresql_where" in index.get("dialect_options", {}):
                    continue  # a partial index says nothing of the rows that it leaves out
                names = tuple(name for name in index["column_names"] if name is not None)
                whole = len(names) == len(index["column_names"])
                found.append(Index(names, bool(index["unique"]) and whole))
        return tuple(found)

    def is_view(self) -> bool:
        """See `StateInspector`."""
        with self._transaction() as connection:
            inspector = sa.inspect(connection)
            views = inspector.get_view_names(self._schema)
            if self.dialect == "postgresql":
                views = [*views, *inspector.get_materialized_view_names(self._schema)]
            return self._name in views

    def count_rows(self) -> int:
        """See `StateInspector`; PostgreSQL's own estimate where it has one."""
        with self._transaction() as connection:
            if self.dialect == "postgresql":
                estimate = connection.execute(
                    sa.text(
                        "SELECT sum(reltuples) FROM pg_class WHERE relkind = 'r' AND oid IN "
                        "(SELECT relid FROM pg_partition_tree(to_regclass(:name)) UNION SELECT to_regclass(:name))"
                    ),
                    {"name": self._quoted_name()},
                ).scalar()
                if estimate is not None and estimate > 0:
                    return int(estimate)
            source = sa.table(self._name, schema=self._schema)
            return int(connection.execute(sa.select(sa.func.count()).select_from(source)).scalar() or 0)

    def newest(self) -> int | None:
        """See `StateInspector`."""
        with self._transaction() as connection:
            column = self._find_columns(connection)["updated_at"]
            if column is None:
                return None
            cell: sa.ColumnClause[Any] = sa.column(column)
            newest: sa.ColumnElement[Any] = sa.func.max(cell)
            if self.dialect == "postgresql":
                newest = sa.cast(newest, sa.Text)
            source = sa.table(self._name, cell, schema=self._schema)
            return _parse_time(connection.execute(sa.select(newest).select_from(source)).scalar())

    def sample(self, filters: Filters, rows: int) -> list[Partition]:
        """See `StateInspector`."""
        with self._transaction() as connection:
            statement = ready_rows(self._table, self._find_columns(connection)).limit(rows)
            return _parse_sample(connection.execute(statement).fetchall(), filters)

    def server(self) -> PostgresServer:
        """Return what a PostgreSQL server says of itself; for no other server."""
        with self._transaction() as connection:

            def ask(sql: str) -> Any:
                return connection.execute(sa.text(sql), {"name": self._quoted_name()}).scalar()

            before_s = time.time()
            theirs_s = float(ask("SELECT extract(epoch FROM clock_timestamp())"))
            after_s = time.time()
            timeouts = {name: ask(f"SELECT setting FROM pg_settings WHERE name = '{name}'") for name in _TIMEOUTS}
            is_standby = bool(ask("SELECT pg_is_in_recovery()"))
            lag = ask("SELECT extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())")
            return PostgresServer(
                version=str(ask("SHOW server_version")),
                version_number=int(ask("SHOW server_version_num")),
                role=str(ask("SELECT current_user")),
                is_superuser=bool(ask("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")),
                may=tuple(word for word in _WRITES if ask(f"SELECT has_table_privilege(to_regclass(:name), '{word}')")),
                hides_rows=bool(ask("SELECT row_security_active(to_regclass(:name))")),
                is_standby=is_standby,
                replay_lag_s=float(lag) if is_standby and lag is not None else None,
                timeouts_ms={name: int(value) for name, value in timeouts.items() if value is not None},
                clock_ahead_s=theirs_s - (before_s + after_s) / 2,
                round_trip_s=after_s - before_s,
            )

    def _quoted_name(self) -> str:
        preparer = self._engine.dialect.identifier_preparer
        return ".".join(preparer.quote(part) for part in (self._schema, self._name) if part is not None)

    def _find_columns(self, connection: sa.Connection) -> Columns:
        names = [column["name"] for column in sa.inspect(connection).get_columns(self._name, self._schema)]
        return find_columns(self._table, names, render_label(self._url))

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        options: dict[str, Any] = {"postgresql_readonly": True} if self.dialect == "postgresql" else {}
        try:
            with self._engine.connect() as connection:
                connection.execution_options(**options)
                with connection.begin() as transaction:
                    if self.dialect == "postgresql":
                        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {math.ceil(self._timeout_s * 1000)}")
                        connection.exec_driver_sql("SET LOCAL TimeZone = 'UTC'")
                        connection.exec_driver_sql("SET LOCAL DateStyle = 'ISO, YMD'")
                    yield connection
                    transaction.rollback()
        except (SQLAlchemyError, OSError, ValueError) as error:
            # No chain: a driver's traceback may show the URL.
            words = scrub(str(getattr(error, "orig", None) or error), self._url) or type(error).__name__
            raise StateError(
                f"state store {render_label(self._url)} cannot be looked at: {words}", "check server, URL and rights"
            ) from None


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _parse_time(cell: object) -> int | None:
    if isinstance(cell, str):
        cell = re.sub(r"([+-]\d\d)$", r"\1:00", cell)  # PostgreSQL's text leaves out minutes that are zero
    try:
        parsed = parse_updated_at(cell)
    except BadValueError:
        return None
    return None if parsed == NOT_SET else parsed


def _parse_sample(rows: Sequence[Any], filters: Filters) -> list[Partition]:
    found = []
    first, last = filters.date_range
    for source, customer, query, date, _status, run, *_rest in rows:
        try:
            key = SeriesKey(parse_id(source), parse_id(customer), parse_id(query))
            partition = Partition(PartitionKey(key, parse_logical_date(date)), parse_id(run), NOT_SET, NOT_SET, None)
        except BadValueError:
            continue  # withheld by a mount, which counts and reports it
        if filters.admits(key) and first <= partition.key.date <= last:
            found.append(partition)
    return found
