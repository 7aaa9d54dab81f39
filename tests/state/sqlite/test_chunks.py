"""Planning how a SQLite table is read in chunks."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from readyfs.state.rows.parser import ROW_FIELDS
from readyfs.state.sqlite.chunks import plan_chunks
from tests.state.state_files import create_table


def test_an_error_while_row_numbers_are_looked_for_is_not_their_absence(tmp_path: Path) -> None:
    """A table is read row by row for what it is, never because SQLite failed once."""
    create_table(tmp_path / "state.db", keyed=True)
    columns = {field: field for field in ROW_FIELDS}
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        connection.text_factory = bytes
        assert plan_chunks(connection, "partition_state", columns, "success") is not None
        connection.set_trace_callback(lambda statement: connection.interrupt() if "LIMIT 1" in statement else None)
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            plan_chunks(connection, "partition_state", columns, "success")
