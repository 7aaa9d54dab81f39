"""From a state setting to an open store."""

from __future__ import annotations

from readyfs.state.database.sqlalchemy_engine import choose_driver, create_engine
from readyfs.state.database.store import DatabaseStore
from readyfs.state.filters import Filters
from readyfs.state.sqlite.store import SqliteStore
from readyfs.state.store import StateStore, StateTable
from readyfs.state.url import parse_url, sqlite_path


def open_state(
    url: str, table: StateTable, filters: Filters, timeout_s: float, full_interval_s: float = 0.0
) -> StateStore:
    """Open a state store, read-only, and check that its table is as configured; a bare path is a SQLite file.

    `timeout_s` bounds waiting for a lock, for a connection and for one statement, each. A store that knows changes only
    by the producer's word reads everything every `full_interval_s`, with 0 at each load. Raises `UsageError` for a URL
    that makes no sense and `StateError` for a store that cannot be read.
    """
    path = sqlite_path(url)
    if path is not None:
        return SqliteStore(path, table, filters, timeout_s)
    parsed = choose_driver(parse_url(url))
    if parsed.drivername != "postgresql+psycopg":
        return DatabaseStore(parsed, table, filters, timeout_s, full_interval_s)
    engine = create_engine(parsed, timeout_s)
    # Only now: the driver is an extra, and making the engine explained a missing one.
    from readyfs.state.postgres.store import PostgresStore

    return PostgresStore(engine, parsed, table, filters, timeout_s)
