"""The recipes of docs/schedulers/airflow.md with a real Airflow, and what they assume about it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from readyfs.demo.producer import LogicalPartition
from tests.clients.airflow_home import Airflow, Home, install, specification, standing, wait_slowly
from tests.mount.daemon import Place, mounted, partition
from tests.postgres.database import StateDatabase
from tests.postgres.server import PostgresServer
from tests.schedulers.airflow.api import EVENT_FIELDS, LOGIN
from tests.schedulers.airflow.page import PROGRAMS, Desk
from tests.schedulers.airflow.tables import RUN_COLUMNS, TASK_COLUMNS, create_tables
from tests.schedulers.airflow.test_state_view import Postgres, Shown, Sqlite

pytestmark = pytest.mark.clients

CUSTOMER, QUERY = "0012345678", "campaign_daily"
DAILY = "daily_c1"
PUBLISHES = """
from datetime import datetime
from pathlib import Path

from airflow.sdk import dag, task


@dag(schedule="@daily", start_date=datetime(2024, 6, 1), end_date=datetime(2024, 6, 30), catchup=False)
def daily_c1():
    @task
    def publish(ds=None, run_id=None, ti=None):
        day = Path("RAW/s1/customer_id=c1/query_name=q1") / f"logical_date={ds}"
        directory = day / f"run_id={run_id}.{ti.try_number}"
        directory.mkdir(parents=True)
        (directory / "payload.jsonl").write_text("{}\\n")
        (directory / "metadata.json").write_text("{}\\n")

    publish()


daily_c1()
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("airflow") / "environment")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    found = Place(tmp_path_factory.mktemp("world"))
    with closing(found.producer):
        yield found


@pytest.fixture(scope="module")
def desk(place: Place) -> Desk:
    """A desk whose warehouse writes down what it is asked for."""
    made = Desk.at(place.base / "desk", place.mountpoint)
    for command in ("load", "retract"):
        made.command(command, f'echo {command} "$@" >>{made.directory}/done')
    return made


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> Iterator[StateDatabase]:
    """A database of PostgreSQL for Airflow: in SQLite its processes wait for each other's locks, and give up."""
    made = StateDatabase.create(postgres_server, "airflow")
    yield made
    made.drop()


def url_of(database: StateDatabase) -> str:
    """Return the URL of a database as Airflow takes it."""
    return database.server.url(database.name).replace("postgresql://", "postgresql+psycopg2://")


