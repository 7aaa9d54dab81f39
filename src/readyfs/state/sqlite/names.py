"""Names in SQL, as SQLite quotes them."""

from __future__ import annotations

from collections.abc import Iterable


def quote(name: str | None) -> str:
    """Return a name as SQL; NULL for a column that is absent."""
    return "NULL" if name is None else '"' + name.replace('"', '""') + '"'


def select(name: str, columns: Iterable[str | None]) -> str:
    """Return the statement that selects columns of a table."""
    return f"SELECT {', '.join(map(quote, columns))} FROM {quote(name)}"
