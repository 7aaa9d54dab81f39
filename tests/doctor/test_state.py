"""What the doctor says of a SQLite state, in each journal mode, and of what only figures show."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from readyfs.doctor.bounded import run_checks
from readyfs.doctor.examine import choose_checks
from readyfs.doctor.finding import Verdict
from readyfs.doctor.state import (
    available_bytes,
    judge_indexes,
    judge_journal,
    judge_memory,
    judge_newest,
    judge_server,
    look_at_state,
)
from readyfs.doctor.subject import Places
from readyfs.fuse.mount_table import Mount
from readyfs.state.inspect import Index
from readyfs.state.postgres.inspector import PostgresServer
from readyfs.state.sqlite.file import Access
from readyfs.state.sqlite.inspector import SqliteFiles, SqliteInspector
from readyfs.state.sqlite.store import MANY_ROWS
from readyfs.state.store import StateTable
from tests.doctor.subjects import make_subject, the, verdicts
from tests.state.state_files import CONTRACT_COLUMNS, contract_row, create_table, insert

COLUMNS: dict[str, str | None] = {
    field: field for field in ("source", "customer_id", "query_name", "logical_date", "updated_at")
}
FINE = {"state", "state-columns", "state-key", "state-journal", "memory", "state-clock"}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "state.db"
    create_table(path, columns=(*CONTRACT_COLUMNS, "PRIMARY KEY (source, customer_id, query_name, logical_date)"))
    insert(path, contract_row())
    return path


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def looked_at(path: Path) -> dict[str, str]:
    return verdicts(look_at_state(make_subject(state=path)))


@pytest.mark.parametrize("mode", ["DELETE", "TRUNCATE", "PERSIST", "WAL"])
def test_a_sound_state_is_fine_in_every_journal_mode_and_left_as_it_is(state: Path, mode: str) -> None:
    execute(state, f"PRAGMA journal_mode={mode}")
    before = {path.name: path.read_bytes() for path in state.parent.iterdir()}
    assert looked_at(state) == dict.fromkeys(FINE, "ok")
    assert {path.name: path.read_bytes() for path in state.parent.iterdir()} == before
    journal = the("state-journal", look_at_state(make_subject(state=state))).summary
    assert journal.startswith("WAL mode (nobody has it open)" if mode == "WAL" else "rollback journal")


def test_a_state_that_a_producer_has_open_is_read_beside_it(state: Path) -> None:
    execute(state, "PRAGMA journal_mode=WAL")
    with closing(sqlite3.connect(state, isolation_level=None)) as producer:
        producer.execute("UPDATE partition_state SET attempt_count = 2")
        assert looked_at(state) == dict.fromkeys(FINE, "ok")
        found = the("state-journal", look_at_state(make_subject(state=state)))
        assert found.summary.startswith("WAL mode, about 1 rows")


def test_files_beside_the_state_that_belong_to_another_are_a_problem_that_the_remedy_mends(state: Path) -> None:
    execute(state, "PRAGMA journal_mode=WAL")
    with closing(sqlite3.connect(state, isolation_level=None)) as producer:
        producer.execute("UPDATE partition_state SET attempt_count = 2")
        os.chown(f"{state}-shm", 65534, 65534)
        found = the("state-journal", look_at_state(make_subject(state=state)))
        assert (found.verdict, "belongs to user 65534" in found.summary) == (Verdict.PROBLEM, True)
        subprocess.run(["sh", "-c", found.remedy.replace("sudo ", "")], check=True, timeout=10)
        assert looked_at(state) == dict.fromkeys(FINE, "ok")


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


def test_a_lock_that_is_not_given_up_is_waited_for_no_longer_than_the_limit(state: Path) -> None:
    with closing(sqlite3.connect(state, isolation_level=None)) as producer:
        producer.execute("BEGIN EXCLUSIVE")
        ((_, findings),) = run_checks(
            choose_checks(make_subject(state=state, state_timeout_s=0.3), ("state",)), 20, repr
        )
    assert [one.verdict for one in findings] == [Verdict.PROBLEM]
    assert "was locked by another process" in findings[0].summary


def files(access: Access, **beside: int) -> SqliteFiles:
    return SqliteFiles(
        Path("/d/state.db"), access, 1000, {Path(f"/d/state.db-{name}"): uid for name, uid in beside.items()}
    )


def on(fs_type: str) -> Mount:
    return Mount(1, 0, (0, 1), Path("/"), Path("/d"), fs_type, "server:/d", (), ())


@pytest.mark.parametrize(
    ("access", "rows", "fs_type", "expected"),
    [
        (Access.ROLLBACK, MANY_ROWS, "ext4", {"state-journal": "ok"}),
        (Access.ROLLBACK, MANY_ROWS + 1, "ext4", {"state-journal": "warning"}),
        (Access.WAL, MANY_ROWS + 1, "xfs", {"state-journal": "ok"}),
        (Access.WAL, 1, "nfs4", {"state-filesystem": "warning", "state-journal": "ok"}),
    ],
)
def test_journal_rows_and_file_system_are_judged(
    access: Access, rows: int, fs_type: str, expected: dict[str, str]
) -> None:
    assert verdicts(judge_journal(files(access, wal=1000), rows, on(fs_type))) == expected


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


@pytest.mark.parametrize(("rows", "verdict"), [(0, "ok"), (100_000, "ok"), (300_000, "warning"), (600_000, "problem")])
def test_memory_is_judged_by_the_rows(rows: int, verdict: str) -> None:
    assert verdicts(judge_memory(rows, available=160_000_000)) == {"memory": verdict}


def test_the_limit_of_the_control_group_counts(tmp_path: Path) -> None:
    memory = tmp_path / "meminfo"
    memory.write_text("MemTotal: 9 kB\nMemAvailable:    2000 kB\n")
    places = Places(memory=memory, control_groups=tmp_path)
    assert available_bytes(places) == 2_048_000
    (tmp_path / "memory.max").write_text("max\n")
    assert available_bytes(places) == 2_048_000
    (tmp_path / "memory.max").write_text("1000000\n")
    assert available_bytes(places) == 1_000_000


def server(**changes: object) -> PostgresServer:
    values: dict[str, object] = {
        "version": "15.1",
        "version_number": 150001,
        "role": "reader",
        "is_superuser": False,
        "may": (),
        "hides_rows": False,
        "is_standby": False,
        "replay_lag_s": None,
        "timeouts_ms": {"statement_timeout": 10},
        "clock_ahead_s": 0.1,
        "round_trip_s": 0.01,
    }
    return PostgresServer(**{**values, **changes})  # type: ignore[arg-type]


def test_a_sound_server_is_fine() -> None:
    assert set(verdicts(judge_server(server(), StateTable(), 10)).values()) == {"ok"}


@pytest.mark.parametrize(
    ("changes", "name", "verdict"),
    [
        ({"version_number": 120010}, "state-server", "warning"),
        ({"is_superuser": True}, "state-role", "warning"),
        ({"may": ("INSERT",)}, "state-role", "warning"),
        ({"hides_rows": True}, "state-row-security", "warning"),
        ({"is_standby": True, "replay_lag_s": 100.0}, "state-standby", "note"),
        ({"timeouts_ms": {"idle_session_timeout": 10_000}}, "state-timeouts", "warning"),
        ({"timeouts_ms": {"idle_session_timeout": 60_000}}, "state-timeouts", "ok"),
        ({"timeouts_ms": {"transaction_timeout": 5000}}, "state-timeouts", "warning"),
        ({"clock_ahead_s": -30.0}, "server-clock", "warning"),
        ({"clock_ahead_s": 3.0, "round_trip_s": 2.0}, "server-clock", "ok"),
    ],
)
def test_a_server_is_judged(changes: dict[str, object], name: str, verdict: str) -> None:
    found = verdicts(judge_server(server(**changes), StateTable(), 10))
    assert found.pop(name) == verdict
    assert set(found.values()) == {"ok"}


def test_a_producer_that_is_stopped_in_mid_commit_does_not_hang_the_doctor(state: Path) -> None:
    script = (
        "import sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('BEGIN EXCLUSIVE')\nprint('ready', flush=True)\nsys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, state], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as producer:
        try:
            assert producer.stdout is not None
            producer.stdout.readline()
            producer.send_signal(signal.SIGSTOP)
            ((_, findings),) = run_checks(choose_checks(make_subject(state=state), ("state",)), 1.0, repr)
        finally:
            producer.kill()
    assert [one.verdict for one in findings] == [Verdict.PROBLEM]
