"""Counting the words in the status column of a SQLite table, for no longer than a producer can wait for."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Final

from readyfs.state.rows.values import quote_value
from readyfs.state.sqlite.names import quote
from readyfs.state.sqlite.status import says_word
from readyfs.state.survey import LISTED_WORDS, LONGEST_WORD, StatusSurvey

LIMIT_S: Final = 2.0
"""In rollback-journal mode a reader holds up commits, and the usual driver of a producer waits 5 s for one."""
FIRST_ROWS: Final = 100_000
"""So many are counted if the whole table takes too long."""

_INSTRUCTIONS: Final = 100_000
"""Of SQLite's own, between two looks at the clock: some milliseconds."""


def survey_status(
    connection: sqlite3.Connection,
    table: str,
    column: str,
    ready: str,
    limit_s: float = LIMIT_S,
    now_s: Callable[[], float] = time.monotonic,
) -> StatusSurvey:
    """Return what the column holds: of the whole table, or of its first rows if that takes too long."""
    declared = connection.execute(
        "SELECT type FROM pragma_table_xinfo(?) WHERE name = ? COLLATE BINARY", [table, column]
    ).fetchone()
    deadline = now_s() + limit_s
    # Called every so many instructions; a true answer interrupts the statement.
    connection.set_progress_handler(lambda: now_s() > deadline, _INSTRUCTIONS)
    try:
        words, is_whole = _count(connection, quote(table), column, ready), True
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        first = f"(SELECT {quote(column)} FROM {quote(table)} LIMIT {FIRST_ROWS})"
        deadline = now_s() + limit_s
        words, is_whole = _count(connection, first, column, ready), False
    finally:
        connection.set_progress_handler(None, 0)
    return StatusSurvey(
        column=column,
        declared=declared[0].decode("utf-8", "replace") if declared else "",
        rows=words[0][3] if words else 0,
        ready=int(words[0][4]) if words else 0,
        words=tuple((_show(kind, word), rows) for kind, word, rows, _, _ in words),
        is_whole=is_whole,
    )


def _count(
    connection: sqlite3.Connection, source: str, column: str, ready: str
) -> list[tuple[bytes, bytes | None, int, int, float]]:
    condition, parameters = says_word(column, ready)
    status = quote(column)
    word = f"substr(CAST({status} AS TEXT), 1, {LONGEST_WORD + 1}) COLLATE BINARY"
    return connection.execute(
        "SELECT kind, word, counted, sum(counted) OVER (), sum(ready) OVER () FROM "
        f"(SELECT typeof({status}) AS kind, {word} AS word, count(*) AS counted, total({condition}) AS ready "
        f"FROM {source} GROUP BY 1, 2) ORDER BY counted DESC, word LIMIT {LISTED_WORDS}",
        parameters,
    ).fetchall()


def _show(kind: bytes, word: bytes | None) -> str:
    """Return a word as one would write it: text in quotes, and a number without."""
    shown = quote_value(word)
    return f"blob {shown}" if kind == b"blob" else shown.strip("'") if kind in (b"integer", b"real") else shown
