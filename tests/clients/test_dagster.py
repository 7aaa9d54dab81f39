"""The recipes of docs/schedulers/dagster.md with a real Dagster, on SQLite and PostgreSQL."""

from __future__ import annotations

import json
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from readyfs.cli.main import main
from tests.clients.background import in_background, wait_for_line
from tests.clients.dagster_home import PROGRAMS, Home, make_environment
from tests.flows.page import Desk
from tests.mount.daemon import Place, mounted, partition
from tests.postgres.database import READER, StateDatabase
from tests.postgres.server import PASSWORD, SUPERUSER, free_port
from tests.schedulers.dagster_story import list_partitions, tell
from tests.schedulers.dagster_tables import COLUMNS

pytestmark = pytest.mark.clients
SPOT: Final = partition("0012", "campaign_daily", source="google_ads")
NAME: Final = "0012|2024-06-01"
ASK: Final = """
    query ($partitions: [String!]) {
        assetNodeOrError(assetKey: {path: ["google_ads", "campaign_daily"]}) {
            ... on AssetNode {
                partitionStats { numMaterialized }
                dataVersionByPartition(partitions: $partitions)
                latestMaterializationByPartition(partitions: $partitions) { metadataEntries { label } }
                assetMaterializations(partitions: $partitions) { runId }
                assetObservations(partitions: $partitions) { tags { key value } }
            }
        }
    }
"""


@pytest.fixture(scope="session")
def dagster_programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_environment(tmp_path_factory.mktemp("dagster") / "environment")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    with closing(found.producer):
        yield found


@pytest.fixture
def home(place: Place, dagster_programs: Path) -> Home:
    return Home.make(place.base / "home", dagster_programs, place.raw)


def make_view(home: Home) -> None:
    with closing(sqlite3.connect(home.index)) as database, database:
        database.execute(PROGRAMS["dagster_sqlite.sql"])


# ---- Dagster is told -----------------------------------------------------------------------------------------------


