"""A large table in rollback-journal mode under a producer that gives up after five seconds."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from readyfs.state.filters import Filters
from tests.mount.daemon import wait_until
from tests.state.state_files import create_table, opened

FILL = """
    WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?)
    INSERT INTO partition_state (source, customer_id, query_name, logical_date, status,
        current_run_id, schema_version, record_count, updated_at)
    SELECT 'ads', printf('%010d', i / 1000), 'daily', date('2022-01-01', '+' || (i % 1000) || ' days'), 'success',
        '2024-06-02T04:05:06.789Z', 'v1', i, '2024-06-02T05:00:00.123456+00:00' FROM n
"""
PRODUCER = """
import select, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=5, isolation_level=None)
print("ready", flush=True)
commits = 0
while not select.select([sys.stdin], [], [], 0.02)[0]:
    connection.execute("UPDATE partition_state SET current_run_id = ? WHERE rowid = ?", (f'run {commits}', commits + 1))
    commits += 1
print(commits)
"""


@pytest.mark.parametrize("rows", [200_000, pytest.param(1_000_000, marks=pytest.mark.long)])
def test_producer_keeps_committing_while_many_rows_are_loaded_again_and_again(tmp_path: Path, rows: int) -> None:
    """V11: the drivers of producers give up on a lock after 5 s, which a million rows take on a busy machine."""
    path = tmp_path / "state.db"
    create_table(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute(FILL, [rows])
        connection.commit()
    # Rows that no one wants are fetched under the lock all the same, and cost little after it.
    with opened(path, filters=Filters(sources=("none",)), timeout_s=30) as store:
        with subprocess.Popen(
            [sys.executable, "-c", PRODUCER, os.fspath(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as producer:
            assert producer.stdout is not None
            assert producer.stdout.readline() == "ready\n"
            for _ in range(3):
                token = store.load().token
                wait_until(lambda was=token: store.probe() != was, "a commit after a load")  # type: ignore[misc]
            output, _ = producer.communicate("stop\n", timeout=30)
        assert producer.returncode == 0
    count = int(output)
    assert count >= 3
