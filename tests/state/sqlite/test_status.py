"""V1: the status is compared as text, and a table and every view of it say the same, whatever stores the status."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from readyfs.partition import render_date
from readyfs.state.sqlite.names import select
from readyfs.state.sqlite.status import is_word
from readyfs.state.sqlite.survey import FIRST_ROWS, survey_status
from readyfs.state.store import StateTable
from readyfs.state.survey import StatusSurvey
from tests.state.state_files import KEY, UPDATED, load_once

DECLARED = ["TEXT", "", "BLOB", "INTEGER", "BOOLEAN", "REAL", "TEXT COLLATE NOCASE"]
STORED: dict[str, set[str]] = {
    # What is stored, and the words that it is ready for in a column that takes it as it is.
    "'success'": {"success"},
    "'Success'": set(),
    "'success '": set(),
    "x'73756363657373'": {"success"},
    "x'7375636365737300'": set(),
    "1": {"1", "true"},
    "0": {"0", "false"},
    "10": set(),
    "'1'": {"1"},
    "x'31'": {"1"},
    "1.0": {"1", "1.0", "true"},
    "1.5": {"1.5"},
    "'true'": {"true"},
    "'TRUE'": set(),
    "''": set(),
    "NULL": set(),
    "9007199254740993": {"9007199254740993"},
    "'01'": {"01"},
}
WORDS = ["success", "1", "1.0", "true", "01", "9007199254740993"]
TABLES = ("keyed", "plain", "without_rowid")
"""Read in chunks, and row by row for want of a key or of row numbers."""
SEEN = {
    "view": "CREATE VIEW view AS SELECT * FROM keyed",
    "expression": "CREATE VIEW expression AS SELECT *, coalesce(status, NULL) AS said FROM keyed",
    "joined": "CREATE VIEW joined AS SELECT * FROM keyed UNION ALL SELECT * FROM keyed WHERE 0",
    # Its columns have the affinity of those that it was made of, so that it stores the same.
    "copy": "CREATE TABLE copy AS SELECT * FROM keyed",
}
COLUMNS = (
    "source TEXT NOT NULL, customer_id TEXT NOT NULL, query_name TEXT NOT NULL, logical_date TEXT NOT NULL, "
    "status {}, current_run_id TEXT, updated_at TEXT"
)


def make(path: Path, declared: str) -> None:
    """Make the same rows in a table of each kind, one date for each stored value."""
    key = "(source, customer_id, query_name, logical_date)"
    with closing(sqlite3.connect(path)) as connection:
        columns = COLUMNS.format(declared)
        connection.execute(f"CREATE TABLE keyed ({columns}, UNIQUE {key})")
        connection.execute(f"CREATE TABLE plain ({columns})")
        connection.execute(f"CREATE TABLE without_rowid ({columns}, PRIMARY KEY {key}) WITHOUT ROWID")
        for day, value in enumerate(STORED, 1):
            connection.execute(
                f"INSERT INTO keyed VALUES ('ads', '001', 'daily', '2024-06-{day:02}', {value}, 'r', '{UPDATED}')"
            )
        for table in ("plain", "without_rowid"):
            connection.execute(f"INSERT INTO {table} SELECT * FROM keyed")
        for statement in SEEN.values():
            connection.execute(statement)
        connection.commit()


def served(path: Path, name: str, word: str) -> list[int]:
    """Return which of the stored values are ready, by their numbers."""
    status = "said" if name == "expression" else "status"
    rows = load_once(path, StateTable(table=name, status=status, ready=word)).series.get(KEY)
    return [] if rows is None else [int(render_date(date)[-2:]) for date in rows.dates]


def stored_as(path: Path, word: str) -> list[int]:
    """Return which values must be ready, by what SQLite has made of them on the way into the column."""
    with closing(sqlite3.connect(path)) as connection:
        kept = connection.execute("SELECT typeof(status), status FROM keyed ORDER BY logical_date").fetchall()
    numbers = {"true": "1", "false": "0"}
    expected = []
    for number, (kind, value) in enumerate(kept, 1):
        match kind:
            case "null":
                continue
            case "text":
                is_so = value == word
            case "blob":
                is_so = value == word.encode()
            case "integer":
                is_so = str(value) == numbers.get(word, word)
            case _:
                is_so = numbers.get(word, word) in (repr(value), f"{value:.15g}")
        if is_so:
            expected.append(number)
    return expected


@pytest.mark.parametrize("declared", DECLARED)
def test_table_and_every_view_of_it_show_the_same_rows_ready(tmp_path: Path, declared: str) -> None:
    path = tmp_path / "state.db"
    make(path, declared)
    for word in WORDS:
        expected = stored_as(path, word)
        if declared in ("", "BLOB"):  # what is stored there is what was given
            assert expected == [day for day, words in enumerate(STORED.values(), 1) if word in words]
        for name in (*TABLES, *SEEN):
            assert served(path, name, word) == expected, (name, word)


@pytest.mark.parametrize("view", [False, True], ids=["table", "view"])
def test_index_of_a_text_status_serves(tmp_path: Path, view: bool) -> None:
    """The comparison casts nothing, so that what is ready can be found without a scan."""
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        connection.execute("CREATE TABLE t (status TEXT, source TEXT)")
        connection.execute("CREATE INDEX by_status ON t (status)")
        connection.execute("CREATE VIEW v AS SELECT * FROM t")
        name = "v" if view else "t"
        columns: dict[str, str | None] = dict.fromkeys(
            ("customer_id", "query_name", "logical_date", "current_run_id", "updated_at", "record_count")
        )
        columns |= {"source": "source", "status": "status", "schema_version": None}
        wanted, parameters = is_word("status", "success")
        sql = f"{select(name, columns.values())} WHERE {wanted}"
        plan = connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters).fetchall()
    assert any("USING INDEX by_status (status=?)" in line[3] for line in plan), plan


def test_words_are_counted_for_a_while_and_then_those_of_the_first_rows(tmp_path: Path) -> None:
    """In rollback-journal mode whoever reads holds up the producer."""
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        connection.text_factory = bytes
        connection.execute("CREATE TABLE t (status TEXT COLLATE NOCASE)")
        assert survey_status(connection, "t", "status", "success").rows == 0
        numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
        words = "SELECT CASE WHEN i % 3 THEN 'Done' WHEN i % 2 THEN 'done' ELSE 'success' END FROM n"
        connection.execute(f"INSERT INTO t {numbers} {words}", (FIRST_ROWS + 6,))
        whole = survey_status(connection, "t", "status", "success")
        assert whole == StatusSurvey(
            "status", "TEXT", 100_006, 16_667, (("'Done'", 66_671), ("'done'", 16_668), ("'success'", 16_667))
        )
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (100_006,), "nothing interrupts any more"
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            survey_status(connection, "t", "status", "success", limit_s=-1.0)
        looks = iter([0.0, *[9.0] * 5])
        first = survey_status(connection, "t", "status", "success", now_s=lambda: next(looks, 9.0))
    assert (first.rows, first.is_whole) == (FIRST_ROWS, False)
    assert first.describe("success").startswith("16,666 of the first 100,000 rows are ready: ")
