"""Any other database that SQLAlchemy knows: one read-only transaction a load, rows streamed as the driver gives them.

A connection is made for each load and closed after it, so a server that restarted or moved needs no care.
"""

from __future__ import annotations

import math
import shlex
import sys
import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, NoSuchTableError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from readyfs.errors import StateError, UsageError
from readyfs.partition import escape_text
from readyfs.state.fetch import CHUNK_ROWS, RowBuffer
from readyfs.state.filters import Filters
from readyfs.state.rows import RowParser
from readyfs.state.store import StateLoad, StateTable
from readyfs.state.table import find_columns, missing_table, ready_rows, split_table
from readyfs.state.url import render_label, scrub
from readyfs.state.vocabulary import Vocabulary

_PACKAGES: Final = {
    "psycopg": "psycopg[binary]",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
    "snowflake": "snowflake-sqlalchemy",
}
"""The package that brings a driver's module or dialect, where its name alone would not be enough."""

_ISOLATION: Final = {"postgresql": "REPEATABLE READ", "mysql": "REPEATABLE READ", "mariadb": "REPEATABLE READ"}
"""All tables of one statement are of one moment anyway; this also holds for looking up the columns before it."""


class DatabaseStore:
    """Reads the table of a database server; see `StateStore`."""

    def __init__(self, url: sa.URL, table: StateTable, filters: Filters, timeout_s: float) -> None:
        """Connect and check that the table is as configured; raise `StateError` if that fails."""
        self.label = render_label(url)
        self._url = url
        self._table = table
        self._filters = filters
        self._timeout_s = timeout_s
        self._engine = create_engine(url, timeout_s)
        with self._transaction() as connection:
            self._statement(connection)

    def probe(self) -> Hashable | None:
        """Return None: only a load can tell."""
        return None

    def load(self) -> StateLoad:
        """Read every ready row in one transaction."""
        buffer = RowBuffer()
        with self._transaction() as connection:
            started = time.perf_counter()
            # Streamed by the server, where its driver can: else the driver would hold all rows as objects.
            with connection.execute(self._statement(connection), execution_options={"yield_per": CHUNK_ROWS}) as result:
                buffer.fill(result)
        lock_ms = (time.perf_counter() - started) * 1000
        parser = RowParser(self._table.ready, Vocabulary(self._filters))
        for rows in buffer.drain():
            parser.feed(rows)
        return StateLoad(None, parser.series(), parser.withheld, parser.rows, lock_ms)

    def forget(self) -> None:
        """Do nothing: every load is whole."""

    def close(self) -> None:
        """Release the engine; no connection stays open between loads."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        """Open a connection and a transaction that is rolled back; any failure of the driver becomes an outage."""
        dialect = self._engine.dialect
        options: dict[str, object] = {}
        if dialect.name in _ISOLATION:
            options["isolation_level"] = _ISOLATION[dialect.name]
        if dialect.name == "postgresql":
            options["postgresql_readonly"] = True
        try:
            with self._engine.connect() as connection:
                connection.execution_options(**options)
                with connection.begin() as transaction:
                    self._set_up(connection)
                    yield connection
                    transaction.rollback()
        except (SQLAlchemyError, OSError, ValueError) as error:
            # A ValueError is a driver that cannot decode a cell. No chain: a driver's traceback may show the URL.
            raise self._outage(error) from None

    def _set_up(self, connection: sa.Connection) -> None:
        if self._engine.dialect.name == "postgresql":
            # By statement and not by connection option: poolers such as PgBouncer refuse those.
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {math.ceil(self._timeout_s * 1000)}")
            connection.exec_driver_sql("SET LOCAL TimeZone = 'UTC'")
            connection.exec_driver_sql("SET LOCAL DateStyle = 'ISO, YMD'")

    def _statement(self, connection: sa.Connection) -> sa.Select[Any]:
        """Return the statement for the table as it is now; raise `StateError` if it is not as configured."""
        schema, name = split_table(self._table)
        inspector = sa.inspect(connection)
        try:
            columns = inspector.get_columns(name, schema)
        except NoSuchTableError:
            present = [*inspector.get_table_names(schema), *inspector.get_view_names(schema)]
            raise missing_table(self._table, self.label, present) from None
        found = find_columns(self._table, [column["name"] for column in columns], self.label)
        times = {column["name"] for column in columns if isinstance(column["type"], sa.Date | sa.DateTime)}
        # PostgreSQL's times hold more than Python's (infinity, BC), and a driver that meets one fails the whole fetch.
        as_text = ("logical_date", "updated_at") if self._engine.dialect.name == "postgresql" else ()
        return ready_rows(self._table, found, frozenset(field for field in as_text if found[field] in times))

    def _outage(self, error: Exception) -> StateError:
        cause = getattr(error, "orig", None) or error
        words = scrub(str(cause), self._url) or type(cause).__name__
        return StateError(f"state store {self.label} cannot be read: {words}", "check server, URL and rights")


def choose_driver(url: sa.URL) -> sa.URL:
    """Let a URL that names no driver have psycopg where it is installed: SQLAlchemy 2.0 would look for psycopg2."""
    if url.drivername == "postgresql" and find_spec("psycopg") is not None:
        return url.set(drivername="postgresql+psycopg")
    return url


def create_engine(url: sa.URL, timeout_s: float) -> sa.Engine:
    """Return an engine without a pool; raise `UsageError` or `StateError` for a dialect or driver that is not there."""
    try:
        dialect = url.get_dialect()
    except (NoSuchModuleError, ArgumentError) as error:
        if url.get_backend_name() == "postgres":
            raise UsageError(
                "state URL: the dialect is called postgresql", "write postgresql:// for postgres://"
            ) from error
        known = "sqlite, postgresql, mysql, mariadb, oracle, mssql"
        raise UsageError(
            f"state URL: SQLAlchemy has no dialect {escape_text(url.drivername)} (it brings {known})",
            "correct the URL, or install the package that brings the dialect",
        ) from error
    except ModuleNotFoundError as error:
        raise _missing_driver(url, error) from error
    if dialect.is_async:
        raise UsageError(
            f"state URL: driver {escape_text(url.drivername)} is asynchronous",
            "name a synchronous driver, such as postgresql+psycopg",
        )
    try:
        return sa.create_engine(
            url, poolclass=NullPool, hide_parameters=True, connect_args=_connect_arguments(url, timeout_s)
        )
    except ModuleNotFoundError as error:
        raise _missing_driver(url, error) from error
    except (ArgumentError, TypeError, ValueError) as error:
        raise UsageError(f"state URL of {render_label(url)}: {scrub(str(error), url)}", "correct the URL") from None


def _missing_driver(url: sa.URL, error: ModuleNotFoundError) -> StateError:
    module = (error.name or url.get_driver_name()).partition(".")[0]
    package = _PACKAGES.get(module, module)
    return StateError(
        f"the driver for {escape_text(url.drivername)} is not installed (no module {module})",
        # Ours and no other Python: after an install of its own readyfs does not see what the user's `pip` brings.
        f"{shlex.quote(sys.executable)} -m pip install '{package}'",
    )


def _connect_arguments(url: sa.URL, timeout_s: float) -> dict[str, object]:
    """Return the driver's own names for a time limit, except where the URL sets them."""
    seconds = max(2, math.ceil(timeout_s))  # libpq takes whole seconds and makes 2 of 1
    limits: dict[str, object]
    match url.get_driver_name():
        case "psycopg" | "psycopg2":
            limits = {"connect_timeout": seconds, "tcp_user_timeout": seconds * 1000}
            # Of a database in SQL_ASCII SQLAlchemy would get bytes, which it cannot read the server's version from.
            limits["client_encoding"] = "utf8"
        case "pg8000":
            limits = {"timeout": seconds}
        case "pymysql":
            limits = {"connect_timeout": seconds, "read_timeout": seconds}
        case "mysqldb":
            limits = {"connect_timeout": seconds}
        case _:
            limits = {}
    return {name: value for name, value in limits.items() if name not in url.query}
