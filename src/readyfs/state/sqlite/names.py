"""Names in SQL, as SQLite quotes them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final

from readyfs.state.sqlite.errors import is_refused

_ROWID_NAMES: Final = ("rowid", "_rowid_", "oid")
"""Names of the row number, each of which a column may take away (sqlite.org/lang_createtable.html#rowid)."""


def quote(name: str | None) -> str:
    """Return a name as SQL; NULL for a column that is absent."""
    return "NULL" if name is None else '"' + name.replace('"', '""') + '"'


def select(name: str, columns: Iterable[str | None]) -> str:
    """Return the statement that selects columns of a table."""
    return f"SELECT {', '.join(map(quote, columns))} FROM {quote(name)}"


def is_text(declared: str) -> bool:
    """Tell whether a column of this type stores numbers as text (sqlite.org/datatype3.html, section 3.1)."""
    declared = declared.upper()
    return "INT" not in declared and any(word in declared for word in ("CHAR", "CLOB", "TEXT"))


def find_rowid(connection: sqlite3.Connection, name: str) -> str | None:
    """Return the name by which rows of a table have numbers; None for a view, or a table WITHOUT ROWID."""
    kind = connection.execute("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (name,)).fetchone()
    if kind is None or kind[0].lstrip()[:14].upper() == b"CREATE VIRTUAL":
        return None
    columns = connection.execute("SELECT name FROM pragma_table_xinfo(?)", (name,))
    taken = {column.decode("utf-8", "surrogateescape").casefold() for (column,) in columns}
    rowid = next((one for one in _ROWID_NAMES if one not in taken), None)
    if rowid is None:
        return None
    try:
        connection.execute(f"SELECT {rowid} FROM {quote(name)} LIMIT 1")
    except sqlite3.OperationalError as error:
        if not is_refused(error):
            raise
        return None
    return rowid
