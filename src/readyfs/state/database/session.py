"""Transactions in any other database: each on a connection of its own, read-only, and rolled back in the end."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from readyfs.errors import StateError
from readyfs.state.database.position import ServerMoment, look_at_server
from readyfs.state.database.sqlalchemy_engine import MYSQL_SESSION
from readyfs.state.url import render_label, scrub

_ISOLATION: Final = {"postgresql": "REPEATABLE READ", "mysql": "REPEATABLE READ", "mariadb": "REPEATABLE READ"}
"""So that all statements of a transaction see one moment. Elsewhere it is the database's default."""


class DatabaseSession:
    """Makes transactions; the engine has no pool."""

    def __init__(self, engine: sa.Engine, url: sa.URL, timeout_s: float) -> None:
        self.label = render_label(url)
        self._engine = engine
        self._url = url
        self._timeout_s = timeout_s

    def close(self) -> None:
        """Release the engine."""
        self._engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[tuple[sa.Connection, ServerMoment | None]]:
        """Open a connection and a transaction that is rolled back; any failure of the driver becomes an outage.

        With it goes how far the server had come before, None for a database that we cannot ask.
        """
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
                    yield connection, self._set_up(connection)
                    transaction.rollback()
        except (SQLAlchemyError, OSError, ValueError, RuntimeError) as error:
            # A ValueError is a driver that cannot decode a cell, a RuntimeError one that lacks what a password needs.
            # No chain: a driver's traceback may show the URL.
            raise self._outage(error) from None

    def _set_up(self, connection: sa.Connection) -> ServerMoment | None:
        before = None
        match self._engine.dialect.name:
            case "postgresql":
                # By statement and not by connection option: poolers such as PgBouncer refuse those.
                connection.exec_driver_sql(f"SET LOCAL statement_timeout = {math.ceil(self._timeout_s * 1000)}")
                connection.exec_driver_sql("SET LOCAL TimeZone = 'UTC'")
                connection.exec_driver_sql("SET LOCAL DateStyle = 'ISO, YMD'")
            case "mysql" | "mariadb":
                connection.exec_driver_sql(MYSQL_SESSION)
                before = look_at_server(connection)
                connection.exec_driver_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
            case _:
                pass
        return before

    def _outage(self, error: Exception) -> StateError:
        cause = getattr(error, "orig", None) or error
        words = scrub(str(cause), self._url) or type(cause).__name__
        return StateError(f"state store {self.label} cannot be read: {words}", "check server, URL and rights")
