"""The generator makes the same realistic table every time, and never overwrites what it did not make."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.state.__main__ import main
from benchmarks.state.shape import COLUMNS, Shape, usual_shape
from tests.postgres.database import CREATE_TABLE
from tests.postgres.server import PostgresServer

ROWS = 2500
ALL = f"SELECT {', '.join(COLUMNS)} FROM partition_state"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer.make() as made:
        made.start()
        yield made


def generate(*words: str) -> int:
    return main(["generate", "--rows", str(ROWS), *words])


def read(path: Path, statement: str = f"{ALL} ORDER BY rowid") -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as state:
        return state.execute(statement).fetchall()


def test_rows_are_of_the_usual_shape_and_in_the_order_of_their_dates(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    assert generate("--to", f"sqlite:{path}", "--customers", "4", "--queries", "5") == 0
    rows = read(path)
    assert len(rows) == ROWS
    dates = [str(row[3]) for row in rows]
    assert dates == sorted(dates)
    assert len(set(dates)) == ROWS // 20
    assert len({row[1] for row in rows}) == 4
    assert len({row[2] for row in rows}) == 5
    statuses = [row[4] for row in rows]
    counts = {status: statuses.count(status) for status in set(statuses)}
    assert counts == {"success": ROWS * 97 // 100, "failed": ROWS * 2 // 100, "pending": ROWS // 100}
    # A day has a run, one that repeated it, and the earlier ones of what is not ready are the day's as well.
    runs_by_day = read(path, "SELECT count(DISTINCT current_run_id) FROM partition_state GROUP BY logical_date")
    assert set(runs_by_day) == {(1,), (2,)}
    assert read(path, "SELECT 1 FROM partition_state WHERE status = 'success' AND current_run_id IS NULL") == []
    assert read(path, "SELECT 1 FROM partition_state WHERE status <> 'success' AND current_run_id IS NOT NULL") != []


def test_same_arguments_make_the_same_rows_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert generate("--to", f"sqlite:{tmp_path / name}", "--seed", seed) == 0
    assert read(tmp_path / "a") == read(tmp_path / "b")
    assert read(tmp_path / "a") != read(tmp_path / "c")


def test_row_at_a_position_is_the_row_that_was_written(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    assert generate("--to", f"sqlite:{path}") == 0
    shape = usual_shape(ROWS)
    assert read(path) == [shape.row(position) for position in range(ROWS)]
    ready = [position for position in range(ROWS) if shape.row(position)[4] == "success"]
    assert list(shape.ready_positions(range(ROWS))) == ready


def test_shape_that_is_too_small_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="fewer than 11 rows"):
        Shape(11, customers=1, queries=1, dates=10)
    assert generate("--to", f"sqlite:{tmp_path / 'x'}", "--customers", "1", "--dates", "1") == 2
    assert list(tmp_path.iterdir()) == []


def test_file_that_was_generated_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    for seed in ("1", "2"):
        assert generate("--to", f"sqlite:{path}", "--seed", seed) == 0
    assert read(path) == [usual_shape(ROWS, seed=2).row(position) for position in range(ROWS)]
    assert [found.name for found in tmp_path.iterdir()] == ["state.db"]


@pytest.mark.parametrize("content", [b"", b"notes", None], ids=["empty", "text", "database"])
def test_file_that_was_not_generated_stays(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "state.db"
    if content is None:
        with closing(sqlite3.connect(path)) as state:
            state.execute("CREATE TABLE partition_state(source TEXT)")
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    assert generate("--to", f"sqlite:{path}") == 2
    assert "not generated" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["state.db"]


def test_generated_file_that_is_in_use_in_wal_mode_stays(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    assert generate("--to", f"sqlite:{path}") == 0
    with closing(sqlite3.connect(path)) as state:
        state.execute("PRAGMA journal_mode = WAL").fetchone()
        state.execute("DELETE FROM partition_state")
        state.commit()
        assert generate("--to", f"sqlite:{path}") == 2
        assert state.execute("SELECT count(*) FROM partition_state").fetchone() == (0,)


def test_unknown_target_is_refused() -> None:
    for target in ("mysql://somewhere/x", "state.db", "sqlite:"):
        assert generate("--to", target) == 2


def test_raw_files_are_those_of_the_first_ready_partitions(tmp_path: Path) -> None:
    raw, path = tmp_path / "raw", tmp_path / "state.db"
    words = ("--to", f"sqlite:{path}", "--raw", str(raw), "--raw-partitions", "7")
    assert generate(*words) == 0
    first = read(
        path,
        "SELECT source, customer_id, query_name, logical_date, current_run_id FROM partition_state "
        "WHERE status = 'success' ORDER BY rowid LIMIT 7",
    )
    wanted = {
        raw / f"{source}/customer_id={customer}/query_name={query}/logical_date={day}/run_id={run}/{name}"
        for source, customer, query, day, run in first
        for name in ("payload.jsonl", "metadata.json")
    }
    assert {found for found in raw.rglob("*") if found.is_file()} == wanted
    before = path.read_bytes()
    assert generate(*words, "--seed", "3") == 2, "a raw root with runs in it is never written to"
    assert path.read_bytes() == before


def test_postgresql_gets_the_same_rows_and_keeps_a_table_that_was_not_generated(server: PostgresServer) -> None:
    server.execute("CREATE DATABASE ours")
    server.execute("CREATE DATABASE theirs")
    server.execute(CREATE_TABLE, database="theirs")
    for _ in range(2):
        assert generate("--to", server.url("ours")) == 0
    texts = ", ".join(
        f"{name}::text" for name in ("source", "customer_id", "query_name", "logical_date", "status", "current_run_id")
    )
    rows = server.execute(f"SELECT {texts}, record_count FROM partition_state ORDER BY ctid", database="ours")
    shape = usual_shape(ROWS)
    assert rows == [(*shape.row(position)[:6], shape.row(position)[7]) for position in range(ROWS)]
    assert generate("--to", server.url("theirs")) == 2
    assert server.execute("SELECT count(*) FROM partition_state", database="theirs") == [(0,)]
