"""What docs/schedulers/dbt.md says of sources, builds and freshness, with a real DuckDB and a stand-in for dbt."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import duckdb
import pytest
import yaml

from tests.flows.page import Desk, programs_of
from tests.mount.daemon import Daemon, Place, mounted, partition

PROGRAMS: Final = programs_of("docs/schedulers/dbt.md")
SOURCE: Final = yaml.safe_load(PROGRAMS["sources.yml"])["sources"][0]
QUERY: Final = SOURCE["tables"][0]["name"]
STAND_IN: Final = """#!/bin/sh
printf '%s\\n' "$READY" "$@" >called
test "$1" != build || cat "$READY"/*/*/*/payload.jsonl >read
readyfs pins "$MOUNTED" >held 2>/dev/null
exit 5
"""
"""A `dbt` that notes how it was called, and reads what it was given."""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    with closing(found.producer):
        yield found


@pytest.fixture
def daemon(place: Place) -> Iterator[Daemon]:
    for customer, day, run, clicks in (
        ("0012", "2024-06-01", "r1", 1),
        ("0012", "2024-06-02", "r1", 2),
        ("c 2", "2024-06-01", "2024-06-02T04:05:06.789Z", 4),
    ):
        spot = partition(customer, QUERY, day, SOURCE["name"])
        place.producer.write_and_publish(spot, run, b'{"clicks":%d}\n' % clicks)
    place.producer.write_and_publish(partition("0012", "other", source=SOURCE["name"]), "r1", b'{"clicks":100}\n')
    with mounted(place, "--layout", "hive") as daemon:
        yield daemon


def desk_of(place: Place) -> Desk:
    programs = {name: text.replace("/mnt/hive", str(place.mountpoint)) for name, text in PROGRAMS.items()}
    desk = Desk.at(place.base / "desk", place.mountpoint, place.base / "none.toml", programs)
    stand_in = desk.directory / "bin" / "dbt"
    stand_in.parent.mkdir()
    stand_in.write_text(STAND_IN.replace("$MOUNTED", str(place.mountpoint)))
    stand_in.chmod(0o755)
    return desk


def rendered(template: str, **names: str) -> str:
    """Return a text as dbt renders what the page uses of Jinja."""
    return re.sub(r"{{ (.*?) }}", lambda found: names[found[1]], template)


def test_source_has_customer_and_date_as_they_are(daemon: Daemon) -> None:
    location = rendered(SOURCE["config"]["meta"]["external_location"], **{'env_var("READY")': str(daemon.path)})
    model = PROGRAMS["daily.sql"].partition("\n\n")[2]
    model = rendered(model, **{f"source('{SOURCE['name']}', '{QUERY}')": location.format(name=QUERY)})
    assert sorted(duckdb.sql(model).fetchall()) == [
        ("0012", "2024-06-01", 1),
        ("0012", "2024-06-02", 2),
        ("c 2", "2024-06-01", 4),
    ]


def test_build_reads_a_view_that_is_held_until_its_end(daemon: Daemon) -> None:
    desk = desk_of(daemon.place)
    place = daemon.place
    # Refreshed before it is pinned.
    place.producer.write_and_publish(partition("new", QUERY, source=SOURCE["name"]), "r1", b'{"clicks":8}\n')
    done = desk.run("build.py", "--select", "daily")
    assert (done.returncode, done.stderr) == (5, "")
    view, *arguments = (desk.directory / "called").read_text().splitlines()
    assert arguments == ["build", "--select", "daily"]
    assert view.startswith(f"{daemon.path}/.readyfs/views/")
    assert '{"clicks":8}' in (desk.directory / "read").read_text()
    assert "dbt build" in (desk.directory / "held").read_text()
    assert daemon.public.pins() == []


def loaded_at(desk: Desk, rows: str | None = None) -> str:
    """Return what the source's query says, of what `latest` printed or of other rows."""
    file = desk.directory / "latest.jsonl"
    if rows is not None:
        file.write_text(rows)
    query = SOURCE["config"]["loaded_at_query"].replace("latest.jsonl", str(file))
    answer = duckdb.sql(rendered(query, **{"this.schema": SOURCE["name"], "this.identifier": QUERY}))
    return str(answer.fetchall()[0][0])


def test_freshness_is_the_end_of_the_last_complete_date_of_the_last_customer(daemon: Daemon) -> None:
    desk = desk_of(daemon.place)
    producer = daemon.place.producer
    today = datetime.now(UTC).date()
    assert desk.run("freshness.sh").returncode == 5
    assert (desk.directory / "called").read_text().splitlines() == [str(daemon.path), "source", "freshness"]
    assert loaded_at(desk) == "2024-06-02 00:00:00"  # of "c 2"
    for days_ago in (2, 1):
        for customer in ("0012", "c 2"):
            day = (today - timedelta(days=days_ago)).isoformat()
            producer.write_and_publish(partition(customer, QUERY, day, SOURCE["name"]), "r1", b"{}\n")
    daemon.refresh()
    desk.run("freshness.sh")
    assert loaded_at(desk) == "2024-06-02 00:00:00"  # the gap counts, and not what is newest
    never = (desk.directory / "latest.jsonl").read_text().replace('"2024-06-01"', "null")
    assert loaded_at(desk, never) == "1970-01-02 00:00:00"


def test_freshness_is_not_judged_by_an_old_answer(place: Place) -> None:
    desk = desk_of(place)
    (desk.directory / "latest.jsonl").write_text("old")
    assert desk.run("freshness.sh").returncode == 8  # nothing is mounted there
    assert not (desk.directory / "called").exists()
