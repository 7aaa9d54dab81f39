"""V22, through real mounts: what is printed leads to the catalog of its bookmark, and nothing of it is ever lost."""

from __future__ import annotations

import datetime
import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final, TypeAlias

import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from readyfs.cli.main import main
from readyfs.control.pin_requests import PinRequest
from readyfs.errors import ExitCode
from tests.mount.daemon import Daemon, Place, mounted, partition, running, wait_until

ONE, TWO = partition(), partition(date="2024-06-02")
NO_HISTORY: Final = ("--history-count", "0")
MANY: Final = 600
"""More changes than a pipe that nobody reads can take."""

Event: TypeAlias = dict[str, object]
Key: TypeAlias = tuple[object, ...]
KEY: Final = ("source", "customer_id", "query_name", "logical_date")


@pytest.fixture(params=("pyfuse3", "opened"))
def engine(request: pytest.FixtureRequest) -> str:
    """Both engines; how the direct one reads files makes no difference here."""
    return str(request.param)


@pytest.fixture
def place(place: Place) -> Place:
    """A place with one partition."""
    place.producer.write_and_publish(ONE, "r1", b"first\n")
    return place


def switch(place: Place, daemon: Daemon, run: str) -> None:
    """Have the partition point to another run."""
    place.producer.write_and_publish(ONE, run, f"{run}\n".encode())
    daemon.refresh()


def parsed(text: str) -> list[Event]:
    return [json.loads(line) for line in text.splitlines()]


