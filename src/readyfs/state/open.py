"""From a state setting to an open store, or to a reader of one; what a kind of database needs is imported for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from readyfs.state.filters import Filters
from readyfs.state.url import parse_url, sqlite_path

if TYPE_CHECKING:
    from readyfs.state.reader import StateReader
    from readyfs.state.store import StateStore, StateTable


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
        from readyfs.state.sqlite.store import SqliteStore

        return SqliteStore(path, table, filters, timeout_s)
    from readyfs.state.database.sqlalchemy_engine import choose_driver, create_engine

    parsed = choose_driver(parse_url(url))
    if parsed.drivername != "postgresql+psycopg":
        from readyfs.state.database.store import DatabaseStore

        return DatabaseStore(parsed, table, filters, timeout_s, full_interval_s)
    engine = create_engine(parsed, timeout_s)
    # Only now: the driver is an extra, and making the engine explained a missing one.
    from readyfs.state.postgres.store import PostgresStore

    return PostgresStore(engine, parsed, table, filters, timeout_s)


def open_reader(url: str, table: StateTable, filters: Filters, timeout_s: float) -> StateReader:
    """Return what reads a state store for people's questions; nothing is opened before the first of them.

    Takes and raises what `open_state` does.
    """
    path = sqlite_path(url)
    if path is not None:
        from readyfs.state.sqlite.reader import SqliteReader

        return SqliteReader(path, table, filters, timeout_s)
    from readyfs.state.database.sqlalchemy_engine import choose_driver, create_engine

    parsed = choose_driver(parse_url(url))
    engine = create_engine(parsed, timeout_s)
    if parsed.drivername != "postgresql+psycopg":
        from readyfs.state.database.reader import DatabaseReader

        return DatabaseReader(engine, parsed, table, filters, timeout_s)
    from readyfs.state.postgres.reader import PostgresReader

    return PostgresReader(engine, parsed, table, filters, timeout_s)
