"""Looking at a state store as an operator would: columns, keys, indexes, counts; never a whole table.

Used by `readyfs doctor` once the store itself was opened as a mount opens it. What every store can be asked stands
here; what only one kind of database can tell stands in its own inspector. Every call is a read-only transaction of its
own, ended before it returns, and raises `StateError`; a slow one leaves the answers of the others standing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

from readyfs.partition import Partition
from readyfs.state.filters import Filters
from readyfs.state.store import StateTable
from readyfs.state.survey import StatusSurvey
from readyfs.state.url import parse_url, sqlite_path

Columns: TypeAlias = dict[str, str | None]
"""The table's columns by the names of their settings, None for those that are absent."""


@dataclass(frozen=True, slots=True)
class Index:
    """One index or constraint of the table; `columns` as the database spells them, expressions left out."""

    columns: tuple[str, ...]
    is_unique: bool


class StateInspector(Protocol):
    """What can be asked of every state store. `dialect` is the database's name to SQLAlchemy."""

    dialect: str

    def columns(self) -> Columns:
        """Return the table's columns; raise `StateError` if one that is required is missing."""

    def indexes(self) -> tuple[Index, ...]:
        """Return every index, the primary key and unique constraints included; none for a view."""

    def is_view(self) -> bool:
        """Tell whether what is read is a view, which has no keys of its own."""

    def count_rows(self) -> int:
        """Return about how many rows the table has, ready or not."""

    def newest(self) -> int | None:
        """Return the newest `updated_at` in nanoseconds since the epoch, None without one that can be read."""

    def survey(self) -> StatusSurvey:
        """Return what the status column holds, of all rows; it reads the whole column, within the time limit."""

    def sample(self, filters: Filters, rows: int) -> list[Partition]:
        """Return the ready partitions among so many ready rows, those that pass the filters and can be parsed."""


def open_inspector(url: str, table: StateTable, timeout_s: float) -> StateInspector:
    """Return what looks at a state store; a bare path is a SQLite file."""
    # Only here: each inspector answers with what this module defines.
    path = sqlite_path(url)
    if path is not None:
        from readyfs.state.sqlite.inspector import SqliteInspector

        return SqliteInspector(path, table, timeout_s)
    parsed = parse_url(url)
    if parsed.get_backend_name() == "postgresql":
        from readyfs.state.postgres.inspector import PostgresInspector

        return PostgresInspector(parsed, table, timeout_s)
    from readyfs.state.database.inspector import DatabaseInspector

    return DatabaseInspector(parsed, table, timeout_s)
