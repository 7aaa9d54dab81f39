"""All rows of a PostgreSQL state, in any status: judged as a mount judges them, whatever types they are of."""

from __future__ import annotations

import json
import random
from contextlib import closing
from typing import Final

import pytest

from readyfs.errors import StateError
from readyfs.partition import NOT_SET, PartitionKey, PartitionStatus, SeriesKey
from readyfs.state.filters import Filters
from readyfs.state.open import open_reader
from readyfs.state.store import StateTable
from tests.postgres.database import READER, StateDatabase
from tests.state.postgres.test_values import (
    MATRIX,
    PLAIN,
    READY,
    RUN_IDS,
    fill,
    make_table,
    quote,
    typed,  # noqa: F401 - a fixture
)
from tests.state.reading import rows_as_a_mount_reads_them
from tests.state.rows.test_values import JUNE_1

UNREADY: Final = ("pending", "failed", "tab")


@pytest.mark.parametrize("kind", MATRIX)
def test_value_means_what_it_means_to_a_mount(request: pytest.FixtureRequest, kind: str) -> None:
    database: StateDatabase = request.getfixturevalue("typed")
    columns: dict[str, tuple[str, str]] = {**PLAIN, **MATRIX[kind]}
    make_table(database, "plain", columns)
    fill(database, "plain", columns)
    database.execute(f"CREATE VIEW shown AS SELECT * FROM plain; GRANT SELECT ON shown TO {READER}")
    ready = READY.get(kind, "success")
    rows = rows_as_a_mount_reads_them(database.url(), StateTable("plain", ready=ready))
    assert len(rows) == 4
    assert rows_as_a_mount_reads_them(database.url(), StateTable("shown", ready=ready)) == rows
    other = rows_as_a_mount_reads_them(database.url(), StateTable("plain", ready="no such word", failed=ready))
    assert {row.status for row in other} == {PartitionStatus.FAILED}


def test_run_id_of_any_type_is_judged_alike(request: pytest.FixtureRequest) -> None:
    database: StateDatabase = request.getfixturevalue("typed")
    with database.connect() as session:
        for type_name, run_ids in RUN_IDS.items():
            columns = {**PLAIN, "current_run_id": (type_name, "")}
            make_table(database, "plain", columns)
            for i, value in enumerate([*run_ids, None]):
                row = ("s1", f"c{i}", "q1", "2024-01-01", "success", value, "2024-06-02Z", "1", "v")
                cells = ", ".join("NULL" if cell is None else quote(cell) for cell in row)
                session.execute(f"INSERT INTO plain ({', '.join(columns)}) VALUES ({cells})".encode())
            assert len(rows_as_a_mount_reads_them(database.url(), StateTable("plain"))) == len(run_ids) + 1, type_name
            session.execute("DROP TABLE plain")


@pytest.mark.parametrize("collation", ["C", "en_US.utf8"])
def test_series_come_in_the_order_of_their_bytes(postgres: StateDatabase, collation: str) -> None:
    known = {name for (name,) in postgres.execute("SELECT collname FROM pg_collation")}
    if collation not in known:
        collation = "und-x-icu"
    for field in ("source", "customer_id", "query_name"):
        postgres.execute(f'ALTER TABLE partition_state ALTER {field} TYPE text COLLATE "{collation}"')
    chance = random.Random(5)
    names = ["a", "B", "b", "A", "\u00e4", "a b", "ab", "_a", "1", "10", "9", "\x1f", "a/b"]
    with postgres.connect() as session:
        for source in ("x", "X"):
            for name in names:
                for day in range(1, 6):
                    status = chance.choice(["success", "success", "pending", "failed"])
                    session.execute(
                        "INSERT INTO partition_state VALUES (%s, %s, 'q', %s, %s, %s, 'v', %s, now(), %s, 2)",
                        (
                            source,
                            name,
                            f"2024-06-{day:02}",
                            status,
                            chance.choice(["r1", "r2", "", None, "\x1f"]),
                            chance.choice([7, None, -1]),
                            json.dumps({"why": "x"}) if status == "failed" else None,
                        ),
                    )
    rows = rows_as_a_mount_reads_them(postgres.url(), StateTable())
    assert len(rows) == 2 * 5 * len(names)
    failed = next(row for row in rows if row.status is PartitionStatus.FAILED)
    assert (failed.error_message, failed.attempt_count) == ('{"why": "x"}', 2)
    for filters in (
        Filters(customers=("a", "B"), since=JUNE_1 + 1),
        Filters(customers=("a*",), until=JUNE_1 + 1),
        Filters(sources=("X",)),
    ):
        assert rows_as_a_mount_reads_them(postgres.url(), StateTable(), filters)


def test_key_serves_questions_in_order_where_the_database_sorts_by_bytes(postgres: StateDatabase) -> None:
    """Without a sort, so that the first line comes at once; the statement is asked for as it was sent."""
    postgres.fill(5000)
    (sorts_by_bytes,) = postgres.execute("SELECT datcollate IN ('C', 'POSIX') FROM pg_database LIMIT 1")[0]
    if not sorts_by_bytes:
        postgres.execute(
            'CREATE INDEX by_bytes ON partition_state (source COLLATE "C", customer_id COLLATE "C", '
            'query_name COLLATE "C", logical_date)'
        )
    postgres.execute("ANALYZE partition_state")
    postgres.execute("SET enable_seqscan = on")
    with closing(open_reader(postgres.url(), StateTable(), Filters(), 5)) as reader:
        assert len(list(reader.series())) == 10
        (row,) = reader.find(PartitionKey(SeriesKey(b"s1", b"c1", b"q1"), 730119 + 1))
    assert (row.status, row.attempt_count) == (PartitionStatus.READY, NOT_SET)


def test_outage_is_told_without_the_password(postgres: StateDatabase) -> None:
    reader = open_reader(postgres.url(password="hunter3 secret"), StateTable(), Filters(), 5)
    with pytest.raises(StateError) as raised:
        list(reader.rows())
    assert "hunter3" not in str(raised.value)
    with pytest.raises(StateError, match="has no table nowhere"):
        list(open_reader(postgres.url(), StateTable("nowhere"), Filters(), 5).series())
