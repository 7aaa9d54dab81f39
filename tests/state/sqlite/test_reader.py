"""All rows of a SQLite state, in any status: judged as a mount judges them, and read without leaving a trace."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from readyfs.errors import StateError
from readyfs.partition import NOT_SET, PartitionKey, PartitionStatus, SeriesKey, WithheldReason
from readyfs.state.filters import Filters
from readyfs.state.open import open_reader
from readyfs.state.reader import StateReader
from readyfs.state.rows import pump
from readyfs.state.store import StateTable
from tests.state.reading import rows_as_a_mount_reads_them
from tests.state.rows.test_values import JUNE_1
from tests.state.state_files import (
    CONTRACT_COLUMNS,
    KEY,
    RUN,
    UPDATED_NS,
    contract_row,
    create_table,
    execute,
    insert,
    listing,
    run_sql,
)

STRANGE: Final[Sequence[object]] = (
    "001",
    "success",
    "2024-06-01",
    "20240602",
    "2024-06-03T00:00:00Z",
    "2024-06-04T01:00:00Z",
    "2024-02-30",
    "1717304400",
    "-1",
    "",
    "\x1f",
    "\x1e\x1e",
    "failed",
    b"001",
    b"success",
    b"failed",
    b"",
    b"\xff",
    b"2024-06-01",
    None,
    1,
    20240605,
    -7,
    1.0,
    1.5,
    2**62,
)
KEYS: Final = ("source", "customer_id", "query_name", "logical_date")
CELLS: Final = (*KEYS, "status", "current_run_id", "schema_version", "record_count", "updated_at")
DECLARED: Final = {
    "contract": [column.replace(" NOT NULL", "") for column in CONTRACT_COLUMNS],
    "untyped": [column.split()[0] for column in CONTRACT_COLUMNS],
    "without case": [f"{column.split()[0]} TEXT COLLATE NOCASE" for column in CONTRACT_COLUMNS],
    "numbers": [f"{column.split()[0]} NUMERIC" for column in CONTRACT_COLUMNS],
}


def reader_of(path: Path, filters: Filters | None = None, table: StateTable | None = None) -> StateReader:
    return open_reader(os.fspath(path), table or StateTable(), filters or Filters(), 5)


def fill_strangely(path: Path, seed: int, rows: int = 120) -> None:
    """Insert rows of which most are plain, and some have one cell or two that are not."""
    chance = random.Random(seed)
    found = []
    for number in range(rows):
        row = contract_row(
            source=chance.choice(["ads", "ADS"]),
            customer_id=chance.choice(["001", "1", "b", "B"]),
            logical_date=f"2024-06-{1 + number % 28:02}",
            status=chance.choice(["success"] * 6 + ["pending", "failed", "Failed", "SUCCESS"]),
            error_message=chance.choice([None, "boom", b"\xff"]),
            attempt_count=chance.choice([None, 3, "x"]),
        )
        for _ in range(chance.choice([0, 0, 0, 0, 1, 2])):
            row[chance.choice(CELLS)] = chance.choice(STRANGE)
        found.append(row)
    insert(path, *found)


@pytest.mark.parametrize("declared", DECLARED)
@pytest.mark.parametrize("seed", range(2))
def test_strange_rows_are_judged_as_a_mount_judges_them(tmp_path: Path, declared: str, seed: int) -> None:
    path = tmp_path / "state.db"
    create_table(path, columns=DECLARED[declared])
    fill_strangely(path, seed)
    execute(path, "CREATE VIEW v AS SELECT * FROM partition_state")
    rows = rows_as_a_mount_reads_them(str(path), StateTable())
    assert {row.status for row in rows} >= {PartitionStatus.READY, PartitionStatus.WITHHELD, PartitionStatus.FAILED}
    execute(path, f"CREATE INDEX key ON partition_state ({', '.join(KEYS)})")
    assert rows_as_a_mount_reads_them(str(path), StateTable()) == rows
    for ready, failed in (("1", "success"), ("true", "1.5")):
        rows_as_a_mount_reads_them(str(path), StateTable(ready=ready, failed=failed))
    if declared == "contract":  # a view shows values without the affinity of their columns
        assert rows_as_a_mount_reads_them(str(path), StateTable(table="v")) == rows


@pytest.mark.parametrize("seed", range(2))
def test_plain_rows_of_many_series_are_read_in_chunks_and_say_the_same(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "state.db"
    create_table(path, keyed=True)
    chance = random.Random(seed)
    insert(
        path,
        *(
            contract_row(
                customer_id=f"{customer:03}",
                logical_date=f"2024-06-{day:02}",
                status=chance.choice(["success", "success", "pending"]),
                current_run_id=f"r{day}",
            )
            for customer in range(100)
            for day in range(1, 8)
        ),
    )
    for filters in (
        Filters(),
        Filters(customers=("007", "0[1-3]*")),
        Filters(customers=("007", "042")),
        Filters(since=JUNE_1 + 2, until=JUNE_1 + 4),
    ):
        assert rows_as_a_mount_reads_them(str(path), StateTable(), filters)


def test_one_key_that_is_not_text_among_many_is_sorted_and_joined_with_its_series(tmp_path: Path) -> None:
    """A blob sorts behind all texts in SQLite, and means the text of the same bytes."""
    path = tmp_path / "state.db"
    create_table(path, keyed=True)
    insert(path, *(contract_row(customer_id=f"{number:03}") for number in range(200)))
    insert(path, contract_row(customer_id=b"150", logical_date="2024-06-02"), contract_row(customer_id=b"1505"))
    rows = rows_as_a_mount_reads_them(str(path), StateTable())
    assert [row.series.customer_id for row in rows[149:153]] == [b"149", b"150", b"150", b"1505"]


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
def test_database_of_another_encoding_is_sorted_by_the_same_bytes(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "state.db"
    execute(path, f"PRAGMA encoding = '{encoding}'", "CREATE TABLE x (y)")
    create_table(path)
    insert(path, *(contract_row(customer_id=name) for name in ("b", "a", "ü", "\u0100", "aa", b"a1")))
    rows = rows_as_a_mount_reads_them(str(path), StateTable())
    assert [row.series.customer_id.decode() for row in rows] == ["a", "a1", "aa", "b", "ü", "\u0100"]


def test_every_status_is_told_with_what_the_row_says(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    create_table(path, keyed=True)
    insert(
        path,
        contract_row(),
        contract_row(logical_date="2024-06-02", status="failed", error_message="quota", attempt_count=3),
        contract_row(logical_date="2024-06-03", status="pending", current_run_id=None, updated_at="soon"),
        contract_row(logical_date="2024-06-04", status="pending"),
        contract_row(logical_date="2024-06-05", current_run_id=""),
        contract_row(logical_date="never", status="queued", current_run_id=None),
    )
    rows = list(reader_of(path).rows())
    assert [(row.status, row.word, row.run_id) for row in rows] == [
        (PartitionStatus.READY, "success", RUN.encode()),
        (PartitionStatus.FAILED, "failed", RUN.encode()),
        (PartitionStatus.PENDING, "pending", b""),
        (PartitionStatus.REPROCESSING, "pending", RUN.encode()),
        (PartitionStatus.WITHHELD, "success", b""),
        (PartitionStatus.PENDING, "queued", b""),
    ]
    assert (rows[1].error_message, rows[1].attempt_count) == ("quota", 3)
    assert (rows[0].updated_at_ns, rows[2].updated_at_ns) == (UPDATED_NS, NOT_SET)
    assert (rows[4].withheld, rows[5].date) == (WithheldReason.NO_RUN_ID, None)
    (days,) = reader_of(path).series()
    assert (list(days.ready), [row.date for row in days.others]) == ([JUNE_1], [JUNE_1 + day for day in (1, 2, 3, 4)])


def test_ready_and_failed_words_and_columns_have_names_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    create_table(path)
    execute(
        path,
        "ALTER TABLE partition_state RENAME COLUMN error_message TO why",
        "ALTER TABLE partition_state RENAME COLUMN attempt_count TO tries",
    )
    insert(path, contract_row(status="error", why="boom", tries=2), contract_row(status="done", query_name="x"))
    table = StateTable(ready="done", failed="error", error_message="why", attempt_count="tries")
    failed, ready = reader_of(path, table=table).rows()
    assert (failed.status, failed.error_message, failed.attempt_count) == (PartitionStatus.FAILED, "boom", 2)
    assert ready.status is PartitionStatus.READY
    absent = reader_of(path, table=StateTable(failed="error"))
    (row,) = absent.find(PartitionKey(KEY, JUNE_1))
    assert (row.status, row.error_message, row.attempt_count) == (PartitionStatus.FAILED, None, NOT_SET)


@pytest.mark.parametrize("wal", [False, True])
def test_nothing_is_left_beside_the_file(tmp_path: Path, wal: bool) -> None:
    path = tmp_path / "state.db"
    create_table(path, wal=wal, keyed=True)
    insert(path, contract_row())
    before = listing(tmp_path)
    reader = reader_of(path)
    assert list(reader.rows())
    assert list(reader.series())
    assert reader.find(PartitionKey(KEY, JUNE_1))
    assert listing(tmp_path) == before


def test_missing_table_and_file_are_told_at_the_first_question(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="does not exist"):
        list(reader_of(tmp_path / "state.db").rows())
    execute(tmp_path / "state.db", "CREATE TABLE other (x)")
    with pytest.raises(StateError, match="no table partition_state"):
        list(reader_of(tmp_path / "state.db").series())


def test_answer_that_nobody_reads_on_holds_up_no_producer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """V8: as by a pager, which stops the program for hours; and what is read on then is of the same moment."""
    monkeypatch.setattr(pump.pumped, "__defaults__", (0.0, *pump.pumped.__defaults__[1:]))  # type: ignore[index]
    path = tmp_path / "state.db"
    create_table(path, keyed=True)
    customers = pump.AHEAD * 32 * 4
    insert(path, *(contract_row(customer_id=f"{number:05}") for number in range(customers)))
    rows = reader_of(path).rows()
    first = next(rows)
    run_sql(path, "PRAGMA busy_timeout = 10000", "UPDATE partition_state SET current_run_id = 'later'")
    rest = list(rows)
    assert {row.run_id for row in (first, *rest)} == {RUN.encode()}
    assert len(rest) == customers - 1


def test_answer_that_is_given_up_ends_its_transaction(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    create_table(path, keyed=True)
    insert(path, *(contract_row(customer_id=f"{number:05}") for number in range(pump.AHEAD * 32 * 4)))
    rows = reader_of(path).rows()
    next(rows)
    rows.close()  # type: ignore[attr-defined]
    run_sql(path, "UPDATE partition_state SET current_run_id = 'later'")


def test_file_that_is_replaced_in_the_middle_of_an_answer_is_told(tmp_path: Path) -> None:
    """What was shown already cannot be taken back."""
    path, other = tmp_path / "state.db", tmp_path / "other.db"
    for one in (path, other):
        create_table(one, keyed=True)
        insert(one, *(contract_row(customer_id=f"{number:05}") for number in range(pump.AHEAD * 32 * 4)))
    rows = reader_of(path).rows()
    next(rows)
    other.rename(path)
    with pytest.raises(StateError, match="replaced while it was read"):
        list(rows)


def test_series_without_an_index_are_sorted_by_the_database(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    create_table(path)
    insert(path, *(contract_row(customer_id=name) for name in ("b", "a", "c")))
    assert [days.series for days in reader_of(path).series()] == [
        SeriesKey(b"ads", name, b"daily") for name in (b"a", b"b", b"c")
    ]


def test_index_gives_the_series_in_order_and_a_key_is_found_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a sort, so that the first line comes at once."""
    path = tmp_path / "state.db"
    create_table(path, keyed=True)
    insert(path, contract_row())
    asked: list[str] = []
    connect = sqlite3.connect

    def connect_and_listen(*arguments: object, **words: object) -> sqlite3.Connection:
        connection = connect(*arguments, **words)  # type: ignore[call-overload]
        connection.set_trace_callback(asked.append)
        return connection  # type: ignore[no-any-return]

    monkeypatch.setattr(sqlite3, "connect", connect_and_listen)
    for filters in (Filters(), Filters(customers=("001",)), Filters(since=JUNE_1)):
        reader = reader_of(path, filters)
        assert list(reader.series())
        assert list(reader.rows())
        assert reader.find(PartitionKey(KEY, JUNE_1))
    monkeypatch.undo()
    with closing(sqlite3.connect(path)) as connection:
        for statement in asked:
            if 'FROM "partition_state"' in statement and "pragma" not in statement:
                plan = " / ".join(str(line[3]) for line in connection.execute(f"EXPLAIN QUERY PLAN {statement}"))
                assert "TEMP B-TREE" not in plan, statement
                assert "USING INDEX" in plan or "COVERING" in plan or "INTEGER PRIMARY KEY" in plan, (statement, plan)


def test_sqlite_goes_without_what_is_slow_to_import(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    create_table(path)
    insert(path, contract_row())
    code = (
        "import sys\n"
        "from readyfs.state.filters import Filters\n"
        "from readyfs.state.open import open_reader\n"
        "from readyfs.state.store import StateTable\n"
        "for url in (sys.argv[1], 'sqlite:///' + sys.argv[1]):\n"
        "    assert len(list(open_reader(url, StateTable(), Filters(), 5).rows())) == 1\n"
        "print([name for name in ('sqlalchemy', 'trio', 'structlog', 'asyncio', 'pyfuse3') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
