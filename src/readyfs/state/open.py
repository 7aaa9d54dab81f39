"""From a state setting to an open store."""

from __future__ import annotations

from readyfs.state.database import DatabaseStore
from readyfs.state.filters import Filters
from readyfs.state.sqlite import SqliteStore
from readyfs.state.store import StateStore, StateTable
from readyfs.state.url import mask_url, parse_url, sqlite_path

__all__ = ["mask_url", "open_state", "sqlite_path"]


def open_state(url: str, table: StateTable, filters: Filters, timeout_s: float) -> StateStore:
    """Open a state store, read-only, and check that its table is as configured; a bare path is a SQLite file.

    `timeout_s` bounds waiting for a lock, for a connection and for one statement, each. Raises `UsageError` for a URL
    that makes no sense and `StateError` for a store that cannot be read.
    """
    path = sqlite_path(url)
    if path is not None:
        return SqliteStore(path, table, filters, timeout_s)
    return DatabaseStore(parse_url(url), table, filters, timeout_s)
