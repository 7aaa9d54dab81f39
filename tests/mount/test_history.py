"""The history of a real mount: over restarts, kills, a full disk and a directory that cannot be written."""

from __future__ import annotations

import datetime
import json
import random
import resource
import time
from pathlib import Path

import pytest

from readyfs.catalog.build import CatalogShape
from readyfs.control.pin_requests import PinRequest
from readyfs.history.directory import HistoryDirectory
from readyfs.history.history import History
from readyfs.history.moments import Bounds
from readyfs.layout import MountLayout, RawLayout
from tests.mount.daemon import EACH_ENGINE_ONCE, Daemon, Place, files_below, mounted, partition, running, wait_until

SHAPE = CatalogShape(MountLayout.parse(), RawLayout.parse(), (), ("payload.jsonl", "metadata.json"))


@pytest.fixture(params=EACH_ENGINE_ONCE)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def segments(place: Place) -> list[Path]:
    return sorted((place.base / "var/history").glob("*/*.history"))


def read_back(place: Place) -> list[str]:
    """Return the fingerprints of all catalogs on the disk, of which each is read and proven."""
    found = segments(place)
    if not found:
        return []
    content = found[0].read_bytes()
    settings = json.loads(content[28 : 28 + int.from_bytes(content[20:24], "little")])
    history = History(HistoryDirectory(found[0].parent, settings), SHAPE, Bounds(10**6, 10**9, 1 << 40))
    history.open()
    fingerprints = [moment.fingerprint for moment in history.moments()]
    for fingerprint in fingerprints:
        catalog = history.catalog(fingerprint, may_block=True)
        assert catalog is not None
        assert catalog.fingerprint == fingerprint
    return fingerprints


def switch(place: Place, number: int) -> None:
    place.producer.write_and_publish(partition(), f"r{number}", b"%d\n" % number)


def fingerprint(daemon: Daemon) -> str:
    return str(daemon.status()["fingerprint"])


def wait_written(place: Place, count: int) -> None:
    def is_written() -> bool:
        return sum(one.read_bytes().count(b"\x93rec\x02\0\0\0") for one in segments(place)) >= count

    wait_until(is_written, f"{count} moments are on the disk")


def test_history_outlasts_a_restart(place: Place, engine: str) -> None:
    """Each catalog is a moment, the same one after a restart is none, and what changed meanwhile is one more."""
    shown: list[str] = []
    switch(place, 0)
    with mounted(place, engine=engine) as daemon:
        shown.append(fingerprint(daemon))
        for number in (1, 2):
            switch(place, number)
            daemon.refresh()
            daemon.refresh()
            shown.append(fingerprint(daemon))
        status = daemon.status()
        assert (status["history_catalogs"], status["history_error"]) == (3, None)
    assert read_back(place) == shown
    with mounted(place, engine=engine) as daemon:
        status = daemon.status()
        assert status["history_catalogs"] == 3
        assert status["history_bytes"] == sum(one.stat().st_size for one in segments(place))
        assert str(status["history_oldest"]) < str(status["refreshed_at"])
    assert read_back(place) == shown
    switch(place, 3)
    with mounted(place, engine=engine) as daemon:
        shown.append(fingerprint(daemon))
        assert daemon.status()["history_catalogs"] == 4
        wait_written(place, 4)
    assert read_back(place) == shown
    assert len(segments(place)) == 1


def test_history_survives_a_kill_at_any_moment(place: Place, engine: str) -> None:
    """What was on the disk is there, every catalog the very one; the next daemon goes on behind it."""
    chance = random.Random(engine)
    switch(place, 0)
    before: list[str] = []
    for attempt in range(3):
        with running(place, "--interval", "50ms", engine=engine) as daemon:
            wait_written(place, len(before) + (attempt == 0))
            end = time.monotonic() + chance.uniform(0.1, 0.6)
            number = 0
            while time.monotonic() < end:
                number += 1
                switch(place, 10_000 * (attempt + 1) + number)
            daemon.kill()
        found = read_back(place)
        assert found[: len(before)] == before
        before = found
    switch(place, 999)
    with mounted(place, engine=engine) as daemon:
        wait_written(place, len(before) + 1)
        assert read_back(place) == [*before, fingerprint(daemon)]
        assert daemon.events("the history on disk is not what was written") == []
        assert daemon.events("a part of the history is damaged and lost") == []


