"""Looking at one SQLite file again and again: each look a connection of its own, and what one look tells the next.

Used by whatever reads the whole table. What the look is for is the caller's.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from readyfs.errors import StateError
from readyfs.state.sqlite.connection import MovedError, SqliteConnection, connected
from readyfs.state.sqlite.errors import explain, is_locked, log_elsewhere
from readyfs.state.sqlite.file import Access, Sighting, look
from readyfs.state.sqlite.pairing import Pairing
from readyfs.state.sqlite.version import Version, read_version
from readyfs.state.store import StateTable
from readyfs.state.table import find_columns, missing_table, split_table
from readyfs.text import escape_text

LONE_LOOKS: Final = 3
"""In so many looks running a database was open and had no log: in one, its log may just be being made."""

_TRIES: Final = 5
_TORN_PAUSE_S: Final = 0.005
_LONE_PAUSE_S: Final = 0.05

T = TypeVar("T")


class Looks:
    """The looks at one file. One thread at a time calls it, and it holds nothing open between calls."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self.path = path
        self._timeout_s = timeout_s
        self._pairing = Pairing()
        self._lone_looks = 0

    @property
    def is_log_elsewhere(self) -> bool:
        """Whether somebody has the database open whose log is not here, so that it must be refused."""
        return self._lone_looks >= LONE_LOOKS

    def version(self) -> Version:
        """Return the version of the files, without a connection."""
        version = read_version(self.path)
        self._lone_looks = self._lone_looks + 1 if version.held else 0
        return version

    def settled_version(self) -> Version:
        """Do the same before a load; raise `StateError` once it is certain that the log is elsewhere."""
        version = self.version()
        # Where only the file was handed over, a log is likely to be elsewhere: nothing is shown before that is certain.
        while version.held and not self.is_log_elsewhere and is_handed_over(look(self.path)):
            time.sleep(_LONE_PAUSE_S)
            version = self.version()
        if self.is_log_elsewhere:
            raise log_elsewhere(self.path)
        return version

    def attempt(self, action: Callable[[SqliteConnection], T]) -> T:
        """Run an action on a connection, and again if the files moved meanwhile; raise `StateError`."""
        for _ in range(_TRIES):
            before = look(self.path)
            try:
                with connected(self.path, self._timeout_s, self._pairing) as opened:
                    result = action(opened)
                    self._pairing.note(opened.seen, opened.checkpointed)
                    return result
            except MovedError:
                pass
            except sqlite3.Error as error:
                # While the files move, another try may well succeed.
                if is_locked(error) or look(self.path).database == before.database:
                    raise explain(error, self.path, self._timeout_s) from error
        raise StateError(
            f"state database {escape_text(str(self.path))} changed during each of {_TRIES} tries to read it",
            "look for what keeps replacing it",
        )

    def columns(self, opened: SqliteConnection, table: StateTable, fields: Sequence[str]) -> dict[str, str | None]:
        """Map fields to the columns of the table as it is now; raise `StateError` if it is not as configured."""
        connection, description = opened.connection, self._describe(opened)
        schema, name = split_table(table)
        # This read takes the lock and notices a changed schema, which the pragmas below would not.
        tables = _names(connection, "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
        present = _names(connection, "SELECT name FROM pragma_table_xinfo(?)", name)
        if not present or (schema is not None and schema.casefold() != "main"):
            raise missing_table(table, description, tables)
        return find_columns(table, present, description, fields)

    def refuse_torn(self, opened: SqliteConnection) -> None:
        """Raise `StateError` for a file that ends within a page: SQLite reads zeros there, and rows vanish."""
        (page_size,) = opened.connection.execute("PRAGMA page_size").fetchone()
        for _ in range(_TRIES):
            database = look(self.path).database
            if database.identity != opened.seen.database.identity:
                raise MovedError
            if database.size % page_size == 0:
                return
            time.sleep(_TORN_PAUSE_S)  # in WAL mode a checkpoint may be making it longer
        raise StateError(
            f"state database {escape_text(str(self.path))} is damaged (it ends in the middle of a page)",
            "restore it, and look for what cut it off",
        )

    def refuse_moved(self, opened: SqliteConnection) -> None:
        """Raise `MovedError` if what was read may be of two files; to be asked before the transaction ends."""
        # A copy over the file, or a checkpoint into one at rest: in WAL mode proper a checkpoint is harmless.
        if opened.access in (Access.ROLLBACK, Access.WAL_AT_REST) and (
            look(self.path).database != opened.seen.database
        ):
            raise MovedError

    def _describe(self, opened: SqliteConnection) -> str:
        return escape_text(str(self.path)) + ("" if opened.seen.database.size else ", an empty file of 0 bytes,")


def is_handed_over(seen: Sighting) -> bool:
    """Tell whether the file may be here without its directory: by a mount of its own, or under another name."""
    return seen.database.is_mount or seen.database.links > 1


def _names(connection: sqlite3.Connection, statement: str, *parameters: str) -> list[str]:
    return [name.decode("utf-8", "backslashreplace") for (name,) in connection.execute(statement, parameters)]
