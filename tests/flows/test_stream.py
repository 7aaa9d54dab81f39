"""A warehouse that follows a stream of random changes has what a full load would give it, whatever happens between.

The program is `follow.py` of docs/flows.md. Between the changes the daemon is killed and mounted again, the state is
away for a while, and the program is killed at any point.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from readyfs.demo.producer import LogicalPartition, Run
from readyfs.errors import UserError
from tests.flows.page import PROGRAMS, Desk
from tests.mount.daemon import Daemon, Place, partition, start, take_down

CUSTOMERS: Final = ("0012345678", "a b%", "line\u2028end?[x]'*\"")
QUERIES: Final = ("campaign_daily", "{path}")
DAYS: Final = tuple(f"2024-06-{day:02}" for day in range(1, 9))
UNIVERSE: Final = [partition(*key) for key in ((c, q, d) for c in CUSTOMERS for q in QUERIES for d in DAYS)]
Records = list[tuple[str, str, str, str, str]]


@dataclass
class Stream:
    """A pipeline that does anything, at random, to few partitions."""

    place: Place
    random: random.Random
    runs: dict[LogicalPartition, list[Run]] = field(default_factory=dict)
    count: int = 0

    def change(self) -> None:
        """Do one thing to one partition."""
        self.count += 1
        producer, chance = self.place.producer, self.random
        spot = chance.choice(UNIVERSE)
        runs = self.runs.setdefault(spot, [])
        action = chance.choices(
            ["publish", "requeue", "fail", "delete", "return", "touch", "expect"], [10, 3, 3, 2, 2, 1, 1]
        )[0]
        if action == "publish" or (action in ("return", "touch") and not runs):
            payload = b"".join(b'{"change":%d,"n":%d}\n' % (self.count, n) for n in range(chance.randrange(3)))
            runs.append(producer.write_run(spot, f"r{self.count}", payload))
            producer.publish(runs[-1])
        elif action == "requeue":
            producer.requeue(spot)
        elif action == "fail":
            producer.fail(spot)
        elif action == "delete":
            producer.delete_row(spot)
        elif action == "return":
            producer.publish(chance.choice(runs))
        elif action == "touch":
            producer.set_ready(spot, runs[-1].run_id, record_count=self.count)
        else:
            producer.expect(spot)

    def truth(self) -> Records:
        """Return what a full load gives: the records of the run that each row in `success` names."""
        with closing(sqlite3.connect(self.place.state)) as state:
            rows = state.execute(
                "SELECT source, customer_id, query_name, logical_date, current_run_id FROM partition_state"
                " WHERE status = 'success'"
            ).fetchall()
        found: Records = []
        for *key, run_id in rows:
            directory = self.place.producer.run_directory(LogicalPartition(*key), run_id)
            for line in (directory / "payload.jsonl").read_text().splitlines():
                found.append((*key[1:], run_id, line))
        return sorted(found)


@dataclass
class Pipeline:
    """A mount that comes and goes over the stream, and the desk of the warehouse."""

    stream: Stream
    desk: Desk
    daemon: Daemon

    def restart(self) -> None:
        """Kill the daemon, and mount again."""
        self.daemon.kill()
        take_down(self.daemon)
        self.daemon = start(self.stream.place)

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Have the state away; the daemon notices that, and that it is back."""
        place = self.stream.place
        away = place.state.with_suffix(".away")
        place.state.rename(away)
        with pytest.raises(UserError):
            self.daemon.refresh()
        try:
            yield
        finally:
            away.rename(place.state)

    def follow(self) -> None:
        """Run the program to its end."""
        self.desk.run_here("follow.py")

    def follow_until_killed(self, after_s: float) -> None:
        """Run the program as a process, and kill it after a while if it has not ended."""
        process = subprocess.Popen(
            self.desk.command("follow.py"),
            cwd=self.desk.directory,
            env=self.desk.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            process.wait(after_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait(10)

    def has(self) -> Records:
        """Return what the warehouse has."""
        columns = "customer_id, query_name, CAST(logical_date AS VARCHAR), run_id, CAST(record AS VARCHAR)"
        return sorted(self.desk.query(f"SELECT {columns} FROM records"))  # type: ignore[arg-type]


@contextmanager
def pipeline(base: Path, seed: int) -> Iterator[Pipeline]:
    place = Place(base)
    with closing(place.producer):
        config = base / "sales.toml"
        config.write_text(f"state = {json.dumps(str(place.state))}\nraw = {json.dumps(str(place.raw))}\n")
        desk = Desk.at(base / "desk", place.mountpoint, config)
        found = Pipeline(Stream(place, random.Random(seed)), desk, start(place))
        try:
            yield found
        finally:
            take_down(found.daemon)


def run_stream(found: Pipeline, changes: int, batch: int, troubles: int) -> None:
    """Make changes, follow them batch by batch, and have trouble between so many of these."""
    stream, chance = found.stream, found.stream.random
    trouble = 0
    for number in range(1, changes // batch + 1):
        for _ in range(batch):
            stream.change()
            if chance.random() < 0.05:
                found.daemon.refresh()
        if number % troubles == 0:
            trouble += 1
            match trouble % 3:
                case 0:
                    with found.outage():
                        found.follow()
                case 1:
                    found.daemon.refresh()
                    found.follow_until_killed(chance.uniform(0.1, 1.0))
                case _:
                    found.restart()
        found.daemon.refresh()
        found.follow()
        assert found.has() == stream.truth(), f"after {stream.count} changes"
    assert stream.count == changes


def test_warehouse_follows_a_stream_of_changes(tmp_path: Path) -> None:
    with pipeline(tmp_path, 1) as found:
        run_stream(found, changes=300, batch=50, troubles=1)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 5))
def test_warehouse_follows_a_long_stream(tmp_path: Path, seed: int) -> None:
    with pipeline(tmp_path, seed) as found:
        run_stream(found, changes=10_000, batch=25, troubles=3)


def test_stream_finds_a_program_out_that_loses_retractions(tmp_path: Path) -> None:
    with pipeline(tmp_path, 1) as found:
        text = PROGRAMS["follow.py"].replace("/mnt/ready", str(found.daemon.path))
        wrong = text.replace('!= "touched"', 'in ("appeared", "switched")')
        assert wrong != text
        (found.desk.directory / "follow.py").write_text(wrong)
        with pytest.raises(AssertionError, match="after"):
            run_stream(found, changes=90, batch=30, troubles=9)
