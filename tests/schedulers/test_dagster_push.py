"""The program of docs/schedulers/dagster.md that reports to Dagster, on a real mount, with a stand-in for Dagster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from tests.flows.page import Desk, programs_of
from tests.mount.daemon import Daemon, Place, mounted, partition
from tests.schedulers.dagster_server import DagsterServer, Fault, serving_dagster

PROGRAMS: Final = programs_of("docs/schedulers/dagster.md")
BEGINNING: Final = ("--since", "beginning")
DIES: Final = ('readyfs("--ack"', 'os.kill(os.getpid(), 9) or readyfs("--ack"')
"""The program is killed when all is reported and nothing is acknowledged."""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    with closing(found.producer):
        yield found


@pytest.fixture
def dagster() -> Iterator[DagsterServer]:
    with serving_dagster() as server:
        server.assets = {"s1/q1", "s1/q2"}
        yield server


def desk_of(daemon: Daemon, dagster: DagsterServer, *changes: tuple[str, str]) -> Desk:
    text = PROGRAMS["push.py"]
    for old, new in (("http://localhost:3000", dagster.url), *changes):
        assert old in text
        text = text.replace(old, new)
    base = daemon.place.base
    return Desk.at(base / "desk", daemon.path, base / "none.toml", {"push.py": f"import os\n{text}"})


def push(desk: Desk, *arguments: str) -> object:
    """Run the program; return what it ends with: nothing, an exit code, or the line that it prints."""
    try:
        desk.run_here("push.py", *arguments)
    except SystemExit as end:
        return end.code
    return None


def test_every_program_of_the_page_is_run_by_a_test() -> None:
    here = {"push.py", "dagster_sqlite.sql", "dagster_postgresql.sql"}
    with_dagster = {"definitions.py", "producer.py"}  # by `make test-clients`
    assert set(PROGRAMS) == here | with_dagster


def test_what_changes_is_reported_once_with_run_and_record_count(place: Place, dagster: DagsterServer) -> None:
    producer = place.producer
    spot, other = partition("0012", "q1"), partition("c2", "q2")
    producer.write_and_publish(spot, "2024-06-02T04:05:06.789Z", b"{}\n{}\n")
    producer.write_and_publish(other, "r1", b"{}\n")
    producer.fail(partition("c3", "q1"))
    with mounted(place) as daemon:
        desk = desk_of(daemon, dagster)
        assert push(desk, *BEGINNING) is None
        first = [("0012|2024-06-01", "2024-06-02T04:05:06.789Z"), ("c2|2024-06-01", "r1")]
        assert (dagster.told(), dagster.customers) == (first, ["0012", "c2"])
        assert [event.asset for event in dagster.events] == ["s1/q1", "s1/q2"]
        facts = dagster.events[0].metadata
        assert facts.pop("updated_at")
        assert facts == {
            "type": "appeared",
            "run_id": "2024-06-02T04:05:06.789Z",
            "record_count": 2,
            "path": "0012/q1/2024-06-01",
        }
        producer.write_and_publish(spot, "r2", b"{}\n")
        producer.fail(other)
        daemon.refresh()
        assert push(desk) is None
        assert dagster.told() == [*first, ("0012|2024-06-01", "r2")]
        assert dagster.told("observation") == [("c2|2024-06-01", "retracted")]
        producer.set_ready(other, "r1")
        daemon.refresh()
        assert push(desk) is None
        producer.fail(other)
        daemon.refresh()
        assert push(desk) is None
        producer.write_and_publish(other, "r3", b"{}\n")
        daemon.refresh()
        assert push(desk) is None
        assert dagster.told("observation") == [("c2|2024-06-01", word) for word in ("retracted", "r1", "retracted")]
        assert dagster.told() == [*first, ("0012|2024-06-01", "r2"), ("c2|2024-06-01", "r3")]
        # Everything anew tells nothing anew.
        daemon.public.unpin("dagster")
        assert push(desk) == 16
        before = len(dagster.events)
        assert push(desk, *BEGINNING) is None
        assert len(dagster.events) == before


def test_however_a_request_ends_nothing_is_lost_and_nothing_told_twice(place: Place, dagster: DagsterServer) -> None:
    for customer in "ab":
        place.producer.write_and_publish(partition(customer), "r1", b"{}\n")
    told = [("a|2024-06-01", "r1"), ("b|2024-06-01", "r1")]
    with mounted(place) as daemon:
        desk = desk_of(daemon, dagster)
        # The requests of a call are a question, then a customer and an event for each partition that is new to Dagster.
        for number, fault, events in (
            (1, Fault.GARBLED, 0),
            (3, Fault.REFUSED, 0),
            (3, Fault.LOST, 1),
            (2, Fault.REFUSED, 1),
            (3, Fault.GARBLED, 2),
        ):
            dagster.faults = {dagster.requests + number: fault}
            end = push(desk, *(BEGINNING if number == 1 else ()))
            assert isinstance(end, str) and end.startswith("Dagster ") and "\n" not in end
            assert dagster.told() == told[:events]
        assert push(desk) is None
        assert dagster.told() == told


def test_killed_before_the_end_it_reports_the_rest_and_nothing_twice(place: Place, dagster: DagsterServer) -> None:
    place.producer.write_and_publish(partition("a"), "r1", b"{}\n")
    with mounted(place) as daemon:
        assert desk_of(daemon, dagster, DIES).run("push.py", *BEGINNING).returncode == -9
        place.producer.write_and_publish(partition("b"), "r1", b"{}\n")
        daemon.refresh()
        desk = desk_of(daemon, dagster)
        assert push(desk) is None
        assert dagster.told() == [("a|2024-06-01", "r1")]
        assert push(desk) is None
        assert dagster.told() == [("a|2024-06-01", "r1"), ("b|2024-06-01", "r1")]


def test_more_than_it_asks_for_at_once_is_reported_in_parts(place: Place, dagster: DagsterServer) -> None:
    days = [f"2024-06-0{day}" for day in range(1, 8)]
    for day in days:
        place.producer.set_ready(partition("a", date=day), "r1")
    with mounted(place) as daemon:
        desk = desk_of(daemon, dagster, ("AT_ONCE = 200", "AT_ONCE = 3"))
        for _ in range(2):
            assert push(desk, *BEGINNING) is None
        assert dagster.told() == [(f"a|{day}", "r1") for day in days]


def test_what_dagster_cannot_have_is_said_and_the_batch_waits(place: Place, dagster: DagsterServer) -> None:
    place.producer.set_ready(partition("a", "q3"), "r1")
    place.producer.set_ready(partition("a|b", "q1"), "r1")
    with mounted(place) as daemon:
        desk = desk_of(daemon, dagster)
        assert push(desk, *BEGINNING) == "a|b cannot be a partition in Dagster; leave this customer out by a filter"
        place.producer.delete_row(partition("a|b", "q1"))
        daemon.public.unpin("dagster")
        daemon.refresh()
        assert push(desk, *BEGINNING) == "Dagster has no asset s1/q3: define it, and run this again"
        assert dagster.events == []
        dagster.assets.add("s1/q3")
        assert push(desk) is None
        assert dagster.told() == [("a|2024-06-01", "r1")]
