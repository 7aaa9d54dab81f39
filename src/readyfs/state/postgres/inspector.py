"""Looking at a PostgreSQL state: what SQLAlchemy tells of any database, and what only this server says of itself."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import ReflectedIndex
from sqlalchemy.exc import SQLAlchemyError

from readyfs.partition import Partition
from readyfs.state.database.inspector import DatabaseInspector
from readyfs.state.filters import Filters
from readyfs.state.postgres.functions import SERVER_FACTS, TABLE_FACTS, Fact
from readyfs.state.rows.sample import parse_sample
from readyfs.state.store import StateTable
from readyfs.state.url import render_label

_WRITES: Final = ("INSERT", "UPDATE", "DELETE", "TRUNCATE")
_TIMEOUTS: Final = (
    "statement_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "transaction_timeout",
)


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """What a PostgreSQL server says of itself and of our role; times in ms or s, None where the server has none.

    `clock_ahead_s` is how far its clock is ahead of ours, known to within `round_trip_s`. `untold` are facts that a
    mount would ask for in vain. What is None here is what the server would not tell.
    """

    version: str
    version_number: int
    role: str
    is_superuser: bool
    may: tuple[str, ...] | None
    hides_rows: bool
    is_standby: bool | None
    replay_lag_s: float | None
    timeouts_ms: Mapping[str, int]
    clock_ahead_s: float
    round_trip_s: float
    untold: tuple[Fact, ...] = ()


class PostgresInspector(DatabaseInspector):
    """Looks at a PostgreSQL server, through whichever driver the URL names; see `StateInspector`."""

    def __init__(self, url: sa.URL, table: StateTable, timeout_s: float) -> None:
        super().__init__(url, table, timeout_s)
        self._engine = self._engine.execution_options(postgresql_readonly=True)

    def server(self) -> PostgresServer:
        """Return what the server says of itself."""
        with self._transaction() as connection:

            def ask(sql: str) -> Any:
                return connection.execute(sa.text(sql), {"name": self._quoted_name()}).scalar()

            def try_to_ask(*ways: str) -> tuple[bool, Any]:
                """Tell whether one of several ways to ask works, and the answer."""
                for way in ways:
                    try:
                        with connection.begin_nested():
                            return True, ask(way)
                    except SQLAlchemyError:
                        if connection.invalidated:
                            raise
                return False, None

            before_s = time.time()
            theirs_s = float(ask("SELECT extract(epoch FROM clock_timestamp())"))
            after_s = time.time()
            timeouts = {name: ask(f"SELECT setting FROM pg_settings WHERE name = '{name}'") for name in _TIMEOUTS}
            _, is_standby = try_to_ask("SELECT pg_is_in_recovery()")
            _, lag = try_to_ask("SELECT extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())")
            of_table = "FROM pg_class c WHERE c.oid = to_regclass(:name)"
            _, hides_rows = try_to_ask(
                "SELECT row_security_active(to_regclass(:name))", f"SELECT relrowsecurity {of_table}"
            )
            rights = {word: try_to_ask(f"SELECT has_table_privilege(to_regclass(:name), '{word}')") for word in _WRITES}
            asked = [(fact, "") for fact in SERVER_FACTS] + [(fact, of_table) for fact in TABLE_FACTS]
            return PostgresServer(
                version=str(ask("SHOW server_version")),
                version_number=int(ask("SHOW server_version_num")),
                role=str(ask("SELECT current_user")),
                is_superuser=bool(ask("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")),
                may=tuple(word for word, (_, may) in rights.items() if may)
                if all(told for told, _ in rights.values())
                else None,
                hides_rows=bool(hides_rows),
                is_standby=is_standby,
                replay_lag_s=float(lag) if is_standby and lag is not None else None,
                timeouts_ms={name: int(value) for name, value in timeouts.items() if value is not None},
                clock_ahead_s=theirs_s - (before_s + after_s) / 2,
                round_trip_s=after_s - before_s,
                untold=tuple(
                    fact for fact, where in asked if not try_to_ask(*(f"SELECT {way} {where}" for way in fact.ways))[0]
                ),
            )

    def sample(self, filters: Filters, rows: int) -> list[Partition]:
        """See `StateInspector`; read as a mount reads a view, so that no value fails the others."""
        if self._engine.driver != "psycopg":
            return super().sample(filters, rows)
        # Only now: the driver is an extra.
        from readyfs.state.postgres.sample import read_sample

        try:
            found = read_sample(self._engine, self._table, self._timeout_s, rows, render_label(self._url))
        except (SQLAlchemyError, OSError, ValueError) as error:
            raise self._refusal(error) from None
        return parse_sample(found, filters)

    def _begin(self, connection: sa.Connection) -> None:
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {math.ceil(self._timeout_s * 1000)}")
        connection.exec_driver_sql("SET LOCAL TimeZone = 'UTC'")
        connection.exec_driver_sql("SET LOCAL DateStyle = 'ISO, YMD'")

    def _is_partial(self, index: ReflectedIndex) -> bool:
        return "postgresql_where" in index.get("dialect_options", {})

    def _view_names(self, inspector: sa.Inspector) -> Sequence[str]:
        return [*inspector.get_view_names(self._schema), *inspector.get_materialized_view_names(self._schema)]

    def _estimate_rows(self, connection: sa.Connection) -> int | None:
        """Return what the last ANALYZE or VACUUM counted in the table and its partitions, None before the first."""
        estimate = connection.execute(
            sa.text(
                "SELECT sum(reltuples) FROM pg_class WHERE relkind = 'r' AND oid IN "
                "(SELECT relid FROM pg_partition_tree(to_regclass(:name)) UNION SELECT to_regclass(:name))"
            ),
            {"name": self._quoted_name()},
        ).scalar()
        return int(estimate) if estimate is not None and estimate > 0 else None

    def _readable(self, moment: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return sa.cast(moment, sa.Text)  # PostgreSQL's times hold more than Python's (infinity, BC)

    def _quoted_name(self) -> str:
        preparer = self._engine.dialect.identifier_preparer
        return ".".join(preparer.quote(part) for part in (self._schema, self._name) if part is not None)
