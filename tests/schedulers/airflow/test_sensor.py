"""The page's DAGs: a sensor on a real mount, what it makes of every exit code, and what is done with events."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pytest

from readyfs.errors import ExitCode
from tests.mount.daemon import Daemon, Place, mounted, partition
from tests.schedulers.airflow.page import PROGRAMS, Desk
from tests.schedulers.airflow.sdk import (
    AirflowException,
    AirflowFailException,
    Asset,
    PokeReturnValue,
    Tasks,
    importable,
)

CUSTOMER = "0012345678"
QUERY = "campaign_daily"
DAY = "2024-06-01"
SPOT = partition(CUSTOMER, QUERY, DAY)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    with closing(found.producer):
        yield found


@pytest.fixture
def desk(place: Place) -> Iterator[Desk]:
    made = Desk.at(place.base / "desk", place.mountpoint)
    with patch.dict(os.environ, made.environment):
        yield made


def read(desk: Desk, name: str) -> Tasks:
    """Read a DAG file as Airflow does."""
    with importable() as tasks:
        exec(compile((desk.directory / name).read_text(), name, "exec"), {"__name__": "dag_file"})
    return tasks


def pins(daemon: Daemon) -> list[object]:
    found = daemon.public.pins()
    return list(found)


def test_every_program_of_the_page_is_run_by_a_test() -> None:
    assert set(PROGRAMS) == {"load_when_ready.py", "post_events.py", "on_ready.py", "state.sql"}


def test_sensor_waits_until_the_mount_shows_the_partition_and_hands_on_its_run(place: Place, desk: Desk) -> None:
    place.producer.expect(SPOT)
    tasks = read(desk, "load_when_ready.py")
    look = tasks.functions["ready"]
    with mounted(place) as daemon:
        assert look(DAY) == PokeReturnValue(is_done=False)
        place.producer.write_and_publish(SPOT, "r1", b"{}\n")
        assert look(DAY) == PokeReturnValue(is_done=False)  # the mount does not show it yet
        daemon.refresh()
        assert look(DAY) == PokeReturnValue(is_done=True, xcom_value={"path": SPOT.path, "run_id": "r1"})
        place.producer.fail(SPOT)
        daemon.refresh()
        with pytest.raises(AirflowFailException, match="has failed"):
            look(DAY)
        place.producer.requeue(SPOT)
        daemon.refresh()
        assert look(DAY) == PokeReturnValue(is_done=False)
        for never in ("2024-02-30", ""):
            with pytest.raises(AirflowFailException):
                look(never)
    assert look(DAY) == PokeReturnValue(is_done=False)  # nobody can tell
    assert tasks.options["ready"]["mode"] == "reschedule"
    assert tasks.calls["load"] == ("result of ready",)


def does(look: object, day: str) -> str:
    """Return in a word what a sensor's look comes to."""
    assert callable(look)
    try:
        value = look(day)
    except AirflowFailException:
        return "fails at once"
    except AirflowException:
        return "is tried again"
    return "is done" if value.is_done else "looks again"


def test_every_exit_code_has_the_end_that_the_page_says(desk: Desk) -> None:
    look = read(desk, "load_when_ready.py").functions["ready"]
    ends = dict.fromkeys(ExitCode, "is tried again")
    ends[ExitCode.OK] = "is done"
    for code in (3, 8, 9, 10, 13, 20):
        ends[ExitCode(code)] = "looks again"
    for code in (2, 14, 15):
        ends[ExitCode(code)] = "fails at once"
    answer = json.dumps({"path": SPOT.path, "run_id": "r1"})
    for code, end in ends.items():
        for line in (answer, json.dumps({"error": "so it is", "exit_code": code})):
            desk.command("readyfs", f"echo '{line}'; exit {int(code)}")
            if code is not ExitCode.OK or line == answer:
                assert does(look, DAY) == end, code
        if code is not ExitCode.OK:
            desk.command("readyfs", f"exit {int(code)}")  # without a word
            assert does(look, DAY) == end, code
    desk.command("readyfs", "kill -9 $$")
    assert does(look, DAY) == "is tried again"


def test_load_reads_the_run_of_a_view_that_it_pins(place: Place, desk: Desk) -> None:
    in_view = "case $1 in */.readyfs/views/*) ;; *) exit 3 ;; esac"
    desk.command("load", f'{in_view}; cat "$1/payload.jsonl" >loaded; echo "$2" >>loaded; test ! -e broken')
    loaded = desk.directory / "loaded"
    load = read(desk, "load_when_ready.py").functions["load"]
    place.producer.write_and_publish(SPOT, "r1", b'{"n":1}\n')
    with mounted(place) as daemon, pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(desk.directory)
        found = {"path": SPOT.path, "run_id": "r1"}
        load(found)
        assert loaded.read_text() == '{"n":1}\nr1\n'
        place.producer.write_and_publish(SPOT, "r2", b'{"n":2}\n')
        daemon.refresh()
        load(found)  # the sensor saw the run before
        assert loaded.read_text() == '{"n":2}\nr2\n'
        assert pins(daemon) == []
        (desk.directory / "broken").touch()
        with pytest.raises(Exception, match="returned non-zero exit status 1"):
            load(found)
        place.producer.requeue(SPOT)
        daemon.refresh()
        loaded.unlink()
        with pytest.raises(FileNotFoundError):
            load(found)
        assert not loaded.exists()
        assert pins(daemon) == []


def test_events_are_loaded_or_retracted(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk.directory)
    for command in ("load", "retract"):
        desk.command(command, f'echo {command} "$@" >>done')
    tasks = read(desk, "on_ready.py")
    key = {"customer_id": CUSTOMER, "query_name": QUERY, "logical_date": DAY}
    events = [SimpleNamespace(extra={**key, "type": kind}) for kind in ("appeared", "switched", "retracted")]
    tasks.functions["load"]({Asset("readyfs://google_ads/campaign_daily"): events})
    words = f"{CUSTOMER} {QUERY} {DAY}\n"
    assert (desk.directory / "done").read_text() == f"load {words}load {words}retract {words}"