def test_link_to_a_catalog_that_is_not_kept_is_none_and_no_neighbour_stands_in(place: Place, engine: str) -> None:
    """The first of five catalogs is pinned, and the bounds let go of the two after it."""
    shown: list[str] = []
    times: list[str] = []

    def note(daemon: Daemon) -> None:
        shown.append(fingerprint(daemon))
        times.append(datetime.datetime.now(datetime.UTC).isoformat())

    def leads_to(daemon: Daemon, name: str) -> int | None:
        try:
            target = (daemon.path / ".readyfs/at" / name).readlink()
        except FileNotFoundError:
            return None
        return shown.index(target.name)

    switch(place, 0)
    with mounted(place, "--history-count", "1", engine=engine) as daemon:
        note(daemon)
        daemon.public.pin(PinRequest("job"))
        for number in range(1, 5):
            switch(place, number)
            daemon.refresh()
            note(daemon)
        assert [leads_to(daemon, f"~{steps}") for steps in range(6)] == [4, 3, None, None, 0, None]
        assert [leads_to(daemon, time) for time in times] == [0, None, None, 3, 4]
    switch(place, 5)
    with mounted(place, "--history-count", "1", engine=engine) as daemon:
        note(daemon)
        assert [leads_to(daemon, f"~{steps}") for steps in range(7)] == [5, 4, None, None, None, 0, None]
        assert [leads_to(daemon, time) for time in times] == [0, None, None, None, 4, 5]


def insert_many(place: Place, count: int) -> None:
    """Insert as many partitions without files as make a segment larger than the log."""
    place.change(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) INSERT INTO partition_state"
        "(source, customer_id, query_name, logical_date, current_run_id, updated_at, status)"
        " SELECT 's1', 'c' || i, 'q', '2024-06-01', hex(randomblob(32)), '2024-06-02T05:00:00+00:00', 'success' FROM n",
        count,
    )


def test_full_disk_is_one_warning_and_the_mount_goes_on(place: Place, engine: str) -> None:
    """The file may not grow for a while, as on a disk without room; then all is written that is kept."""
    insert_many(place, 400)
    switch(place, 0)
    with mounted(place, engine=engine) as daemon:
        wait_written(place, 1)
        shown = [fingerprint(daemon)]
        (segment,) = segments(place)
        assert segment.stat().st_size > 4 * daemon.log.stat().st_size
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (segment.stat().st_size + 10, resource.RLIM_INFINITY))
        for number in (1, 2):
            switch(place, number)
            daemon.refresh()
            shown.append(fingerprint(daemon))
            assert daemon.of(partition()).read_bytes() == b"%d\n" % number
            wait_until(lambda: daemon.status()["history_error"] == "File too large", "the history cannot be written")
        assert daemon.status()["history_catalogs"] == 3
        assert len(daemon.events("the history cannot be written")) == 1
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        switch(place, 3)
        daemon.refresh()
        shown.append(fingerprint(daemon))
        wait_until(lambda: daemon.status()["history_error"] is None, "the history can be written again")
        assert len(daemon.events("the history can be written again")) == 1
    assert read_back(place) == shown


def test_mount_without_a_place_for_its_history_goes_on(place: Place, engine: str) -> None:
    (place.base / "var").mkdir()
    (place.base / "var/history").write_bytes(b"")
    switch(place, 0)
    with mounted(place, engine=engine) as daemon:
        wait_until(lambda: daemon.status()["history_error"] is not None, "it is told")
        switch(place, 1)
        daemon.refresh()
        assert daemon.of(partition()).read_bytes() == b"1\n"
        assert daemon.status()["history_catalogs"] == 2
        assert len(daemon.events("the history cannot be written")) == 1


def test_catalog_that_is_held_back_is_no_moment(place: Place) -> None:
    for number in range(1, 9):
        place.producer.write_and_publish(partition(date=f"2024-06-{number:02}"), "r1", b"x\n")
    with mounted(place, "--max-retract", "50%", "--retract-floor", "3", "--interval", "50ms") as daemon:
        shown = fingerprint(daemon)
        place.change("UPDATE partition_state SET status = 'pending'")
        wait_until(lambda: daemon.status()["held_back_fingerprint"] is not None, "it is held back")
        assert daemon.status()["history_catalogs"] == 1
    assert read_back(place) == [shown]


def test_without_a_history_nothing_is_written(place: Place) -> None:
    switch(place, 0)
    with mounted(place, "--history-count", "0") as daemon:
        switch(place, 1)
        daemon.refresh()
        assert daemon.status()["history_catalogs"] == 1
    assert not (place.base / "var/history").exists()


def test_other_settings_begin_anew(place: Place) -> None:
    """A history must not show what filters keep from view now."""
    switch(place, 0)
    place.producer.write_and_publish(partition(customer="c2"), "r1", b"2\n")
    with mounted(place):
        wait_written(place, 1)
    with mounted(place, "--customer", "c1") as daemon:
        (event,) = daemon.events("the history is of other settings and begins anew")
        assert event["settings"] == ["customer"]
        assert daemon.status()["history_catalogs"] == 1
        assert files_below(daemon.path) == ["c1/q1/2024-06-01/metadata.json", "c1/q1/2024-06-01/payload.jsonl"]
        wait_written(place, 1)
    assert len(read_back(place)) == 1
