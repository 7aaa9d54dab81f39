"""Looking at a SQLite state: the file's table as SQLite's own tables describe it, and the files that lie beside it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from readyfs.errors import StateError
from readyfs.partition import Partition
from readyfs.state.filters import Filters
from readyfs.state.inspect import Columns, Index
from readyfs.state.rows.sample import parse_newest, parse_sample
from readyfs.state.sqlite.connection import MovedError, SqliteConnection, connected
from readyfs.state.sqlite.errors import explain, is_refused
from readyfs.state.sqlite.file import Access
from readyfs.state.sqlite.names import quote, select
from readyfs.state.sqlite.pairing import Pairing
from readyfs.state.sqlite.status import is_word
from readyfs.state.sqlite.survey import survey_status
from readyfs.state.sqlite.version import read_version
from readyfs.state.store import StateTable
from readyfs.state.survey import StatusSurvey
from readyfs.state.table import find_columns, split_table
from readyfs.text import escape_text

_BESIDE: Final = ("-wal", "-shm", "-journal")


@dataclass(frozen=True, slots=True)
class SqliteFiles:
    """How a SQLite state lies on disk; `beside` holds the owner's user id of each file that belongs to it."""

    path: Path
    access: Access
    owner: int
    beside: Mapping[Path, int]
    links: int = 1
    is_mount: bool = False
    is_held: bool = False
    """Whether somebody has a database in WAL mode open, and no log lies beside it."""


class SqliteInspector:
    """Looks at a SQLite file; see `StateInspector`."""

    dialect = "sqlite"

    def __init__(self, path: Path, table: StateTable, timeout_s: float) -> None:
        self._path = path
        self._table = table
        self._name = split_table(table)[1]
        self._timeout_s = timeout_s

    def columns(self) -> Columns:
        """See `StateInspector`."""
        with self._connection() as connection:
            return self._find_columns(connection)

    def indexes(self) -> tuple[Index, ...]:
        """See `StateInspector`."""
        found = []
        with self._connection() as connection:
            key = "SELECT name FROM pragma_table_xinfo(?) WHERE pk > 0 ORDER BY pk"
            primary = tuple(name.decode("utf-8", "replace") for (name,) in connection.execute(key, [self._name]))
            if primary:
                found.append(Index(primary, is_unique=True))
            # A partial index says nothing of the rows that it leaves out.
            listed = 'SELECT name, "unique" FROM pragma_index_list(?) WHERE NOT partial'
            for index, is_unique in connection.execute(listed, [self._name]).fetchall():
                cells = connection.execute("SELECT name FROM pragma_index_info(?) ORDER BY seqno", [index.decode()])
                names = tuple(name.decode("utf-8", "replace") for (name,) in cells if name is not None)
                found.append(Index(names, bool(is_unique)))
        return tuple(found)

    def is_view(self) -> bool:
        """See `StateInspector`."""
        statement = "SELECT count(*) FROM sqlite_master WHERE type = 'view' AND name = ? COLLATE NOCASE"
        with self._connection() as connection:
            return bool(connection.execute(statement, [self._name]).fetchone()[0])

    def count_rows(self) -> int:
        """See `StateInspector`; the highest row id, which costs nothing to find, unless the table has none."""
        quoted = quote(self._name)
        with self._connection() as connection:
            try:
                (found,) = connection.execute(f"SELECT max(rowid) FROM {quoted}").fetchone()
            except sqlite3.OperationalError as error:
                if not is_refused(error):
                    raise
                found = None  # a table WITHOUT ROWID; a view has NULL in every row
            if found is None:
                (found,) = connection.execute(f"SELECT count(*) FROM {quoted}").fetchone()
        return int(found)

    def newest(self) -> int | None:
        """See `StateInspector`."""
        with self._connection() as connection:
            column = self._find_columns(connection)["updated_at"]
            if column is None:
                return None
            statement = f"SELECT max({quote(column)}) FROM {quote(self._name)}"
            return parse_newest(connection.execute(statement).fetchone()[0])

    def survey(self) -> StatusSurvey:
        """See `StateInspector`."""
        with self._connection() as connection:
            column = self._find_columns(connection)["status"]
            assert column is not None
            return survey_status(connection, self._name, column, self._table.ready)

    def sample(self, filters: Filters, rows: int) -> list[Partition]:
        """See `StateInspector`."""
        with self._connection() as connection:
            columns = self._find_columns(connection)
            assert columns["status"] is not None
            wanted, parameters = is_word(columns["status"], self._table.ready)
            statement = f"{select(self._name, columns.values())} WHERE {wanted} LIMIT {rows}"
            return parse_sample(connection.execute(statement, parameters).fetchall(), filters)

    def files(self) -> SqliteFiles:
        """Return how the state lies on disk."""
        is_held = read_version(self._path).held
        with self._opened() as opened:
            seen = opened.seen
            # While it is open, so that a log that it needs is there, and before SQLite tidies up after it.
            beside = {one: one.stat().st_uid for suffix in _BESIDE if (one := Path(f"{seen.path}{suffix}")).exists()}
            database = seen.database
            return SqliteFiles(
                Path(seen.path), opened.access, database.owner, beside, database.links, database.is_mount, is_held
            )

    def _find_columns(self, connection: sqlite3.Connection) -> Columns:
        names = [
            name.decode("utf-8", "backslashreplace")
            for (name,) in connection.execute("SELECT name FROM pragma_table_xinfo(?)", [self._name])
        ]
        return find_columns(self._table, names, str(self._path))

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with self._opened() as opened:
            yield opened.connection

    @contextmanager
    def _opened(self) -> Iterator[SqliteConnection]:
        try:
            with connected(self._path, self._timeout_s, Pairing()) as opened:
                yield opened
        except MovedError as error:
            name = escape_text(os.fspath(self._path))
            raise StateError(f"state database {name} was replaced while it was opened", "ask again") from error
        except sqlite3.Error as error:
            raise explain(error, self._path, self._timeout_s) from error
