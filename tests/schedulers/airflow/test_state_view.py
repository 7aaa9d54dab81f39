"""Airflow's tables as the state table of a real mount, by the view of the page, in SQLite and PostgreSQL."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from readyfs.demo.producer import LogicalPartition
from tests.mount.daemon import Daemon, Place, mounted, partition
from tests.postgres.database import READER, StateDatabase
from tests.schedulers.airflow.page import PROGRAMS
from tests.schedulers.airflow.tables import DAG, TASK, Airflow, Database, create_tables

SPOT = partition(date="2024-06-01")
OTHER = partition(date="2024-06-02")
RUN = "scheduled__2024-06-01T00:00:00+00:00"


@dataclass
class Sqlite:
    """Airflow's file for a trial."""

    url: str

    def execute(self, statement: str) -> None:
        with closing(sqlite3.connect(self.url, isolation_level=None)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(statement)

    def script(self, text: str) -> None:
        with closing(sqlite3.connect(self.url)) as connection:
            connection.executescript(text.replace(" AT TIME ZONE 'UTC'", ""))


@dataclass
class Postgres:
    """A database of a server with another time zone; Airflow's own sessions are in UTC."""

    state: StateDatabase
    url: str

    def execute(self, statement: str) -> None:
        self.state.execute(statement)

    def script(self, text: str) -> None:
        with psycopg.connect(self.state.server.url(self.state.name), autocommit=True) as connection:
            connection.execute(text.encode())
            connection.execute(f"GRANT SELECT ON readyfs_state TO {READER}".encode())


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    with closing(found.producer):
        yield found


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    if request.param == "sqlite":
        made: Database = Sqlite(str(tmp_path / "airflow.db"))
        time = "TIMESTAMP"
    else:
        state: StateDatabase = request.getfixturevalue("postgres")
        state.execute("SET timezone = 'UTC'")
        made = Postgres(state, state.url())
        time = "TIMESTAMPTZ"
    for statement in create_tables(time):
        made.execute(statement)
    made.script(PROGRAMS["state.sql"])
    made.execute(f"INSERT INTO readyfs_publishes VALUES ('{DAG}', '{TASK}', 's1', 'c1', 'q1')")
    return made


@dataclass
class Shown:
    """What a mount shows of the partition, and says about it."""

    daemon: Daemon

    def run(self, spot: LogicalPartition = SPOT) -> str | None:
        """Return the run that is shown once the mount has looked again, None if none is."""
        self.daemon.refresh()
        directory = self.daemon.directory(spot)
        if not directory.exists():
            return None
        assert (directory / "payload.jsonl").read_bytes()
        return os.getxattr(directory, "user.readyfs.run_id").decode()

    def why(self, spot: LogicalPartition = SPOT) -> dict[str, object]:
        """Return what is said about a partition that is not ready."""
        return self.daemon.public.why(spot.path)

    def status(self, spot: LogicalPartition = SPOT) -> object:
        return self.why(spot)["status"]


@pytest.fixture
def shown(place: Place, database: Database) -> Iterator[Shown]:
    arguments = ("--state", database.url, "--state-table", "readyfs_state", "--show-error-messages")
    with mounted(place, *arguments) as daemon:
        yield Shown(daemon)


def test_mount_follows_what_a_run_goes_through(place: Place, database: Database, shown: Shown) -> None:
    airflow = Airflow(database)
    airflow.run(RUN, "2024-06-01 00:00:00.000000")
    assert (shown.run(), shown.status()) == (None, "pending")
    place.producer.write_run(SPOT, f"{RUN}.1", b"1\n")
    for state in ("scheduled", "queued", "running", "up_for_retry", "up_for_reschedule", "deferred", "restarting"):
        airflow.task(RUN, state, 1)
        assert (shown.run(), shown.why()["run_id"]) == (None, None), state
    airflow.task(RUN, "success", 1)
    assert shown.run() == f"{RUN}.1"
    airflow.set_run(RUN, "failed")  # alone it takes nothing away
    assert shown.run() == f"{RUN}.1"
    airflow.clear(RUN)
    assert (shown.run(), shown.status()) == (None, "reprocessing")
    airflow.task(RUN, "running", 2)
    assert (shown.run(), shown.status()) == (None, "reprocessing")
    place.producer.write_run(SPOT, f"{RUN}.2", b"2\n")
    airflow.task(RUN, "success", 2)
    assert shown.run() == f"{RUN}.2"
    airflow.task(RUN, "failed", 2)
    assert (shown.run(), shown.status()) == (None, "failed")
    airflow.task(RUN, "success", 2)
    assert shown.run() == f"{RUN}.2"
    for state in ("skipped", "upstream_failed", "removed"):
        airflow.task(RUN, state, 3)
        assert (shown.run(), shown.status()) == (None, "failed")
        assert f"its task was {state}" in str(shown.why()["sentence"])
    airflow.task(RUN, "success", 2)
    assert shown.run() == f"{RUN}.2"
    airflow.delete(RUN)
    assert (shown.run(), shown.why()["reason"]) == (None, "missing")


def test_try_that_was_never_sealed_is_broken_and_not_the_one_before(
    place: Place, database: Database, shown: Shown
) -> None:
    airflow = Airflow(database)
    airflow.run(RUN, "2024-06-01 00:00:00.000000")
    place.producer.write_run(SPOT, f"{RUN}.1", b"1\n")
    place.producer.begin_run(SPOT, f"{RUN}.2", b"a part")
    airflow.task(RUN, "success", 2)  # which somebody marked
    with pytest.raises(OSError):
        shown.run()
    assert shown.why()["reason"] == "broken"


def test_run_that_failed_before_its_task_began_has_failed(database: Database, shown: Shown) -> None:
    airflow = Airflow(database)
    airflow.run(RUN, "2024-06-01 00:00:00.000000")
    airflow.task(RUN, None, 0)
    assert (shown.run(), shown.status()) == (None, "pending")
    airflow.set_run(RUN, "failed")
    assert (shown.run(), shown.status()) == (None, "failed")


def test_only_what_publishes_a_day_has_rows(place: Place, database: Database, shown: Shown) -> None:
    airflow = Airflow(database)
    airflow.run(RUN, "2024-06-01 00:00:00.000000")
    airflow.task(RUN, "success", 1)
    place.producer.write_run(SPOT, f"{RUN}.1", b"1\n")
    for run_id, date in (("manual__1", "2024-06-02 10:17:00.000000"), ("asset_triggered__1", None)):
        airflow.run(run_id, date)
        airflow.task(run_id, "success", 1)
        place.producer.write_run(OTHER, f"{run_id}.1", b"2\n")
    airflow.run("mapped", "2024-06-03 00:00:00.000000")
    airflow.task("mapped", "success", 1, map_index=0)
    airflow.run("another", "2024-06-04 00:00:00.000000", dag="unknown")
    airflow.task("another", "success", 1, dag="unknown")
    assert shown.run() == f"{RUN}.1"
    assert shown.daemon.is_all(SPOT)
    assert shown.daemon.withheld() == {}
    assert shown.status(partition(date="2024-06-03")) == "pending"


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_reader_sees_the_view_alone_and_the_view_holds_up_a_migration(
    database: Database, postgres: StateDatabase
) -> None:
    airflow = Airflow(database)
    airflow.run(RUN, "2024-06-01 00:00:00.000000")
    with psycopg.connect(database.url, autocommit=True) as reader:
        for zone in ("Pacific/Pago_Pago", "Pacific/Kiritimati"):  # half a day on either side
            reader.execute(f"SET timezone = '{zone}'".encode())
            days = reader.execute("SELECT CAST(logical_date AS TEXT) FROM readyfs_state").fetchall()
            assert days == [("2024-06-01",)]
        for table in ("dag_run", "task_instance", "readyfs_publishes"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(f"SELECT * FROM {table}".encode())
    longer = "ALTER TABLE dag_run ALTER COLUMN run_id TYPE VARCHAR(300)"
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        postgres.execute(longer)
    postgres.execute("DROP VIEW readyfs_state")
    postgres.execute(longer)