def post(url: str, body: object, content_type: str = "application/json") -> Any:
    """Return the answer, or the status of a refusal."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": content_type})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_real_webserver_takes_what_is_reported_once(place: Place, home: Home, tmp_path: Path) -> None:
    port = free_port()
    url, log = f"http://127.0.0.1:{port}", tmp_path / "webserver.log"
    server = [home.programs / "dagster-webserver", "-f", home.directory / "definitions.py"]
    command = [*map(str, server), "-h", "127.0.0.1", "-p", str(port)]
    place.producer.write_and_publish(SPOT, "2024-06-02T04:05:06.789Z", b"{}\n")

    def ask() -> Any:
        answer = post(f"{url}/graphql", {"query": ASK, "variables": {"partitions": [NAME]}})
        return answer["data"]["assetNodeOrError"]

    with in_background(log, command, home.variables), mounted(place) as daemon:
        wait_for_line(log, "Serving dagster-webserver (on)")
        text = PROGRAMS["push.py"].replace("http://localhost:3000", url)
        programs = {"push.py": text, "dies.py": text.replace('readyfs("--ack"', 'sys.exit(9) or readyfs("--ack"')}
        desk = Desk.at(tmp_path / "desk", daemon.path, tmp_path / "none.toml", programs)
        assert desk.run("dies.py", "--since", "beginning").returncode == 9
        for _ in range(2):
            done = desk.run("push.py")
            assert (done.returncode, done.stderr) == (0, "")
        found = ask()
        assert found["partitionStats"] == {"numMaterialized": 1}
        assert found["dataVersionByPartition"] == ["2024-06-02T04:05:06.789Z"]
        labels = {entry["label"] for entry in found["latestMaterializationByPartition"][0]["metadataEntries"]}
        assert labels == {"type", "run_id", "record_count", "updated_at", "path"}
        assert len(found["assetMaterializations"]) == 1

        place.producer.write_and_publish(SPOT, "r2", b"{}\n")
        daemon.refresh()
        assert desk.run("push.py").returncode == 0
        assert ask()["dataVersionByPartition"] == ["r2"]
        place.producer.fail(SPOT)
        daemon.refresh()
        assert desk.run("dies.py").returncode == 9
        assert desk.run("push.py").returncode == 0
        [retracted] = ask()["assetObservations"]
        assert {"key": "dagster/data_version", "value": "retracted"} in retracted["tags"]
        assert len(ask()["assetMaterializations"]) == 2

        # What the stand-in of the quick tests claims.
        event = {"asset_key": ["google_ads", "unknown"], "partition": "x", "data_version": "r1"}
        report = f"{url}/report_asset_materialization/"
        assert post(report, event, "application/json; charset=utf-8") == 400
        assert post(report, {"partition": "x"}) == 400
        assert post(report, event) == {}
        place.producer.set_ready(partition("0012", "unknown", source="google_ads"), "r1")
        daemon.refresh()
        done = desk.run("push.py")
        assert (done.returncode, done.stderr.startswith("Dagster has no asset google_ads/unknown")) == (1, True)


# ---- Dagster's events are the state ---------------------------------------------------------------------------------


def test_sqlite_view_tells_the_story_with_a_real_dagster(home: Home, capfd: pytest.CaptureFixture[str]) -> None:
    with home.working() as worker:
        worker.wipe()  # the tables are made
        make_view(home)
        with closing(sqlite3.connect(home.index)) as database:
            for table, columns in COLUMNS.items():
                rows = database.execute("SELECT name FROM pragma_table_info(?)", [table]).fetchall()
                assert set(columns.split()) <= {name for (name,) in rows}
        tell(worker, lambda: list_partitions(capfd, "--state", str(home.index)))


def test_postgresql_view_tells_the_story_with_a_real_dagster(
    place: Place, dagster_programs: Path, postgres: StateDatabase, capfd: pytest.CaptureFixture[str]
) -> None:
    url = postgres.url(user=SUPERUSER, password=PASSWORD).replace("postgresql:", "postgresql+psycopg2:")
    storage = f"storage: {{postgres: {{postgres_url: {json.dumps(url)}}}}}\n"
    with Home.make(place.base / "home", dagster_programs, place.raw, storage).working() as worker:
        worker.wipe()
        postgres.execute(PROGRAMS["dagster_postgresql.sql"])
        postgres.execute(f"GRANT SELECT ON readyfs_partitions TO {READER}")
        for table, columns in COLUMNS.items():
            rows = postgres.execute("SELECT column_name FROM information_schema.columns WHERE table_name = %s", table)
            assert set(columns.split()) <= {name for (name,) in rows}
        tell(worker, lambda: list_partitions(capfd, "--state", postgres.url()))


def test_mount_shows_what_the_asset_of_the_page_has_sealed(place: Place, home: Home) -> None:
    with home.working() as worker:
        worker.wipe()
        make_view(home)
        options = ("--state", str(home.index), "--state-table", "readyfs_partitions")
        with mounted(place, *options) as daemon:
            assert daemon.is_all()
            first, second = (worker.do("produce", NAME) for _ in range(2))
            daemon.refresh()
            assert daemon.is_all(SPOT)
            assert json.loads(daemon.of(SPOT, "metadata.json").read_text())["run_id"] == f"{second}-0" != f"{first}-0"
            again = worker.do("produce", "retried|2024-06-01")
            daemon.refresh()
            retried = partition("retried", "campaign_daily", source="google_ads")
            assert json.loads(daemon.of(retried, "metadata.json").read_text())["run_id"] == f"{again}-1"
            assert not (place.producer.run_directory(retried, f"{again}-0") / "metadata.json").exists()
            assert main(["check", "--raw", str(place.raw), *options]) == 0
            worker.delete(second)
            daemon.refresh()
            assert json.loads(daemon.of(SPOT, "metadata.json").read_text())["run_id"] == f"{first}-0"
