"""The contract's flows, with the programs of docs/flows.md, on real mounts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from tests.flows.page import PROGRAMS, Desk
from tests.mount.daemon import Daemon, Place, mounted, partition

DAY = "2024-06-10"
CUSTOMER = "0012345678"

DIES = """
import os
import warehouse

real = warehouse.supersede
warehouse.supersede = lambda *words: (real(*words), os.kill(os.getpid(), 9))
exec(open("follow.py").read())
"""
"""The program, which is killed when it has loaded its first partition, before the cursor moves."""


def records(*numbers: int) -> bytes:
    return b"".join(b'{"n":%d}\n' % number for number in numbers)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    with closing(found.producer):
        yield found


def desk_of(daemon: Daemon) -> Desk:
    place = daemon.place
    config = place.base / "sales.toml"
    config.write_text(f'state = "{place.state}"\nraw = "{place.raw}"\n')
    return Desk.at(place.base / "desk", daemon.path, config)


def run(desk: Desk, name: str, *arguments: str) -> str:
    if name in ("daily.py", "follow.py"):
        desk.run_here(name, *arguments)
        return ""
    done = desk.run(name, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_program_of_the_page_is_run_by_a_test() -> None:
    assert set(PROGRAMS) == {
        *("warehouse.py", "load.py"),  # used by the others
        *("daily.py", "daily.sh", "gaps.sh", "follow.py", "history.sh", "backlog.py"),
    }


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("daily.py", "plain"),
        ("daily.py", "hive"),
        ("daily.py", "{year}/{month}-{day}/[x]/{query_name}/{customer_id}"),
        ("daily.sh", "hive"),
    ],
)
def test_daily_consumer_loads_what_is_ready_and_supersedes_what_was(place: Place, name: str, layout: str) -> None:
    producer = place.producer
    spot, late = partition(CUSTOMER, date=DAY), partition("c2", date=DAY)
    producer.write_and_publish(spot, "r1", records(1, 2))
    producer.write_and_publish(partition(CUSTOMER, date="2024-06-09"), "r1", records(9))
    producer.write_run(late, "r1", records(7))
    producer.expect(late)
    producer.write_and_publish(partition("c3", date=DAY), "r1", records(8))
    producer.fail(partition("c3", date=DAY))
    with mounted(place, "--layout", layout) as daemon:
        desk = desk_of(daemon)
        run(desk, name, DAY)
        first = [(CUSTOMER, DAY, "r1", '{"n":1}'), (CUSTOMER, DAY, "r1", '{"n":2}')]
        assert desk.loaded() == first
        run(desk, name, DAY)
        assert desk.loaded() == first
        producer.write_and_publish(spot, "r2", records(3))
        producer.set_ready(late, "r1")
        daemon.refresh()
        run(desk, name, DAY)
        assert desk.loaded() == [(CUSTOMER, DAY, "r2", '{"n":3}'), ("c2", DAY, "r1", '{"n":7}')]
        assert desk.loaded("archive") == sorted(first * 2)


@pytest.mark.parametrize("name", ["daily.py", "daily.sh"])
def test_broken_run_keeps_no_other_from_being_loaded(place: Place, name: str) -> None:
    for customer in ("a", "b", "c"):
        run = place.producer.write_and_publish(partition(customer, date=DAY), "r1", records(1))
        if customer != "c":
            (run.directory / "payload.jsonl").unlink()
    with mounted(place) as daemon:
        desk = desk_of(daemon)
        done = desk.run(name, DAY)
        assert done.returncode == (1 if name == "daily.py" else 14)
        assert [f"/{customer}/" in done.stderr for customer in "abc"] == [True, True, False], done.stderr
        assert desk.loaded() == [("c", DAY, "r1", '{"n":1}')]


def test_gaps_are_told_to_the_operators_and_nothing_is_loaded(place: Place) -> None:
    producer = place.producer
    producer.write_and_publish(partition(CUSTOMER, date=DAY), "r1", records(1))
    producer.write_and_publish(partition("c2", date="2024-06-09"), "r1", records(2))
    producer.expect(partition("c2", date=DAY))
    with mounted(place) as daemon:
        desk = desk_of(daemon)
        mail = desk.directory / "bin" / "mail"
        mail.parent.mkdir()
        mail.write_text('#!/bin/sh\n{ echo "$@"; cat; } >mailed\n')
        mail.chmod(0o755)
        run(desk, "gaps.sh", DAY)
        subject, *lines = (desk.directory / "mailed").read_text().splitlines()
        assert subject == f"-s late: {DAY} operators"
        assert any("c2" in line and DAY in line for line in lines)
        assert not (desk.directory / "warehouse.duckdb").exists()
        producer.write_and_publish(partition("c2", date=DAY), "r1", records(3))
        daemon.refresh()
        (desk.directory / "mailed").unlink()
        run(desk, "gaps.sh", DAY)
        assert not (desk.directory / "mailed").exists()
        assert desk.loaded() == [(CUSTOMER, DAY, "r1", '{"n":1}'), ("c2", DAY, "r1", '{"n":3}')]
        place.state.rename(place.base / "away")
        assert desk.run("gaps.sh", DAY).returncode == 3
        (place.base / "away").rename(place.state)


def test_yesterday_is_held_back_by_a_deadline(place: Place) -> None:
    yesterday = (datetime.now(UTC).date() - timedelta(days=1)).isoformat()
    place.producer.write_and_publish(partition(CUSTOMER, date=yesterday), "r1", records(1))
    place.producer.expect(partition("c2", date=yesterday))
    with mounted(place) as daemon:
        desk = desk_of(daemon)
        for deadline, is_held_back in (("00:00", True), ("00:00+2d", False)):
            program = PROGRAMS["gaps.sh"].replace("07:00", deadline).replace("mail ", "echo mail ")
            program = program.replace("/etc/readyfs/sales.toml", str(place.base / "sales.toml"))
            (desk.directory / "gaps.sh").write_text(program)
            assert ("mail" in run(desk, "gaps.sh", yesterday)) is is_held_back
            assert (desk.directory / "warehouse.duckdb").exists() is not is_held_back


def test_reprocessing_is_followed_and_the_past_is_archived(place: Place) -> None:
    producer = place.producer
    spot, bad = partition(CUSTOMER, date=DAY), partition("c2", date=DAY)
    producer.write_and_publish(spot, "r1", records(1, 2))
    producer.write_and_publish(bad, "r1", records(7))
    with mounted(place) as daemon:
        desk = desk_of(daemon)
        run(desk, "follow.py")
        first = [(CUSTOMER, DAY, "r1", '{"n":1}'), (CUSTOMER, DAY, "r1", '{"n":2}')]
        assert desk.loaded() == [*first, ("c2", DAY, "r1", '{"n":7}')]
        producer.requeue(spot)
        producer.fail(bad)
        daemon.refresh()
        run(desk, "follow.py")
        assert desk.loaded() == []
        producer.write_and_publish(spot, "r2", records(3))
        daemon.refresh()
        assert desk.run("-c", DIES).returncode == -9
        assert desk.loaded() == []
        run(desk, "follow.py")
        assert desk.loaded() == [(CUSTOMER, DAY, "r2", '{"n":3}')]
        assert desk.loaded("archive") == [*first, ("c2", DAY, "r1", '{"n":7}')]
        desk.change("UPDATE cursor SET value = ?", "f" * 32)  # one that nobody knows
        run(desk, "follow.py")
        assert desk.loaded() == [(CUSTOMER, DAY, "r2", '{"n":3}')]


def test_broken_run_fails_the_whole_batch_until_it_is_mended_or_given_up(place: Place) -> None:
    producer = place.producer
    spot, other = partition(CUSTOMER, date=DAY), partition("c2", date=DAY)
    with mounted(place) as daemon:
        desk = desk_of(daemon)
        run(desk, "follow.py")
        broken = producer.write_and_publish(spot, "r1", records(1))
        producer.write_and_publish(other, "r1", records(7))
        payload = broken.directory / "payload.jsonl"
        payload.rename(place.base / "away")
        daemon.refresh()
        with pytest.raises(duckdb.IOException, match="Input/output error"):
            run(desk, "follow.py")
        assert desk.loaded() == []
        (place.base / "away").rename(payload)
        run(desk, "follow.py")
        assert desk.loaded() == [(CUSTOMER, DAY, "r1", '{"n":1}'), ("c2", DAY, "r1", '{"n":7}')]
        producer.write_and_publish(spot, "r2", records(2)).directory.joinpath("payload.jsonl").unlink()
        daemon.refresh()
        with pytest.raises(duckdb.IOException, match="Input/output error"):
            run(desk, "follow.py")
        producer.requeue(spot)
        daemon.refresh()
        with pytest.raises(duckdb.IOException, match="Input/output error"):
            run(desk, "follow.py")
        daemon.public.unpin("warehouse")
        run(desk, "follow.py")
        assert desk.loaded() == [("c2", DAY, "r1", '{"n":7}')]


def test_history_is_replayed_once_and_what_is_missing_is_listed(place: Place) -> None:
    producer = place.producer
    for day in (1, 2, 4):
        producer.write_and_publish(partition(CUSTOMER, date=f"2024-06-0{day}"), "r1", records(day))
    producer.write_run(partition(CUSTOMER, date="2024-06-03"), "r1", records(3))  # raw, and no row
    producer.fail(partition(CUSTOMER, date="2024-06-05"))
    producer.write_and_publish(partition("another", date="2024-06-01"), "r1", records(8))
    with mounted(place) as daemon:
        desk = desk_of(daemon)
        run(desk, "history.sh")
        assert [row[1:] for row in desk.loaded()] == [(f"2024-06-0{day}", "r1", f'{{"n":{day}}}') for day in (1, 2, 4)]
        table = run(desk, "backlog.py")
        assert "failed" in table and "missing" in table and " 26 " in table
        producer.write_and_publish(partition(CUSTOMER, date="2024-06-02"), "r2", records(22))
        producer.publish(producer.write_run(partition(CUSTOMER, date="2024-06-05"), "r1", records(5)))
        daemon.refresh()
        again = desk.run("history.sh")
        assert (again.returncode, "2 done, 2 done before" in again.stderr) == (0, True), again.stderr
        assert desk.loaded("archive") == [(CUSTOMER, "2024-06-02", "r1", '{"n":2}')]
        assert [row[2:] for row in desk.loaded()] == [
            ("r1", '{"n":1}'),
            ("r2", '{"n":22}'),
            ("r1", '{"n":4}'),
            ("r1", '{"n":5}'),
        ]
