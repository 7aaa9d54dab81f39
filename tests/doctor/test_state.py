"""What the doctor says of any state, here of SQLite files: whether it can be read, keys, columns, views and clocks."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from readyfs.doctor.bounded import run_checks
from readyfs.doctor.examine import choose_checks
from readyfs.doctor.finding import Verdict
from readyfs.doctor.state import judge_indexes, judge_newest, look_at_state
from readyfs.state.inspect import Index
from readyfs.state.sqlite.inspector import SqliteInspector
from readyfs.state.store import StateTable
from tests.doctor.subjects import looked_at, make_subject, the, verdicts
from tests.state.state_files import CONTRACT_COLUMNS, create_table, execute

COLUMNS: dict[str, str | None] = {
    field: field for field in ("source", "customer_id", "query_name", "logical_date", "updated_at")
}


def test_a_state_that_cannot_be_read_is_one_problem_with_the_words_of_a_mount(tmp_path: Path) -> None:
    ((found, *more),) = [
        findings for _, findings in run_checks(choose_checks(make_subject(state=tmp_path / "no"), ("state",)), 20, repr)
    ]
    assert (found.verdict, more) == (Verdict.PROBLEM, [])
    assert "does not exist" in found.summary
    (tmp_path / "no").write_bytes(b"garbage" * 1000)
    assert looked_at(tmp_path / "no") == {"state": "problem"}


def test_a_table_of_another_name_is_a_problem(state: Path) -> None:
    execute(state, "ALTER TABLE partition_state RENAME TO other")
    found = the("state", look_at_state(make_subject(state=state)))
    assert (found.verdict, found.remedy) == (Verdict.PROBLEM, "name the table with --state-table")


def test_absent_columns_are_a_note(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    create_table(path, columns=[one for one in CONTRACT_COLUMNS if not one.startswith(("record_count", "updated_at"))])
    found = looked_at(path)
    assert (found["state-columns"], found["state-clock"]) == ("note", "note")


def test_a_table_without_a_key_is_a_warning_that_the_remedy_mends(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    create_table(path)
    found = the("state-key", look_at_state(make_subject(state=path)))
    assert found.verdict is Verdict.WARNING
    execute(path, found.remedy)
    assert looked_at(path)["state-key"] == "ok"


def test_indexes_that_do_not_make_a_key_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    create_table(path)
    execute(
        path,
        "CREATE INDEX a ON partition_state(source, customer_id, query_name, logical_date)",
        "CREATE UNIQUE INDEX b ON partition_state(source, customer_id, query_name, logical_date, updated_at)",
        "CREATE UNIQUE INDEX c ON partition_state(source, customer_id, query_name, logical_date) "
        "WHERE status = 'success'",
    )
    assert looked_at(path)["state-key"] == "warning"


def test_a_view_and_a_table_without_row_ids_can_be_looked_at(state: Path) -> None:
    execute(state, "CREATE VIEW v AS SELECT * FROM partition_state")
    of_view = verdicts(look_at_state(make_subject(state=state, table=StateTable(table="v"))))
    assert (of_view["state-key"], of_view["memory"]) == ("note", "ok")
    execute(state, "CREATE TABLE w (source TEXT PRIMARY KEY) WITHOUT ROWID", "INSERT INTO w VALUES ('a'), ('b')")
    counts = {name: SqliteInspector(state, StateTable(table=name), 5).count_rows() for name in ("v", "w")}
    assert counts == {"v": 1, "w": 2}


def test_a_time_in_the_future_is_a_warning(state: Path) -> None:
    execute(state, "UPDATE partition_state SET updated_at = '2199-01-01T00:00:00Z'")
    assert looked_at(state)["state-clock"] == "warning"


@pytest.mark.parametrize(("ahead_s", "verdict"), [(-5, "ok"), (5, "ok"), (600, "warning")])
def test_clocks_that_differ_a_little_are_fine(ahead_s: int, verdict: str) -> None:
    now_ns = time.time_ns()
    assert verdicts(judge_newest(now_ns + ahead_s * 10**9, now_ns)) == {"state-clock": verdict}


@pytest.mark.parametrize(
    ("dialect", "columns", "indexes", "expected"),
    [
        ("mysql", COLUMNS, [("updated_at", "source")], "ok"),
        ("mysql", COLUMNS, [("source", "updated_at")], "warning"),
        ("mysql", {**COLUMNS, "updated_at": None}, [], "warning"),
        ("postgresql", COLUMNS, [], None),
        ("sqlite", COLUMNS, [], None),
    ],
)
def test_an_index_on_updated_at_counts_where_changes_are_found_by_it(
    dialect: str, columns: dict[str, str | None], indexes: list[tuple[str, ...]], expected: str | None
) -> None:
    found = verdicts(judge_indexes(StateTable(), dialect, columns, [Index(one, is_unique=False) for one in indexes]))
    assert found.get("state-watermark") == expected
