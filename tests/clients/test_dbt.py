"""The recipes of docs/schedulers/dbt.md with a real dbt on DuckDB."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import duckdb
import pytest

from readyfs.demo.producer import LogicalPartition
from tests.flows.page import Desk, programs_of
from tests.mount.daemon import Place, mounted, partition

pytestmark = pytest.mark.clients
PROGRAMS: Final = programs_of("docs/schedulers/dbt.md")
PACKAGES: Final = ("dbt-core>=1.11,<1.12", "dbt-duckdb>=1.11")
"""From 1.12 on dbt-core needs a package that downloads a program when it is installed."""
MODELS: Final = ("sources.yml", "daily.sql")
PROJECT: Final = {
    "dbt_project.yml": "name: ready\nversion: '1.0'\nprofile: ready\nmodel-paths: [models]\n",
    "profiles.yml": "ready: {target: dev, outputs: {dev: {type: duckdb, path: warehouse.duckdb}}}\n",
}


@pytest.fixture(scope="session")
def dbt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, in an environment of its own."""
    environment = tmp_path_factory.mktemp("dbt") / "environment"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    pip = (environment / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    subprocess.run([*pip, *PACKAGES], check=True)
    return environment / "bin/dbt"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    with closing(found.producer):
        yield found


@dataclass(frozen=True, slots=True)
class Project:
    """A project of dbt with the sources and the model of the page."""

    desk: Desk

    @classmethod
    def make(cls, place: Place, dbt: Path) -> Project:
        """Write the files, with the command `dbt` beside them."""
        programs = {name: text.replace("/mnt/hive", str(place.mountpoint)) for name, text in PROGRAMS.items()}
        desk = Desk.at(place.base / "desk", place.mountpoint, place.base / "none.toml", {**programs, **PROJECT})
        for name in ("models", "bin"):
            (desk.directory / name).mkdir()
        for name in MODELS:
            (desk.directory / name).rename(desk.directory / "models" / name)
        (desk.directory / "bin" / "dbt").write_text(f'#!/bin/sh\nDBT_SEND_ANONYMOUS_USAGE_STATS=0 exec {dbt} "$@"\n')
        (desk.directory / "bin" / "dbt").chmod(0o755)
        return cls(desk)

    def run(self, name: str) -> subprocess.CompletedProcess[str]:
        """Run one of the page's programs."""
        return subprocess.run(
            self.desk.command(name),
            cwd=self.desk.directory,
            env=self.desk.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def build(self) -> list[tuple[object, ...]]:
        """Build; return what is in the model's table."""
        done = self.run("build.py")
        assert done.returncode == 0, done.stdout
        with duckdb.connect(str(self.desk.directory / "warehouse.duckdb"), read_only=True) as warehouse:
            return warehouse.execute("FROM daily ORDER BY ALL").fetchall()

    def freshness(self) -> tuple[str, str]:
        """Ask for the freshness; return the status and the time of loading."""
        self.run("freshness.sh")
        [found] = json.loads((self.desk.directory / "target" / "sources.json").read_text())["results"]
        assert found["unique_id"] == "source.ready.google_ads.campaign_daily"
        return found["status"], found["max_loaded_at"]


def spot(customer: str, day: str) -> LogicalPartition:
    return partition(customer, "campaign_daily", day, "google_ads")


def test_each_build_has_the_runs_of_its_own_moment(place: Place, dbt: Path) -> None:
    place.producer.write_and_publish(spot("0012", "2024-06-01"), "r1", b'{"clicks":1}\n')
    place.producer.write_and_publish(spot("c 2", "2024-06-01"), "r1", b'{"clicks":2}\n{"clicks":3}\n')
    with mounted(place, "--layout", "hive") as daemon:
        project = Project.make(place, dbt)
        assert project.build() == [("0012", "2024-06-01", 1), ("c 2", "2024-06-01", 5)]
        place.producer.write_and_publish(spot("0012", "2024-06-01"), "r2", b'{"clicks":10}\n')
        place.producer.fail(spot("c 2", "2024-06-01"))
        assert project.build() == [("0012", "2024-06-01", 10)]
        place.producer.fail(spot("0012", "2024-06-01"))
        done = project.run("build.py")
        assert (done.returncode, "No files found" in done.stdout) == (1, True)
        # Without a view there is no build.
        unpinned = subprocess.run(
            [project.desk.directory / "bin" / "dbt", "build"],
            cwd=project.desk.directory,
            env={name: value for name, value in os.environ.items() if name != "READY"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert (unpinned.returncode, "'READY'" in unpinned.stdout) == (2, True)
        assert daemon.public.pins() == []


def test_freshness_is_told_by_the_dates(place: Place, dbt: Path) -> None:
    today = datetime.now(UTC).date()
    for customer in ("0012", "c 2"):
        for days_ago in (4, 3, 2):
            day = (today - timedelta(days=days_ago)).isoformat()
            place.producer.write_and_publish(spot(customer, day), "r1", b'{"clicks":1}\n')
    with mounted(place, "--layout", "hive") as daemon:
        project = Project.make(place, dbt)
        # What was ready yesterday ended as long ago as today has lasted, and a day more.
        assert project.freshness()[1] == f"{today - timedelta(days=1)}T00:00:00+00:00"
        for customer in ("0012", "c 2"):
            place.producer.write_and_publish(spot(customer, (today - timedelta(days=1)).isoformat()), "r1", b"{}\n")
        daemon.refresh()
        assert project.freshness() == ("pass", f"{today}T00:00:00+00:00")
        # One gap of one customer, although everything was written just now.
        place.producer.fail(spot("c 2", (today - timedelta(days=3)).isoformat()))
        daemon.refresh()
        assert project.freshness() == ("error", f"{today - timedelta(days=3)}T00:00:00+00:00")
        for days_ago in (4, 3, 2, 1):
            for customer in ("0012", "c 2"):
                place.producer.delete_row(spot(customer, (today - timedelta(days=days_ago)).isoformat()))
        place.producer.write_and_publish(partition("x", "other", source="google_ads"), "r1", b"{}\n")
        daemon.refresh()
        assert project.freshness() == ("error", "0001-01-01T00:00:00+00:00")  # as if never loaded
