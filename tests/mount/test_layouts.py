"""What the promises mean on every level of a layout, wherever the date stands in it.

Tests that hold in any layout as they stand are marked `in_each_layout`, in the files of their promises.
"""

from __future__ import annotations

import datetime
import errno
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from readyfs.demo.producer import LogicalPartition
from readyfs.errors import ExitCode
from tests.mount.daemon import IN_LAYOUTS, Daemon, Place, fails_with, mounted, partition, try_to_mount
from tests.mount.forked import run_forked
from tests.mount.listing_pass import ListingPass
from tests.mount.test_names import NAMES, write_raw

layouts = pytest.mark.parametrize("engine", IN_LAYOUTS)


def above(daemon: Daemon, part: LogicalPartition) -> list[Path]:
    """Return the directories over a partition's, the mount root first."""
    parents = daemon.directory(part).parents
    return [*reversed(parents[: parents.index(daemon.path) + 1])]


def beside(layout: str, number: int) -> LogicalPartition:
    """Return one of the partitions that lie in one directory, in the order of their names."""
    if layout == "by-date":
        return partition(query=f"q{number:03}")
    return partition(date=(datetime.date(2024, 1, 1) + datetime.timedelta(days=number)).isoformat())


OTHERS = (
    partition(date="2024-06-02"),
    partition(date="2024-07-01"),
    partition(date="2025-06-01"),
    partition(query="q2"),
    partition(customer="c2"),
)
"""Partitions that differ from the first one on each level."""


@layouts
def test_absence_on_every_level_ends_with_the_refresh(place: Place, engine: str) -> None:
    """V1, V3: no directory stands before or after something ready lies below it, and none is remembered as absent."""
    place.producer.write_and_publish(partition(), "r1", b"x\n")
    runs = [place.producer.write_run(one, "r1", one.path.encode()) for one in OTHERS]
    with mounted(place, "--name-timeout", "1h", engine=engine) as daemon:
        known = set(above(daemon, partition()))
        for _ in range(2):
            absent = {path for one in OTHERS for path in (*above(daemon, one), daemon.directory(one))} - known
            assert not any(path.exists() for path in absent)
            assert daemon.is_all(partition())
            for run in runs:
                place.producer.publish(run)
            daemon.refresh()
            for one in OTHERS:
                assert daemon.of(one).read_bytes() == one.path.encode()
            assert daemon.is_all(partition(), *OTHERS)
            for one in OTHERS:
                place.producer.requeue(one)
            daemon.refresh()


@layouts
def test_held_directories_on_every_level_lose_and_get_their_names(place: Place, engine: str) -> None:
    """V6: whoever holds a directory that lost its last partition sees it empty, and what comes."""
    part = partition()
    run = place.producer.write_and_publish(part, "r1", b"x\n")
    with mounted(place, engine=engine) as daemon:
        directories = above(daemon, part)
        held = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in directories]
        try:
            names = [os.listdir(fd) for fd in held]
            assert all(len(found) == 1 for found in names)
            place.producer.fail(part)
            daemon.refresh()
            assert [os.listdir(fd) for fd in held] == [[] for _ in held]
            for fd, found in zip(held, names, strict=True):
                with fails_with(errno.ENOENT):
                    os.stat(found[0], dir_fd=fd)
            place.producer.publish(run)
            daemon.refresh()
            assert [os.listdir(fd) for fd in held] == names
            assert daemon.of(part).read_bytes() == b"x\n"
        finally:
            for fd in held:
                os.close(fd)


@layouts
def test_pass_over_refreshes_lists_one_catalog(place: Place, engine: str) -> None:
    """V7: none twice, none missing, none of the new ones; the rewound pass shows exactly the new ones."""
    with place.producer.one_transaction():
        for number in range(300):
            place.producer.set_ready(beside(engine, number), "r1")
    with mounted(place, engine=engine) as daemon, ListingPass(daemon.directory(beside(engine, 0)).parent) as listing:
        expected = [daemon.directory(beside(engine, number)).name for number in range(320)]
        names = [entry.name for _ in range(3) for entry in listing.read(280)]
        assert 0 < len(names) < 300
        with place.producer.one_transaction():
            for number in range(1, 300, 2):
                place.producer.delete_row(beside(engine, number))
            for number in range(300, 320):
                place.producer.set_ready(beside(engine, number), "r1")
            place.producer.set_ready(beside(engine, 0), "r2")
        daemon.refresh()
        names += [entry.name for entry in listing.rest(280)]
        assert names == expected[:300]
        listing.rewind()
        assert [entry.name for entry in listing.rest(280)] == [*expected[0:300:2], *expected[300:]]


def entries_of(path: Path) -> dict[str, int]:
    """Return what the names in a directory are."""
    with os.scandir(path) as entries:
        return {entry.name: entry.inode() for entry in entries}


