"""Reading SQLite by the chunks that changed finds all of it: after any history the same as reading everything anew."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from readyfs.partition import parse_date
from readyfs.state.filters import Filters
from readyfs.state.store import StateTable
from tests.state.change_machine import ChangeMachine
from tests.state.comparing import Follower

COLUMNS = (
    "source, customer_id, query_name, logical_date, status, current_run_id, schema_version, record_count, updated_at"
)
TABLE = f"CREATE TABLE partition_state ({COLUMNS}, UNIQUE (source, customer_id, query_name, logical_date))"
NOW = "2024-06-02T05:00:00.123456+00:00"
READY = "SELECT count(*) FROM partition_state WHERE CAST(status AS TEXT) = 'success' COLLATE BINARY"
ROWS = 600
"""Several chunks."""


def cells(number: int, *, status: str = "success", run: object = "") -> tuple[object, ...]:
    day = f"2024-{number // 90 % 12 + 1:02}-{number // 3 % 28 + 1:02}"
    return ("s1", f"c{number % 3}", f"q{number // 84}", day, status, run or f"r{number}", f"{number % 2}", number, NOW)


def key_of(number: int) -> str:
    _, customer, query, day, *_ = cells(number)
    return f"customer_id = '{customer}' AND query_name = '{query}' AND logical_date = '{day}'"


def update(number: int, change: str) -> str:
    return f"UPDATE partition_state SET {change} WHERE {key_of(number)}"


def delete(number: int) -> str:
    return f"DELETE FROM partition_state WHERE {key_of(number)}"


def row(customer: str, day: str, *, rowid: int | None = None, verb: str = "INSERT", **changes: str) -> str:
    values = {"status": "'success'", "current_run_id": "'new'", "updated_at": f"'{NOW}'", **changes}
    names = ", ".join(("source", "customer_id", "query_name", "logical_date", *values))
    literals = ", ".join(("'s1'", f"'{customer}'", "'q1'", f"'{day}'", *values.values()))
    if rowid is not None:
        names, literals = f"rowid, {names}", f"{rowid}, {literals}"
    return f"{verb} INTO partition_state ({names}) VALUES ({literals})"


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as connection:
        yield connection


def make(path: Path, *, wal: bool = False, table: str = TABLE, rows: int = ROWS) -> None:
    with writing(path) as connection:
        if wal:
            connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(table)
        connection.execute("BEGIN")
        connection.executemany(
            f"INSERT INTO partition_state ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [cells(number) for number in range(rows)],
        )
        connection.execute("COMMIT")


def follow(path: Path, steps: Sequence[str], *, patched: bool | None = True, filters: Filters | None = None) -> None:
    """Follow a history: each step a transaction of several statements."""
    with Follower(os.fspath(path), None, filters) as follower, writing(path) as connection:
        follower.check(patched=False)
        for step in steps:
            connection.executescript(f"BEGIN; {step}; COMMIT" if "VACUUM" not in step else step)
            load = follower.check(patched=patched)
            if filters is None:
                assert connection.execute(READY).fetchone() == (load.rows,)


HISTORIES = {
    "new rows": [row("c9", "2024-01-01"), row("c0", "2020-01-01"), row("c0", "2030-01-01")],
    "nothing but the run": [update(0, "current_run_id = 'x'"), update(300, "current_run_id = 'y'")],
    "clock set back": [update(5, "current_run_id = 'x', updated_at = '1999-01-01T00:00:00+00:00'")],
    "attributes only": [
        update(5, "record_count = 9"),
        update(5, "schema_version = NULL"),
        update(5, "updated_at = NULL"),
    ],
    "deleted": [delete(0), delete(599), "DELETE FROM partition_state WHERE rowid BETWEEN 100 AND 400"],
    "deleted and inserted again": [
        delete(5) + ";" + row("c5", "2024-01-01"),
        update(6, "customer_id = 'gone'") + ";" + update(7, "record_count = 1"),
        delete(300) + ";" + row("c0", "2031-01-01"),
    ],
    "deleted in one chunk and inserted in another": [
        f"CREATE TEMP TABLE kept AS SELECT * FROM partition_state WHERE {key_of(5)}; {delete(5)};"
        f"INSERT INTO partition_state ({COLUMNS}) SELECT {COLUMNS} FROM kept",
        f"UPDATE partition_state SET rowid = 9000 WHERE {key_of(6)}",
        f"UPDATE partition_state SET rowid = -9000 WHERE {key_of(6)}",
    ],
    "exchanged between chunks": [
        f"{update(5, 'query_name = 1')}; UPDATE partition_state SET query_name = 'q0', customer_id = 'c2', "
        f"logical_date = '2024-01-02' WHERE {key_of(500)}",
        "UPDATE partition_state SET rowid = rowid + 10000 WHERE rowid < 300; "
        "UPDATE partition_state SET rowid = rowid - 300 WHERE rowid BETWEEN 300 AND 600; "
        "UPDATE partition_state SET rowid = rowid - 9700 WHERE rowid > 10000",
    ],
    "replaced": [
        row("c0", "2024-01-01", verb="INSERT OR REPLACE"),
        row("c0", "2024-01-01", verb="REPLACE", current_run_id="'again'"),
        row("c0", "2024-01-01", verb="REPLACE", status="'pending'"),
        row("c0", "2024-01-01", verb="REPLACE", rowid=1),
        row("c8", "2024-01-01", verb="REPLACE", rowid=1),
    ],
    "row numbers used again": [
        "DELETE FROM partition_state WHERE rowid = 600; " + row("c9", "2024-01-01"),
        "DELETE FROM partition_state WHERE rowid > 500",
        "DELETE FROM partition_state WHERE rowid > 300; " + row("c9", "2024-01-02") + ";" + row("c9", "2024-01-03"),
    ],
    "row numbers far apart": [
        row("n1", "2024-01-01", rowid=-(2**63)),
        row("n2", "2024-01-01", rowid=2**63 - 1),
        row("n7", "2024-01-01", rowid=2**63 - 5000) + ";" + row("n8", "2024-01-01", rowid=2**63 - 300),
        row("n3", "2024-01-01", rowid=-1) + ";" + row("n4", "2024-01-01", rowid=0),
        row("n5", "2024-01-01", rowid=2**40) + ";" + row("n6", "2024-01-01", rowid=-(2**40)),
        "DELETE FROM partition_state WHERE customer_id IN ('n1', 'n2')",
        "UPDATE partition_state SET record_count = 5 WHERE rowid < 1 OR rowid > 1000",
    ],
    "ready, pending, ready": [
        update(5, "status = 'pending'"),
        update(5, "status = 'success'"),
        "UPDATE partition_state SET status = 'pending' WHERE rowid BETWEEN 100 AND 400",
        "UPDATE partition_state SET status = 'success'",
    ],
    "withheld come, heal and vanish": [
        row("c9", "2024-01-01", current_run_id="NULL"),
        row("c9", "infinity") + ";" + update(5, "current_run_id = ''"),
        row("c9", "2024-01-02", updated_at="'never'") + ";" + delete(9),
        "UPDATE partition_state SET current_run_id = 'x' WHERE current_run_id IS NULL",
        "DELETE FROM partition_state WHERE logical_date = 'infinity';" + update(5, "current_run_id = 'x'"),
        "DELETE FROM partition_state WHERE updated_at = 'never';" + row("c9", "2024-01-03"),
        row("x", "2024-01-01").replace("'x'", "NULL") + ";" + row("x", "2024-01-01").replace("'x'", "NULL"),
        "DELETE FROM partition_state WHERE rowid = (SELECT max(rowid) FROM partition_state)",
    ],
    "cells of any type": [
        update(5, "current_run_id = 42") + ";" + update(6, "current_run_id = x'ff00fe'"),
        update(7, "updated_at = 1717304400.123456") + ";" + update(8, "updated_at = 1717304400"),
        update(9, "record_count = 7.0") + ";" + update(10, "record_count = 7.5"),
        update(11, "logical_date = 20240131") + ";" + update(12, "logical_date = x'323032342d30312d3330'"),
        update(13, "customer_id = 1.5") + ";" + update(14, "customer_id = x'ff'"),
        update(15, "schema_version = 1.0") + ";" + update(16, "status = x'73756363657373'"),
        update(5, "current_run_id = 43") + ";" + delete(7),
        update(17, "updated_at = '2024-06-02T05:00:00+02:00'"),
    ],
    "separators in values": [
        update(5, "current_run_id = 'a' || char(31) || 'b'"),
        update(6, "current_run_id = char(30, 30)"),
        update(7, "customer_id = char(31)"),
        update(5, "current_run_id = 'x'") + ";" + delete(8),
        update(9, "schema_version = char(31) || char(31)"),
        "DELETE FROM partition_state WHERE customer_id = char(31)",
    ],
    "bytes of any kind": [
        update(5, "current_run_id = CAST(x'ff80' AS TEXT)"),
        update(6, "customer_id = CAST(x'e9' AS TEXT)") + ";" + delete(7),
        update(8, "current_run_id = 'a' || char(0) || 'b'"),
        update(8, "current_run_id = 'a' || char(0) || 'c'"),
    ],
    "two texts of one date": [
        row("c0", "20240101"),
        "DELETE FROM partition_state WHERE logical_date = '20240101'",
        f"{update(0, 'logical_date = 20240101')}",
        update(3, "logical_date = '2024-01-02T00:00:00Z'"),
    ],
    "emptied and filled": [
        "DELETE FROM partition_state",
        row("c0", "2024-01-01"),
        row("c1", "2024-01-01") + "; DELETE FROM partition_state WHERE customer_id = 'c0'",
    ],
    "vacuumed": [
        "DELETE FROM partition_state WHERE rowid % 3 = 0",
        "VACUUM",
        row("c9", "2024-01-01") + ";" + delete(301),
        "VACUUM",
    ],
    "column added and dropped": [
        "ALTER TABLE partition_state ADD COLUMN error_message TEXT DEFAULT 'none'",
        update(5, "error_message = 'x'"),
        "ALTER TABLE partition_state DROP COLUMN record_count",
        "ALTER TABLE partition_state ADD COLUMN record_count INTEGER DEFAULT 5",
        "ALTER TABLE partition_state DROP COLUMN record_count; "
        "ALTER TABLE partition_state ADD COLUMN record_count INTEGER DEFAULT 6",
        "ALTER TABLE partition_state RENAME current_run_id TO x; "
        "ALTER TABLE partition_state RENAME schema_version TO current_run_id; "
        "ALTER TABLE partition_state RENAME x TO schema_version",
    ],
    "table swapped": [
        f"CREATE TABLE fresh ({COLUMNS}, UNIQUE (source, customer_id, query_name, logical_date));"
        f"INSERT INTO fresh SELECT * FROM partition_state WHERE rowid % 2; {row('c9', '2024-01-01')}",
        "ALTER TABLE partition_state RENAME TO old; ALTER TABLE fresh RENAME TO partition_state",
        "DROP TABLE partition_state; ALTER TABLE old RENAME TO partition_state",
    ],
}


@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("wal", [False, True], ids=["rollback", "wal"])
def test_history_is_followed_by_its_changes(tmp_path: Path, history: str, wal: bool) -> None:
    """V3, V4: step by step, and all steps at once."""
    whole = {"two texts of one date", "emptied and filled", "column added and dropped", "table swapped"}
    steps = HISTORIES[history]
    make(tmp_path / "steps.db", wal=wal)
    follow(tmp_path / "steps.db", steps, patched=None if history in whole else True)
    make(tmp_path / "once.db", wal=wal)
    if "VACUUM" not in steps:
        follow(tmp_path / "once.db", [";".join(steps)], patched=None)


@pytest.mark.parametrize(
    "table",
    [
        f"CREATE TABLE partition_state ({COLUMNS}, PRIMARY KEY (source, customer_id, query_name, logical_date)) "
        "WITHOUT ROWID",
        f"CREATE TABLE partition_state ({COLUMNS})",
        f"CREATE TABLE partition_state (rowid TEXT, {COLUMNS}, UNIQUE (source, customer_id, query_name, logical_date))",
        f"CREATE TABLE partition_state (rowid TEXT, oid TEXT, _rowid_ TEXT, {COLUMNS}, "
        "UNIQUE (source, customer_id, query_name, logical_date))",
        f"CREATE TABLE partition_state (id INTEGER PRIMARY KEY, {COLUMNS}, "
        "UNIQUE (source, customer_id, query_name, logical_date))",
        f"CREATE TABLE partition_state ({COLUMNS.replace('status', 'status COLLATE NOCASE')}, "
        "UNIQUE (source, customer_id COLLATE NOCASE, query_name, logical_date))",
        f"CREATE TABLE partition_state ({COLUMNS}); CREATE UNIQUE INDEX one ON partition_state "
        "(source, customer_id, query_name, logical_date) WHERE status = 'success'",
        f"CREATE TABLE partition_state ({COLUMNS}); CREATE UNIQUE INDEX one ON partition_state "
        "(source, lower(customer_id), query_name, logical_date)",
        f"CREATE TABLE base ({COLUMNS}, UNIQUE (source, customer_id, query_name, logical_date)); "
        "CREATE VIEW partition_state AS SELECT * FROM base; CREATE TRIGGER one INSTEAD OF INSERT ON partition_state "
        f"BEGIN INSERT INTO base VALUES ({', '.join('new.' + name for name in COLUMNS.split(', '))}); END; "
        "CREATE TRIGGER two INSTEAD OF DELETE ON partition_state BEGIN DELETE FROM base WHERE "
        "customer_id = old.customer_id AND query_name = old.query_name AND logical_date = old.logical_date; END",
        "CREATE TABLE partition_state (source TEXT NOT NULL, customer_id INTEGER NOT NULL, query_name TEXT NOT NULL, "
        "logical_date DATE NOT NULL, status VARCHAR(9) NOT NULL, current_run_id TEXT, schema_version REAL, "
        "record_count REAL, updated_at TIMESTAMP NOT NULL, "
        "UNIQUE (source, customer_id, query_name, logical_date))",
    ],
    ids=[
        *("without rowid", "keyless", "column rowid", "no name for rowid", "id", "nocase", "partial key"),
        *("key of an expression", "view", "typed"),
    ],
)
def test_kind_of_table_makes_no_difference(tmp_path: Path, table: str) -> None:
    """V3: what cannot be read in chunks is read whole."""
    path = tmp_path / "state.db"
    with writing(path) as connection:
        connection.executescript(table)
    make(path, table="SELECT 1")
    follow(
        path,
        [
            row("c9", "2024-01-01"),
            delete(5) + ";" + row("c8", "2024-01-01"),
            row("C8", "2024-01-02", status="'SUCCESS'"),
            delete(300) + ";" + row("7", "2024-01-02"),
            delete(301) + ";" + row("7", "2024-01-03", current_run_id="NULL"),
        ],
        patched=None,
    )


def test_keyless_table_may_hold_a_row_twice(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    make(path, table=f"CREATE TABLE partition_state ({COLUMNS})")
    twice = f"INSERT INTO partition_state SELECT * FROM partition_state WHERE {key_of(5)}"
    once = "DELETE FROM partition_state WHERE rowid = (SELECT max(rowid) FROM partition_state)"
    follow(path, [twice, update(9, "record_count = 1"), once, twice, delete(5)], patched=False)


@pytest.mark.parametrize("wal", [False, True], ids=["rollback", "wal"])
def test_file_that_is_replaced_by_an_older_copy_is_followed(tmp_path: Path, wal: bool) -> None:
    """V3, V4: by rename and by writing over it; what was remembered of the one does not hold for the other."""
    path, copy = tmp_path / "state.db", tmp_path / "copy.db"
    make(path, wal=wal)
    shutil.copyfile(path, copy)
    with Follower(os.fspath(path)) as follower:
        follower.check()
        for number, step in enumerate((delete(5), row("c9", "2024-01-01"), update(7, "current_run_id = 'x'"))):
            with writing(path) as connection:
                connection.execute(step)
            follower.check()
            shutil.copyfile(copy, tmp_path / "again.db")
            if number % 2 or wal:
                os.replace(tmp_path / "again.db", path)
            else:
                shutil.copyfile(tmp_path / "again.db", path)
            follower.check()


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
def test_encoding_of_the_database_makes_no_difference(tmp_path: Path, encoding: str) -> None:
    """V9: text comes as UTF-8 and a blob as its bytes, whatever is written beside it."""
    path = tmp_path / "state.db"
    with writing(path) as connection:
        connection.execute(f"PRAGMA encoding = '{encoding}'")
        connection.execute(TABLE)
    make(path, table="SELECT 1")
    with Follower(os.fspath(path)) as follower, writing(path) as connection:
        follower.check()
        for step in (update(5, "current_run_id = x'72756e31'"), update(6, "current_run_id = 'é'") + ";" + delete(7)):
            connection.executescript(step)
            follower.check()
        runs = {run for rows in follower.held.values() for _, run, *_ in rows}
    assert {b"run1", "é".encode()} <= runs


@pytest.mark.parametrize(
    "filters",
    [
        Filters(customers=("c0", "c9")),
        Filters(customers=("c[01]",), queries=("q*",)),
        Filters(since=parse_date(b"2024-01-10"), until=parse_date(b"2024-03-06")),
        Filters(sources=("none",)),
    ],
    ids=["customers", "glob", "dates", "none"],
)
def test_filters_hide_no_change(tmp_path: Path, filters: Filters) -> None:
    """V3: rows come into what is wanted and leave it by any change."""
    make(tmp_path / "state.db")
    steps = [
        update(4, "customer_id = 'c9'"),
        update(5, "logical_date = '2024-02-01'") + ";" + delete(6),
        update(7, "customer_id = 'x', current_run_id = NULL") + ";" + row("c0", "2024-02-29"),
        "UPDATE partition_state SET customer_id = 'c0' WHERE customer_id = 'x'",
        "UPDATE partition_state SET status = 'pending' WHERE logical_date < '2024-02-01'",
        "UPDATE partition_state SET status = 'success'",
    ]
    follow(tmp_path / "state.db", steps, filters=filters)


def test_columns_of_other_names_are_followed(tmp_path: Path) -> None:
    """The mapping is the store's; what the contract's own column holds then is of no interest."""
    path = tmp_path / "state.db"
    make(path)
    table = StateTable(schema_version="current_run_id", current_run_id="schema_version", ready="done")
    with Follower(os.fspath(path), table) as follower, writing(path) as connection:
        follower.check()
        for step in (
            "UPDATE partition_state SET status = 'done'",
            update(5, "schema_version = 'x'"),
            update(6, "current_run_id = 'x'") + ";" + delete(7),
        ):
            connection.executescript(step)
            follower.check()


@pytest.mark.parametrize(
    ("examples", "steps"), [(60, 25), pytest.param(1000, 50, marks=[pytest.mark.long, pytest.mark.timeout(0)])]
)
def test_any_history_is_followed(tmp_path: Path, examples: int, steps: int) -> None:
    """V3, V4: against a dictionary that knows what the table holds."""
    path = tmp_path / "state.db"
    make(path, rows=0, wal=True)
    with Follower(os.fspath(path)) as follower, writing(path) as connection:

        class Machine(ChangeMachine):
            def __init__(self) -> None:
                super().__init__(follower, connection.execute)

        how = settings(max_examples=examples, stateful_step_count=steps, deadline=None)
        run_state_machine_as_test(Machine, settings=how)


CELLS = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.sampled_from((7, 7.0, 20240101, 1717304400, 1717304400.25, "7", "1", "2", "", "\x1f", "\x1e\x1e\x1e")),
    st.sampled_from((b"", b"7", b"\xff", b"2024-01-01", "2024-01-01", "20240101", "2024-01-01T00:00:00Z", NOW)),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x1e"), max_size=4),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*(st.one_of(st.just(cell), CELLS) for cell in cells(0)[:4]), *([CELLS] * 4)), max_size=6))
@example([("s", "c", "q", "2024-01-01", "r", "v", 1, "2024-06-02T05:00:00+02:00")])
@example([(1.5, "c", "q", "2024-01-01", "r", "v", 1, NOW)])
@example([("s", "c", "q", "2024-01-01", "r", "v", 1.0, 1717304400.123456)])
@example([("s", "c", "q", "2024-01-01", b"r", 1.0, "1", 1717304400)])
def test_chunks_give_what_rows_give(rows: list[tuple[object, ...]]) -> None:
    """V15: whatever stands in the cells, columns joined by SQLite mean what the cells mean."""
    loads: list[object] = []
    kept: list[tuple[object, ...]] = []
    with tempfile.TemporaryDirectory() as directory:
        for key in (", UNIQUE (source, customer_id, query_name, logical_date)", ""):
            path = Path(directory) / f"{len(key)}.db"
            with writing(path) as connection:
                connection.execute(f"CREATE TABLE partition_state ({COLUMNS}{key})")
                insert = f"INSERT OR IGNORE INTO partition_state ({COLUMNS}) VALUES (?, ?, ?, ?, 'success', ?, ?, ?, ?)"
                connection.executemany(insert, rows if key else kept)
                kept = connection.execute(f"SELECT {COLUMNS.replace('status, ', '')} FROM partition_state").fetchall()
            with Follower(os.fspath(path)) as follower:
                load = follower.check(patched=False)
            loads.append((follower.held, load.withheld.counts, load.rows))
    assert loads[0] == loads[1]
