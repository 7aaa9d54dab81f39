"""The views of docs/schedulers/dagster.md, over the tables that Dagster publishes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.flows.page import programs_of
from tests.mount.daemon import Place, mounted, partition
from tests.postgres.database import READER, StateDatabase
from tests.schedulers.dagster_story import list_partitions, tell
from tests.schedulers.dagster_tables import DagsterTables

PROGRAMS = programs_of("docs/schedulers/dagster.md")


@dataclass(frozen=True, slots=True)
class Store:
    """Dagster's tables with the view, and the options that name it."""

    tables: DagsterTables
    options: tuple[str, ...]


def sqlite_store(path: Path) -> Store:
    def execute(statement: str, *values: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(path)) as database, database:
            return database.execute(statement, values).fetchall()

    tables = DagsterTables("sqlite", execute)
    execute(PROGRAMS["dagster_sqlite.sql"])
    return Store(tables, ("--state", str(path)))


def postgres_store(database: StateDatabase) -> Store:
    def execute(statement: str, *values: object) -> list[tuple[Any, ...]]:
        return database.execute(statement.replace("?", "%s") if values else statement, *values)

    tables = DagsterTables("postgresql", execute)
    execute(PROGRAMS["dagster_postgresql.sql"])
    execute(f"GRANT SELECT ON readyfs_partitions TO {READER}")
    return Store(tables, ("--state", database.url()))


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "sqlite":
        return sqlite_store(tmp_path / "index.db")
    return postgres_store(request.getfixturevalue("postgres"))


def test_view_says_what_is_ready_whatever_happens_in_dagster(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    tell(store.tables, lambda: list_partitions(capfd, *store.options))


def test_each_partition_of_customer_and_date_is_a_row_and_nothing_else_is(
    store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    store.tables.materialize("c|2024-06-01", "r1")
    store.tables.plan("c|2024-06-02")
    store.tables.fail("c|2024-06-03", "PIPELINE_CANCELED")
    for odd in ("2024-06-01", "|2024-06-01", "c|2024-06-01T00", "c|2024-06"):
        store.tables.materialize(odd, "r1")
    execute = store.tables.execute
    fields = "run_id, event, dagster_event_type, timestamp, partition"
    execute(
        f"INSERT INTO event_logs(asset_key, {fields}) SELECT '[\"one\"]', {fields} FROM event_logs"
        " WHERE partition = 'c|2024-06-01'"
    )
    execute(
        f"INSERT INTO event_logs({fields}) SELECT {fields} FROM event_logs"
        " WHERE partition = 'c|2024-06-01' AND asset_key = '[\"one\"]'"
    )
    assert list_partitions(capfd, *store.options) == {
        "c|2024-06-01": ("ready", "r1"),
        "c|2024-06-02": ("pending", None),
        "c|2024-06-03": ("failed", None),
    }


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    with closing(found.producer):
        yield found


def test_mount_follows_what_is_materialized_and_wiped(place: Place) -> None:
    spot = partition("0012", "campaign_daily", source="google_ads")
    for run in ("r1", "r2"):
        place.producer.write_run(spot, run, run.encode())
    tables = sqlite_store(place.state).tables
    tables.materialize("0012|2024-06-01", "r1")
    with mounted(place, "--state-table", "readyfs_partitions") as daemon:
        assert daemon.of(spot).read_text() == "r1"
        tables.materialize("0012|2024-06-01", "r2")
        daemon.refresh()
        assert daemon.of(spot).read_text() == "r2"
        tables.wipe()
        daemon.refresh()
        assert daemon.is_all()
