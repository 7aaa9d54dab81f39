"""All rows of a state in MariaDB, or in any other database, in any status: judged as a mount judges them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from readyfs.partition import PartitionStatus
from readyfs.state import open as state_open
from readyfs.state.database.reader import DatabaseReader
from readyfs.state.database.sqlalchemy_engine import create_engine
from readyfs.state.database.store import DatabaseStore
from readyfs.state.filters import Filters
from readyfs.state.open import open_reader
from readyfs.state.reader import StateReader
from readyfs.state.store import StateStore, StateTable
from tests.mariadb.database import MariadbDatabase
from tests.state import reading
from tests.state.reading import rows_as_a_mount_reads_them
from tests.state.sqlite.test_reader import DECLARED, fill_strangely
from tests.state.state_files import create_table


@pytest.fixture
def through_sqlalchemy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have SQLite files read as an unknown server is."""

    def store(url: str, table: StateTable, filters: Filters, timeout_s: float) -> StateStore:
        return DatabaseStore(sa.make_url(f"sqlite:///{url}"), table, filters, timeout_s)

    def reader(url: str, table: StateTable, filters: Filters, timeout_s: float) -> StateReader:
        parsed = sa.make_url(f"sqlite:///{url}")
        return DatabaseReader(create_engine(parsed, timeout_s), parsed, table, filters, timeout_s)

    monkeypatch.setattr(reading, "open_state", store)
    monkeypatch.setattr(reading, "open_reader", reader)
    assert state_open.open_reader is open_reader
    yield


@pytest.mark.usefixtures("through_sqlalchemy")
def test_strange_rows_of_an_unknown_database_are_judged_as_a_mount_judges_them(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    create_table(path, columns=DECLARED["contract"])
    fill_strangely(path, 7)
    # What a driver cannot decode fails the whole statement there, for a mount as well.
    with closing(sa.create_engine(f"sqlite:///{path}").raw_connection()) as connection:
        connection.execute("UPDATE partition_state SET error_message = NULL WHERE typeof(error_message) = 'blob'")
        connection.commit()
    assert rows_as_a_mount_reads_them(str(path), StateTable())


def test_rows_of_mariadb_come_in_the_order_of_their_bytes(mariadb: MariadbDatabase) -> None:
    """Its collation takes letters of either case for the same, and other words for the ready one."""
    mariadb.execute("ALTER TABLE partition_state ADD error_message TEXT, ADD attempt_count INT")
    mariadb.execute(
        "ALTER TABLE partition_state MODIFY customer_id VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    )
    chance = random.Random(3)
    for name in ("a", "B", "b", "A", "\u00e4", "a b", "_a", "10", "9", "\x1f"):
        for day in range(1, 5):
            mariadb.put(
                f"2024-06-{day:02}",
                "2024-06-02 05:00:00",
                customer_id=name,
                status=chance.choice(["success", "SUCCESS", "failed", "FAILED", "pending"]),
                current_run_id=chance.choice(["r", "", None]),
                record_count=chance.choice([7, None, -1]),
                error_message="boom",
                attempt_count=2,
            )
    rows = rows_as_a_mount_reads_them(mariadb.url(), StateTable())
    assert len(rows) == 40
    assert [row.word for row in rows if row.status is PartitionStatus.FAILED]
    assert {row.word for row in rows if row.status is PartitionStatus.FAILED} == {"failed"}
    assert {row.error_message for row in rows if row.status is PartitionStatus.FAILED} == {"boom"}
    for filters in (Filters(customers=("a", "B")), Filters(since=739039, until=739040)):
        assert rows_as_a_mount_reads_them(mariadb.url(), StateTable(), filters)


def test_status_of_mariadb_that_is_no_text_is_judged_alike(mariadb: MariadbDatabase) -> None:
    mariadb.execute("ALTER TABLE partition_state ADD flag TINYINT(1), ADD word JSON, ADD customer INT DEFAULT 7")
    for day, (flag, word) in enumerate([(1, '"done"'), (0, '"error"'), (None, "7"), (2, None)], 1):
        mariadb.put(f"2024-06-{day:02}", "2024-06-02 05:00:00", flag=flag, word=word)
    told = {}
    for table in (
        StateTable(status="flag", ready="true", failed="0"),
        StateTable(status="word", ready='"done"', failed='"error"'),
        StateTable(customer_id="customer"),
    ):
        rows = rows_as_a_mount_reads_them(mariadb.url(), table)
        told[table.status] = [row.status.value for row in rows]
    assert told["flag"] == told["word"] == ["ready", "failed", "reprocessing", "reprocessing"]