@layouts
def test_times_move_with_the_own_entries_of_a_directory_only(place: Place, engine: str) -> None:
    """V9: on each level strictly later if an entry came, went or is another run; as it was if a row was touched."""
    at = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)
    run = place.producer.write_and_publish(partition(), "r1", b"x", at=at)
    place.producer.write_and_publish(partition(customer="c3"), "r1", b"x", at=at)
    with mounted(place, engine=engine) as daemon:
        directories = above(daemon, partition())
        first = {path: path.stat().st_mtime_ns for path in directories}
        assert set(first.values()) == {int(at.timestamp()) * 10**9}

        latest = max(first.values())
        moved = 0
        changes: list[Callable[[], object]] = [
            partial(place.producer.publish, run, at=at + datetime.timedelta(days=1)),
            *(partial(place.producer.write_and_publish, one, "r1", b"y") for one in OTHERS),
            partial(place.producer.write_and_publish, OTHERS[0], "r2", b"y"),
            *(partial(place.producer.fail, one) for one in OTHERS),
        ]
        for change in changes:
            before = {path: (path.stat().st_mtime_ns, entries_of(path)) for path in directories}
            change()
            daemon.refresh()
            for path, (time_ns, entries) in before.items():
                now_ns = path.stat().st_mtime_ns
                assert (now_ns > latest) == (entries_of(path) != entries), path
                assert now_ns >= time_ns
                moved += now_ns > time_ns
            latest = max(latest, *(path.stat().st_mtime_ns for path in directories))
        assert moved >= len(OTHERS)


@pytest.mark.parametrize("engine", ["pyfuse3", "passthrough"])
def test_hostile_ids_are_names_on_the_first_and_the_last_level(place: Place, engine: str) -> None:
    """V12: reserved names included; a name that is written in another way than ours does not exist."""
    ids = {value: name for value, name in NAMES.items() if len(value) < 100}
    for number, value in enumerate(ids):
        write_raw(place, b"s1", value, b"q1", b"%d\n" % number)
        write_raw(place, b"s1", b"c1", value, b"%d\n" % number)
        for customer, query in ((value, "q1"), ("c1", value)):
            place.insert("s1", customer, query, "2024-06-01", "r1")
    with mounted(place, "--layout", "{query_name}/{year}-{month}/{day}/{customer_id}", engine=engine) as daemon:
        root = os.fsencode(daemon.path)
        first, last = root, os.path.join(root, b"q1/2024-06/01")
        assert sorted(os.listdir(first)) == sorted([*ids.values(), b"q1"])
        assert sorted(os.listdir(last)) == sorted(ids.values())
        for number, name in enumerate(ids.values()):
            for path in (os.path.join(last, name), os.path.join(first, name, b"2024-06/01/c1")):
                with open(os.path.join(path, b"payload.jsonl"), "rb") as file:
                    assert file.read() == b"%d\n" % number
                assert os.getxattr(path, "user.readyfs.customer_id") in (b"c1", list(ids)[number])
        for absent in (b"a%3ab", b"%61%3Ab", b"a:b", b"upper%", b".readyfs", b"%2e%2ereadyfs", b"%2E.readyfs", b""):
            if absent:
                assert not os.path.lexists(os.path.join(last, absent)), absent
        for absent in (b"q1/2024-6", b"q1/2024-06/1", b"q1/2024-06/31", b"q1/2024-06-01", b"q1/2024-06/01/c1"):
            assert not os.path.lexists(os.path.join(root, absent)), absent
        status = json.loads((daemon.path / ".readyfs/status.json").read_text())
        assert status["partitions"] == 2 * len(ids)


@pytest.mark.parametrize("layout", [traits.layout for traits in IN_LAYOUTS.values()])
def test_commands_without_a_mount_work_in_the_layout(place: Place, layout: str) -> None:
    """The same partitions, the same ambiguity and the same missing runs, whatever their paths."""
    for one in OTHERS:
        place.producer.write_and_publish(one, "r1", b"x\n")
    stores = ("--state", str(place.state), "--raw", str(place.raw), "--layout", layout)
    checked = run_forked(["check", *stores, "--format", "json"], 20)
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["partitions"] == len(OTHERS)
    told = run_forked(["config", "check", *stores], 20)
    assert told.stdout.startswith(f"OK: {len(OTHERS)} partitions"), told.stderr

    place.producer.set_ready(partition(), "lost")
    place.producer.write_and_publish(OTHERS[0]._replace(source="s2"), "r1", b"x\n")
    checked = run_forked(["check", *stores, "--format", "json"], 20)
    found = json.loads(checked.stdout)
    assert (checked.returncode, found["partitions"]) == (ExitCode.FOUND, len(OTHERS))
    refused = try_to_mount(place, "--layout", layout)
    assert refused.returncode == ExitCode.AMBIGUOUS
    assert "--layout" in refused.stderr


@pytest.mark.parametrize(
    ("layout", "reason"),
    [
        ("bydate", "not the name of one"),
        ("{customer_id}-{query_name}/{logical_date}", "could not be told apart"),
        ("{customer_id}/{query_name}/{week}", "unknown field {week}"),
        ("{customer_id}/{query_name}/{year}/{month}", "the date is not complete"),
        ("{year}/{customer_id}/{query_name}/{logical_date}", "the date stands twice"),
    ],
)
def test_bad_layout_is_one_line_with_the_remedy(place: Place, layout: str, reason: str) -> None:
    """Nothing is mounted, and the exit code is that of wrong usage."""
    refused = try_to_mount(place, "--layout", layout)
    assert refused.returncode == ExitCode.USAGE
    assert reason in refused.stderr
    assert "by-date" in refused.stderr
    assert refused.stderr.count("\n") == 1