@pytest.fixture(scope="module")
def home(
    programs: Path, place: Place, desk: Desk, database: StateDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Home:
    """A home with the page's DAGs, and one that publishes."""
    made = Home(programs, tmp_path_factory.mktemp("home"), url_of(database))
    made.dags.mkdir()
    for name in ("load_when_ready.py", "on_ready.py"):
        text = (desk.directory / name).read_text().replace("poke_interval=60", "poke_interval=3")
        (made.dags / name).write_text(text)
    (made.dags / "daily_c1.py").write_text(PUBLISHES.replace("RAW", str(place.raw)))
    return made


@pytest.fixture(scope="module")
def airflow(home: Home, desk: Desk) -> Iterator[Airflow]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("PATH", desk.environment["PATH"])
        with standing(home) as running:
            yield running


def test_api_is_the_one_that_the_programs_know(programs: Path) -> None:
    described = yaml.safe_load(specification(programs).read_text())
    assert described["info"]["version"] == "2"
    paths, schemas = described["paths"], described["components"]["schemas"]
    assert set(paths["/api/v2/assets/events"]) == {"get", "post"}
    body = schemas["CreateAssetEventsBody"]
    assert (set(body["properties"]), body["required"], body["additionalProperties"]) == (
        EVENT_FIELDS,
        ["asset_id"],
        False,
    )
    assert {"id", "asset_id", "extra", "timestamp"} <= set(schemas["AssetEventResponse"]["properties"])
    for path, names in (
        ("/api/v2/assets/events", {"asset_id", "order_by", "limit", "offset"}),
        ("/api/v2/assets", {"uri_pattern", "limit", "offset"}),
    ):
        assert names <= {parameter["name"] for parameter in paths[path]["get"]["parameters"]}
    assert "asset_events" in schemas["AssetEventCollectionResponse"]["required"]
    assert {"id", "uri"} <= set(schemas["AssetResponse"]["required"])


def columns_of(connection: sqlite3.Connection, table: str) -> dict[str, tuple[Any, ...]]:
    """Return the columns of a table with type, whether NULL is refused, and default."""
    return {row[1]: row[2:5] for row in connection.execute(f"PRAGMA table_info({table})")}


def test_migration_makes_the_tables_that_the_view_reads(programs: Path, tmp_path: Path) -> None:
    home = Home(programs, tmp_path)
    home.run("db", "migrate")
    Sqlite(str(home.file)).script(PROGRAMS["state.sql"])
    with closing(sqlite3.connect(home.file)) as real, closing(sqlite3.connect(":memory:")) as ours:
        for statement in create_tables("TIMESTAMP"):
            ours.execute(statement)
        for table in ("dag_run", "task_instance"):
            expected, found = columns_of(ours, table), columns_of(real, table)
            assert {name: found.get(name) for name in expected} == expected
        assert real.execute("SELECT * FROM readyfs_state").fetchall() == []


def test_migration_makes_the_same_in_postgresql(programs: Path, tmp_path: Path, postgres: StateDatabase) -> None:
    Home(programs, tmp_path, url_of(postgres)).run("db", "migrate")
    Postgres(postgres, postgres.url()).script(PROGRAMS["state.sql"])
    assert postgres.execute("SELECT * FROM readyfs_state") == []
    found = {
        (table, name): (kind, length)
        for table, name, kind, length in postgres.execute(
            "SELECT table_name, column_name, data_type, character_maximum_length FROM information_schema.columns"
            " WHERE table_name IN ('dag_run', 'task_instance')"
        )
    }
    for table, columns in (("dag_run", RUN_COLUMNS), ("task_instance", TASK_COLUMNS)):
        for name, described in columns.items():
            kind, length = found[table, name]
            if described.startswith("VARCHAR"):
                assert (kind, f"({length})" in described) == ("character varying", True), name
            elif described.startswith("TIMESTAMP"):
                assert kind == "timestamp with time zone", name
            else:
                assert kind == ("uuid" if described.startswith("CHAR") else "integer"), name


def test_sensor_waits_and_fails_as_the_page_says(airflow: Airflow, place: Place, desk: Desk) -> None:
    dag = "load_when_ready"
    spot, bad = partition(CUSTOMER, QUERY, "2024-06-01"), partition(CUSTOMER, QUERY, "2024-06-02")
    for one in (spot, bad):
        place.producer.expect(one)
    place.producer.fail(bad)
    done = desk.directory / "done"
    with mounted(place) as daemon:
        airflow.pause(dag, False)
        run, failing = airflow.trigger(dag, "2024-06-02"), airflow.trigger(dag, "2024-06-03")
        airflow.await_state(dag, run, "ready", "up_for_reschedule")
        assert airflow.await_state(dag, failing, "ready", "failed")["try_number"] == 1
        place.producer.write_and_publish(spot, "r1", b"{}\n")
        daemon.refresh()
        airflow.await_state(dag, run, "load", "success")
        (line,) = done.read_text().splitlines()
        assert line.startswith("load ")
        assert line.endswith(f"/{spot.path} r1")
        assert daemon.public.pins() == []
    done.unlink()


def test_asset_events_run_a_dag_and_are_not_posted_twice(airflow: Airflow, place: Place, desk: Desk) -> None:
    first, second = (partition(CUSTOMER, QUERY, day, source="google_ads") for day in ("2024-07-01", "2024-07-02"))
    done = desk.directory / "done"

    def post(*words: str) -> None:
        process = desk.start("post_events.py", *words, AIRFLOW_URL=airflow.url, **LOGIN)
        _, said = process.communicate(timeout=300)
        assert (process.returncode, said) == (0, "")

    def await_line(command: str, spot: LogicalPartition) -> None:
        line = f"{command} {CUSTOMER} {QUERY} {spot.logical_date}"
        wait_slowly(lambda: done.exists() and done.read_text().splitlines()[-1] == line, line)

    def count() -> int:
        return int(airflow.call("/api/v2/assets/events?limit=100")["total_entries"])

    place.producer.write_and_publish(first, "r1", b"{}\n")
    with mounted(place) as daemon:
        airflow.pause("on_ready", False)
        post("beginning")
        await_line("load", first)
        daemon.public.unpin("airflow")
        post("beginning")  # the same batch again
        assert count() == 1
        # One at a time: an event that meets the scheduler while it makes a run of another may have to wait for a third.
        place.producer.write_and_publish(second, "r1", b"{}\n")
        daemon.refresh()
        post()
        await_line("load", second)
        place.producer.requeue(first)
        daemon.refresh()
        post()
        await_line("retract", first)
        assert len(done.read_text().splitlines()) == count() == 3


def test_mount_follows_what_airflow_does_to_its_runs(
    airflow: Airflow, home: Home, place: Place, database: StateDatabase
) -> None:
    day, later = "2024-06-10", "2024-06-11"
    spot, other = partition(date=day), partition(date=later)
    Postgres(database, database.url()).script(PROGRAMS["state.sql"])
    database.execute(f"INSERT INTO readyfs_publishes VALUES ('{DAILY}', 'publish', 's1', 'c1', 'q1')")

    def updated() -> str:
        rows = database.execute("SELECT max(updated_at)::text FROM readyfs_state WHERE logical_date = %s", day)
        return str(rows[0][0])

    with mounted(place, "--state", database.url(), "--state-table", "readyfs_state") as daemon:
        shown = Shown(daemon)
        airflow.pause(DAILY, False)
        run = airflow.trigger(DAILY, day)
        airflow.await_state(DAILY, run, "publish", "success")
        assert shown.run(spot) == f"{run}.1"
        airflow.pause(DAILY, True)  # so that a run that is cleared stays so
        seen = [updated()]
        airflow.clear(DAILY, run)
        seen.append(updated())
        assert (shown.run(spot), shown.status(spot)) == (None, "reprocessing")
        airflow.pause(DAILY, False)
        airflow.await_state(DAILY, run, "publish", "success")
        seen.append(updated())
        assert shown.run(spot) == f"{run}.2"
        airflow.mark(DAILY, run, "publish", "failed")
        seen.append(updated())
        assert (shown.run(spot), shown.status(spot)) == (None, "failed")
        airflow.mark(DAILY, run, "publish", "success")
        seen.append(updated())
        assert shown.run(spot) == f"{run}.2"
        airflow.mark_run(DAILY, run, "failed")
        assert shown.run(spot) == f"{run}.2"
        airflow.backfill(DAILY, day, later)
        wait_slowly(lambda: airflow.task(DAILY, run, "publish")["try_number"] == 3, "a third try")
        airflow.await_state(DAILY, run, "publish", "success")
        airflow.await_state(DAILY, f"backfill__{later}T00:00:00+00:00", "publish", "success")
        assert shown.run(spot) == f"{run}.3"
        assert shown.run(other) == f"backfill__{later}T00:00:00+00:00.1"
        assert seen == sorted(set(seen)), "every change of a state moves updated_at"
        airflow.await_end(DAILY, run)  # while it runs it cannot be deleted
        airflow.delete(DAILY, run)
        assert (shown.run(spot), shown.why(spot)["reason"]) == (None, "missing")
        assert shown.run(other) is not None
        home.run(
            "db", "clean", "--clean-before-timestamp", "2099-01-01", "--tables", "dag_run", "--yes", "--skip-archive"
        )
        assert shown.run(other) is None
