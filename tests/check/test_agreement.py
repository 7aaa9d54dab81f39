"""What is called broken is what a real mount answers EIO for, and the other way round (V10)."""

from __future__ import annotations

import errno
import os

import pytest

from readyfs.errors import ExitCode
from tests.check.worlds import (
    BROKEN,
    EMPTY,
    MISMATCHED,
    PAYLOAD,
    WHOLE,
    check,
    check_json,
    kinds_by_date,
    make_world,
)
from tests.mount.bindfs import bound
from tests.mount.daemon import ENGINES, WITHOUT_DAC, Daemon, Place, partition, start, take_down


@pytest.mark.parametrize("engine", ENGINES)
def test_broken_runs_are_those_that_a_mount_answers_eio_for(place: Place, engine: str) -> None:
    make_world(place)
    code, document = check_json(place, "--deep", "--limit", "1000", wrapper=WITHOUT_DAC)
    daemon = start(place, engine=engine, wrapper=WITHOUT_DAC)
    try:
        dates = sorted(os.listdir(daemon.path / "c1/q1"))
        refused = {date for date in dates if is_refused(daemon, date)}
    finally:
        take_down(daemon)
    assert set(dates) == {*BROKEN, *MISMATCHED, *WHOLE, EMPTY}
    assert document["partitions"] == document["checked"] == len(dates)
    assert set(kinds_by_date(document, "broken")) == refused == set(BROKEN)
    assert kinds_by_date(document, "broken") == {date: {kind} for date, (_, kind) in BROKEN.items()}
    assert kinds_by_date(document, "mismatched") == {date: kinds for date, (_, kinds) in MISMATCHED.items()}
    assert (document["broken"], document["mismatched"]) == (len(BROKEN), len(MISMATCHED))
    assert code == ExitCode.FOUND


def is_refused(daemon: Daemon, date: str) -> bool:
    """Whether a reader who takes all that is listed of a date meets EIO."""

    def fail(error: OSError) -> None:
        raise error

    try:
        for directory, _, names in os.walk(daemon.directory(partition(date=date)), onerror=fail):
            for name in names:
                with open(os.path.join(directory, name), "rb") as file:
                    file.read()
    except OSError as error:
        assert error.errno == errno.EIO
        return True
    return False


def test_names_that_are_not_utf8_are_checked_as_they_are_served(place: Place) -> None:
    """V12: bytes pass through."""
    name = b"c\xff"
    run = place.producer.write_and_publish(partition(customer="c-old"), "r1", PAYLOAD)
    place.change("UPDATE partition_state SET customer_id = CAST(? AS TEXT)", name)
    place.insert("s1", name, "q1", "2024-06-02", "r1")
    place.change("UPDATE partition_state SET customer_id = CAST(customer_id AS TEXT)")
    customer = run.directory.parents[2]
    os.rename(os.fsencode(customer), os.fsencode(customer.parent) + b"/customer_id=" + name)
    code, document = check_json(place)
    assert code == ExitCode.FOUND
    (finding,) = document["findings"]
    assert (finding["kind"], finding["count"]) == ("run_missing", 1)
    (example,) = finding["examples"]
    assert example["partition"] == "s1/c\\xff/q1/2024-06-02"
    assert example["path"].endswith("customer_id=c\\xff/query_name=q1/logical_date=2024-06-02/run_id=r1")


def test_files_that_a_mount_hides_are_not_looked_at(place: Place) -> None:
    run = place.producer.write_and_publish(partition(), "r1", PAYLOAD)
    (run.directory / "notes.txt").write_bytes(b"")
    (run.directory / "notes.txt").chmod(0)
    assert check_json(place, wrapper=WITHOUT_DAC)[0] == ExitCode.FOUND
    assert check_json(place, "--files", "*.json*", wrapper=WITHOUT_DAC)[0] == ExitCode.OK


def test_a_raw_store_that_hangs_ends_the_check_in_time(place: Place) -> None:
    for day in range(1, 10):
        place.producer.write_and_publish(partition(date=f"2024-06-0{day}"), "r1", PAYLOAD)
    with bound(place) as store:
        store.stop()
        try:
            root = check(place, "--raw-timeout", "500ms", raw=store.path)
            below = check(
                place,
                *("--raw-timeout", "500ms", "--raw-threads", "2", "--raw-layout"),
                f"{store.path.name}/{{source}}/customer_id={{customer_id}}/query_name={{query_name}}/"
                "logical_date={logical_date}/run_id={run_id}",
                raw=store.path.parent,
            )
        finally:
            store.go_on()
    assert root.returncode == ExitCode.RAW
    assert "does not answer within 0.5 s" in root.stderr
    assert below.returncode == ExitCode.RAW
    assert below.stdout.startswith("the raw store does not answer: checked 2 of 9 ready partitions ")
    assert "raw_timeout  2 " in below.stdout