class Reader:
    """Somebody who asks one mount, and applies what is printed to a dictionary."""

    def __init__(self, daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
        self.daemon = daemon
        self.capsys = capsys
        self.held: dict[Key, object] = {}

    def ask(self, *arguments: str, code: ExitCode = ExitCode.OK) -> list[Event]:
        """Return what `readyfs changes` prints."""
        assert main(["changes", str(self.daemon.path), *arguments]) == code, self.capsys.readouterr().err
        return parsed(self.capsys.readouterr().out)

    def load(self, *arguments: str) -> str:
        """Apply a batch, and return the cursor of its bookmark."""
        return apply(self.held, self.ask(*arguments))


def apply(held: dict[Key, object], events: list[Event]) -> str:
    """Apply a batch to a dictionary as a consumer does, and return the cursor of its bookmark."""
    *changes, bookmark = events
    for event in changes:
        key = tuple(event[name] for name in KEY)
        assert held.get(key) == event["old_run_id"], event
        if event["type"] == "retracted":
            assert event["run_id"] is None
            del held[key]
        else:
            assert (event["type"] == "appeared") is (key not in held), event
            assert (event["type"] == "touched") is (held.get(key) == event["run_id"]), event
            held[key] = event["run_id"]
    assert (bookmark["type"], bookmark["changes"]) == ("bookmark", len(changes))
    return str(bookmark["cursor"])


@pytest.fixture
def reader(place: Place, capsys: pytest.CaptureFixture[str]) -> Iterator[Reader]:
    """A reader of a mount that keeps no history beside what is pinned; what it does is no engine's business."""
    with mounted(place, *NO_HISTORY) as daemon:
        yield Reader(daemon, capsys)


def expected(place: Place) -> dict[Key, object]:
    """Return what is ready as the state table says it, without the paths that two rows claim."""
    with closing(sqlite3.connect(place.state)) as state:
        rows = state.execute(
            "SELECT source, customer_id, query_name, logical_date, current_run_id FROM partition_state"
            " WHERE status = 'success'"
        ).fetchall()
    paths = [row[1:4] for row in rows]
    return {row[:4]: row[4] for row in rows if paths.count(row[1:4]) == 1}


def change_at_random(place: Place, chance: random.Random) -> None:
    """Publish, queue again or delete one of a few partitions, two of which have the same path."""
    one = partition(chance.choice(["c1", "c2"]), "q1", chance.choice(["2024-06-01", "2024-06-02"]), chance.choice("st"))
    match chance.randrange(4):
        case 0:
            place.change("UPDATE partition_state SET status = 'pending' WHERE customer_id = ?", one.customer_id)
        case 1:
            place.change("DELETE FROM partition_state WHERE source = ?", one.source)
        case _:
            place.change(
                "INSERT OR REPLACE INTO partition_state"
                "(source, customer_id, query_name, logical_date, current_run_id, record_count, updated_at, status)"
                " VALUES (?, ?, ?, ?, ?, ?, '2024-06-02T05:00:00+00:00', 'success')",
                *one,
                f"r{chance.randrange(3)}",
                chance.randrange(2),
            )


def test_events_always_lead_to_the_catalog_of_their_bookmark(
    place: Place, engine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In batches of some changes each, of which many go there and back."""
    chance = random.Random(engine)
    with mounted(place, engine=engine) as daemon:
        reader = Reader(daemon, capsys)
        cursor = reader.load("--since", "beginning")
        for _ in range(15):
            for _ in range(chance.randrange(1, 4)):
                change_at_random(place, chance)
                daemon.refresh()
            cursor = reader.load("--since", cursor)
            assert reader.held == expected(place)
            assert cursor == daemon.status()["fingerprint"]


def test_each_kind_of_change_is_told_with_its_fields(
    place: Place, engine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with mounted(place, engine=engine) as daemon:
        reader = Reader(daemon, capsys)
        [appeared, first] = reader.ask("--since", "beginning")
        assert appeared == {
            **dict(zip(KEY, ONE, strict=True)),
            "type": "appeared",
            "run_id": "r1",
            "old_run_id": None,
            "path": str(daemon.directory(ONE).relative_to(daemon.path)),
            "updated_at": appeared["updated_at"],
            "record_count": 1,
            "schema_version": "1",
        }
        assert (first["since"], first["cursor"]) == ("beginning", daemon.status()["fingerprint"])
        place.change("UPDATE partition_state SET record_count = 7")
        daemon.refresh()
        [touched, second] = reader.ask("--since", str(first["cursor"]))
        assert (touched["type"], touched["run_id"], touched["record_count"]) == ("touched", "r1", 7)
        switch(place, daemon, "r2")
        [switched, third] = reader.ask("--since", str(second["cursor"]))
        assert (switched["type"], switched["old_run_id"], switched["run_id"]) == ("switched", "r1", "r2")
        assert (daemon.path / str(switched["path"]) / "payload.jsonl").read_bytes() == b"r2\n"
        place.change("UPDATE partition_state SET status = 'pending'")
        daemon.refresh()
        [retracted, _] = reader.ask("--since", str(third["cursor"]))
        assert (retracted["type"], retracted["run_id"], retracted["old_run_id"]) == ("retracted", None, "r2")
        assert retracted["record_count"] is retracted["updated_at"] is None


def test_path_that_a_second_row_claims_is_retracted(place: Place, reader: Reader) -> None:
    """V13: by key and whatever the run, the row that was shown is shown no more."""
    cursor = reader.load("--since", "beginning", "--consumer", "job")
    place.insert("s2", *ONE[1:], "r9")
    reader.daemon.refresh()
    [retracted, _] = reader.ask("--consumer", "job", "--since", cursor)
    assert (retracted["type"], retracted["source"]) == ("retracted", ONE.source)


# ---- consumers ----------------------------------------------------------------------------------------------------


def test_slow_consumer_neither_loses_its_batch_nor_gets_it_for_ever(place: Place, reader: Reader) -> None:
    """The batch outlives the history, is the same until it is acknowledged, and the next one begins where it ended."""
    cursor = reader.load("--since", "beginning", "--consumer", "job")
    assert reader.load("--consumer", "job", "--since", cursor) == cursor
    switch(place, reader.daemon, "r2")
    batch = reader.ask("--consumer", "job")
    for number in range(3, 8):
        switch(place, reader.daemon, f"r{number}")
        assert reader.ask("--consumer", "job") == batch
    view = reader.daemon.path / ".readyfs/at/job"
    assert (view / str(batch[0]["path"]) / "payload.jsonl").read_bytes() == b"r2\n"
    cursor = apply(reader.held, batch)
    reader.ask("--consumer", "job", "--ack", cursor)
    [switched, _] = reader.ask("--consumer", "job")
    assert (switched["old_run_id"], switched["run_id"]) == ("r2", "r7")


def test_two_processes_of_one_consumer_get_the_same_and_only_one_goes_on(place: Place, reader: Reader) -> None:
    reader.load("--since", "beginning", "--consumer", "job")
    first = reader.ask("--consumer", "job")
    second = reader.ask("--consumer", "job")
    assert first == second
    cursor = str(first[-1]["cursor"])
    for _ in range(2):  # to say it again does nothing
        reader.ask("--consumer", "job", "--ack", cursor)
    switch(place, reader.daemon, "r2")
    later = reader.load("--consumer", "job")
    reader.ask("--consumer", "job", "--ack", later)
    assert main(["changes", str(reader.daemon.path), "--consumer", "job", "--ack", cursor]) == ExitCode.USAGE
    assert "does another process use this consumer?" in reader.capsys.readouterr().err
    assert reader.daemon.public.pins()[0]["acknowledged"] == later


def test_acknowledgement_survives_the_daemon(place: Place, engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What was acknowledged right before `kill -9` is not told again."""
    with running(place, *NO_HISTORY, engine=engine) as daemon:
        reader = Reader(daemon, capsys)
        cursor = reader.load("--since", "beginning", "--consumer", "job")
        reader.ask("--consumer", "job", "--ack", cursor)
        daemon.kill()
    place.producer.write_and_publish(ONE, "r2", b"second\n")
    with mounted(place, *NO_HISTORY, engine=engine) as daemon:
        reader.daemon = daemon
        [switched, bookmark] = reader.ask("--consumer", "job")
        assert (switched["type"], switched["run_id"], bookmark["since"]) == ("switched", "r2", cursor)


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_batch_survives_the_daemon(place: Place, engine: str, how: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What was printed right before can be acknowledged after, although the history has dropped it."""
    with running(place, *NO_HISTORY, engine=engine) as daemon:
        reader = Reader(daemon, capsys)
        first = reader.load("--since", "beginning", "--consumer", "job")
        reader.ask("--consumer", "job", "--ack", first)
        switch(place, daemon, "r2")
        batch = reader.ask("--consumer", "job")
        daemon.kill() if how == "kill" else daemon.stop()
    place.producer.write_and_publish(ONE, "r3", b"third\n")
    with mounted(place, *NO_HISTORY, engine=engine) as daemon:
        reader.daemon = daemon
        assert reader.ask("--consumer", "job") == batch
        cursor = apply(reader.held, batch)
        reader.load("--consumer", "job", "--since", cursor)
        assert reader.held == expected(place)


def test_lease_that_ends_is_told_and_nothing_is_guessed(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    settings = (*NO_HISTORY, "--pin-max", "1s", "--pin-default", "1s")
    with mounted(place, *settings) as daemon:
        reader = Reader(daemon, capsys)
        cursor = reader.load("--since", "beginning", "--consumer", "job")
        switch(place, daemon, "r2")
        wait_until(lambda: daemon.public.pins() == [], "the lease has ended")
        for arguments in ((), ("--ack", cursor)):
            events = reader.ask("--consumer", "job", *arguments, code=ExitCode.RESYNC)
            assert [event["type"] for event in events] == ["resync"]
            assert "lease ended" in str(events[0]["reason"])
        assert reader.ask("--consumer", "job", "--since", cursor, code=ExitCode.RESYNC)[0]["type"] == "resync"
        reader.held.clear()
        reader.load("--consumer", "job", "--since", "beginning")
        assert reader.held == expected(place)


def test_consumer_that_never_was_is_a_resync(reader: Reader) -> None:
    [event] = reader.ask("--consumer", "job", code=ExitCode.RESYNC)
    assert event["type"] == "resync"
    assert reader.daemon.public.pins() == []


# ---- a past that is gone, or had another shape --------------------------------------------------------------------


def test_past_that_the_history_dropped_is_a_resync(place: Place, reader: Reader) -> None:
    cursor = reader.load("--since", "beginning")
    switch(place, reader.daemon, "r2")
    for since in (cursor, "2024-06-01", "f" * 32):
        [event] = reader.ask("--since", since, code=ExitCode.RESYNC)
        assert event["type"] == "resync"


@pytest.mark.parametrize(
    "setting",
    [("--customer", "c1"), ("--layout", "{query_name}/{customer_id}/{logical_date}")],
    ids=["filter", "layout"],
)
def test_other_settings_are_a_resync(
    place: Place, setting: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Although every row is as it was: what was filtered out would look retracted, and every path is another."""
    place.producer.write_and_publish(partition("c2"), "r1", b"other\n")
    with mounted(place) as daemon:
        reader = Reader(daemon, capsys)
        cursor = reader.load("--since", "beginning", "--consumer", "job")
    with mounted(place, *setting) as daemon:
        reader.daemon = daemon
        for arguments in (("--since", cursor), ("--consumer", "job"), ("--consumer", "job", "--since", cursor)):
            assert reader.ask(*arguments, code=ExitCode.RESYNC)[-1]["type"] == "resync"


def test_cursor_is_good_after_a_restart(place: Place, engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Also that of a bookmark that was printed right before the daemon was killed."""
    with running(place, engine=engine) as daemon:
        reader = Reader(daemon, capsys)
        switch(place, daemon, "r2")
        cursor = reader.load("--since", "beginning")
        daemon.kill()
    place.producer.write_and_publish(ONE, "r3", b"third\n")
    with mounted(place, engine=engine) as daemon:
        reader.daemon = daemon
        reader.load("--since", cursor)
        assert reader.held == expected(place)


def test_time_stands_for_the_catalog_that_was_in_force_then(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    with mounted(place) as daemon:
        reader = Reader(daemon, capsys)
        then = datetime.datetime.now(datetime.UTC).isoformat()
        switch(place, daemon, "r2")
        [switched, _] = reader.ask("--since", then)
        assert (switched["old_run_id"], switched["run_id"]) == ("r1", "r2")


# ---- following ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One mount for all that is refused."""
    place = Place(tmp_path_factory.mktemp("refused"))
    with closing(place.producer), mounted(place) as daemon:
        yield daemon


@contextmanager
def following(daemon: Daemon, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Follow a mount in a process of its own, which a signal ends."""
    command = [sys.executable, "-m", "readyfs", "changes", str(daemon.path), "--follow", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def next_batch(process: subprocess.Popen[str]) -> list[Event]:
    assert process.stdout is not None
    events: list[Event] = []
    while not events or events[-1]["type"] != "bookmark":
        line = process.stdout.readline()
        assert line, process.stderr and process.stderr.read()
        events.append(json.loads(line))
    return events


def test_follower_goes_on_through_kills_and_outages(place: Place, engine: str) -> None:
    held: dict[Key, object] = {}
    interval = ("--interval", "100ms")
    with running(place, *interval, engine=engine) as daemon, following(daemon, "--since", "beginning") as follower:
        apply(held, next_batch(follower))
        place.producer.write_and_publish(TWO, "r1", b"second\n")
        apply(held, next_batch(follower))
        away = place.state.with_name("away.db")
        place.state.rename(away)
        wait_until(lambda: daemon.status()["state_error"] is not None, "the state cannot be read")
        with closing(sqlite3.connect(away, isolation_level=None)) as state:
            state.execute("UPDATE partition_state SET record_count = 9")
        away.rename(place.state)
        events = next_batch(follower)
        apply(held, events)
        assert {event["type"] for event in events[:-1]} == {"touched"}
        daemon.kill()
        subprocess.run(["umount", "--lazy", str(daemon.path)], check=True, timeout=10)
        place.change("DELETE FROM partition_state WHERE logical_date = '2024-06-02'")
        with mounted(place, *interval, engine=engine):
            apply(held, next_batch(follower))
            assert held == expected(place)
            follower.send_signal(signal.SIGINT)
            assert follower.wait(10) == 130


def test_follower_waits_until_its_batch_is_acknowledged(place: Place, reader: Reader) -> None:
    held: dict[Key, object] = {}
    with following(reader.daemon, "--consumer", "job", "--since", "beginning") as follower:
        first = apply(held, next_batch(follower))
        for number in range(2, 5):
            switch(place, reader.daemon, f"r{number}")
        assert reader.daemon.public.pins()[0]["fingerprint"] == first
        reader.ask("--consumer", "job", "--ack", first)
        events = next_batch(follower)
        assert [(event["type"], event.get("run_id")) for event in events[:-1]] == [("switched", "r4")]
        apply(held, events)
        assert held == expected(place)


def test_follower_that_was_away_misses_no_batch(place: Place, reader: Reader) -> None:
    """Another process took two batches meanwhile, and the open one ends with the catalog that the follower has."""

    def point_to(run: str) -> None:
        place.change(f"UPDATE partition_state SET current_run_id = '{run}'")
        reader.daemon.refresh()

    held: dict[Key, object] = {}
    with following(reader.daemon, "--consumer", "job", "--since", "beginning") as follower:
        first = apply(held, next_batch(follower))
        follower.send_signal(signal.SIGSTOP)
        point_to("r2")
        second = reader.ask("--consumer", "job", "--since", first)[-1]["cursor"]
        point_to("r1")
        third = reader.ask("--consumer", "job", "--since", str(second))
        assert third[-1]["cursor"] == first
        follower.send_signal(signal.SIGCONT)
        assert next_batch(follower) == third


@pytest.mark.parametrize("why", ["history", "unpinned", "settings"])
def test_follower_that_cannot_be_told_ends_with_a_resync(
    place: Place, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--since", "beginning") if why == "history" else ("--since", "beginning", "--consumer", "job")
    with running(place, *NO_HISTORY) as daemon, following(daemon, *arguments) as follower:
        next_batch(follower)
        if why == "settings":
            daemon.stop()
            with mounted(place, *NO_HISTORY, "--layout", "by-date"):
                [event], code = rest_of(follower)
        else:
            if why == "unpinned":
                daemon.public.unpin("job")
            switch(place, daemon, "r2")
            [event], code = rest_of(follower)
    assert (event["type"], code) == ("resync", ExitCode.RESYNC)


def rest_of(process: subprocess.Popen[str]) -> tuple[list[Event], int]:
    """Return what a follower prints up to its end, and its exit code."""
    out, _ = process.communicate(timeout=20)
    return parsed(out), process.returncode


def test_follower_keeps_its_lease_although_nothing_changes(reader: Reader) -> None:
    def left_s() -> float:
        return sum(float(str(pin["expires_in_seconds"])) for pin in reader.daemon.public.pins())

    with following(reader.daemon, "--consumer", "job", "--since", "beginning", "--for", "1s") as follower:
        cursor = apply({}, next_batch(follower))
        first = str(reader.daemon.public.pins()[0]["expires_at"])
        wait_until(lambda: str(reader.daemon.public.pins()[0]["expires_at"]) > first, "it is renewed before")
        reader.daemon.public.acknowledge("job", cursor, 1.0)
        ends_s = time.monotonic() + 2.5
        wait_until(lambda: time.monotonic() > ends_s and left_s() > 0, "it outlives a lease")
    wait_until(lambda: reader.daemon.public.pins() == [], "nobody renews it any more")


def test_consumer_that_is_killed_while_it_prints_gets_the_batch_again(place: Place, reader: Reader) -> None:
    with closing(sqlite3.connect(place.state)) as state, state:
        state.executemany(
            "INSERT INTO partition_state"
            "(source, customer_id, query_name, logical_date, current_run_id, updated_at, status)"
            " VALUES ('s1', ?, ?, '2024-06-01', 'r1', '2024-06-02T05:00:00+00:00', 'success')",
            [("c" * 100, f"q{number}") for number in range(MANY)],
        )
    reader.daemon.refresh()
    command = [sys.executable, "-m", "readyfs", "changes", str(reader.daemon.path), "--consumer", "job"]
    with subprocess.Popen([*command, "--since", "beginning"], stdout=subprocess.PIPE) as printing:
        assert printing.stdout is not None
        assert printing.stdout.readline()
        assert printing.poll() is None, "it waits for a reader of the rest"
        printing.kill()
    switch(place, reader.daemon, "r2")
    batch = reader.ask("--consumer", "job")
    assert len(batch) == MANY + 2
    assert {event["run_id"] for event in batch[:-1]} == {"r1"}, "it is the one that was begun with"


# ---- forms, and what is refused ------------------------------------------------------------------------------------


def test_cloudevents_are_what_the_official_library_reads(place: Place, reader: Reader) -> None:
    plain = reader.ask("--since", "beginning")
    printed = []
    for _ in range(2):
        assert (
            main(["changes", str(reader.daemon.path), "--since", "beginning", "--format", "cloudevents"]) == ExitCode.OK
        )
        printed.append(reader.capsys.readouterr().out.splitlines())
    events = [JSONFormat().read(CloudEvent, line) for line in printed[0]]
    assert [event.get_data() for event in events] == plain
    assert [event.get_type() for event in events] == ["readyfs.appeared", "readyfs.bookmark"]
    assert len({event.get_id() for event in events}) == len(events)
    assert (events[0].get_subject(), events[0].get_source()) == (plain[0]["path"], reader.daemon.path.as_uri())
    assert printed[0] == printed[1], "what is told again has the same ids"


@pytest.mark.parametrize(
    ("told", "arguments"),
    [
        ("neither --since nor --consumer", ()),
        ("--ack and --for are of a consumer", ("--ack", "a" * 32)),
        ("--ack is not for --since", ("--since", "beginning", "--ack", "a" * 32, "--consumer", "job")),
        ("--cursor-file and --keep are for a state store", ("--since", "beginning", "--cursor-file", "x")),
        ("--customer cannot narrow", ("--since", "beginning", "--customer", "c1")),
        ("yesterday is no cursor", ("--since", "yesterday")),
        ("no time that has been", ("--since", "2999-01-01")),
        ("a pin cannot be named", ("--consumer", "../x", "--since", "beginning")),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(
    shared: Daemon, told: str, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["changes", str(shared.path), *arguments]) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert told in captured.err and captured.err.count("\n") == 1
    assert captured.out == ""
    assert shared.public.pins() == []


def test_view_is_no_consumer(reader: Reader) -> None:
    reader.daemon.public.pin(PinRequest("job"))
    reader.ask("--consumer", "job", code=ExitCode.USAGE)
    assert reader.daemon.public.pins()[0]["acknowledged"] is None
