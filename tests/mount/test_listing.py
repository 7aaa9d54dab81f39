"""V7: one pass over a directory lists the names of one catalog, whatever is refreshed meanwhile."""

from __future__ import annotations

import datetime
import errno
import os

import pytest

from readyfs.catalog.history import KEPT
from tests.mount.daemon import Daemon, Place, fails_with, mounted, partition
from tests.mount.listing_pass import ListingPass

DATES = [(datetime.date(2014, 1, 1) + datetime.timedelta(days=day)).isoformat() for day in range(3000)]
FIRST_DATES, LAST_DATES = DATES[:-400], DATES[-400:]


@pytest.fixture
def large(place: Place) -> Place:
    """A place whose one directory of dates needs many calls to be listed; only 2018-01-01 has a run to look at."""
    with place.producer.one_transaction():
        for date in FIRST_DATES:
            place.producer.set_ready(partition(date=date), "r1")
    return place


def change_the_middle(place: Place) -> list[str]:
    """Remove, add and switch names in the middle and at both ends; return the names afterwards."""
    gone = {*FIRST_DATES[1:3], *FIRST_DATES[900:1500:2], *FIRST_DATES[-300:]}
    with place.producer.one_transaction():
        for date in gone:
            place.producer.delete_row(partition(date=date))
        for date in LAST_DATES:
            place.producer.set_ready(partition(date=date), "r1")
        for date in ("2013-05-05", "1999-01-01"):
            place.producer.set_ready(partition(date=date), "r1")
    return sorted({*FIRST_DATES, *LAST_DATES, "2013-05-05", "1999-01-01"} - gone)


@pytest.mark.parametrize(("size", "calls"), [(280, 3), (4096, 8), (32768, 1)])
def test_pass_over_refreshes_lists_one_catalog(large: Place, engine: str, size: int, calls: int) -> None:
    """V7: none twice, none missing, none of the new ones; the rewound pass shows exactly the new ones."""
    with mounted(large, engine=engine) as daemon, ListingPass(daemon.path / "c1/q1") as listing:
        names = [entry.name for _ in range(calls) for entry in listing.read(size)]
        assert 0 < len(names) < len(FIRST_DATES)
        after = change_the_middle(large)
        daemon.refresh()
        large.producer.delete_row(partition(date=after[0]))
        daemon.refresh()
        names += [entry.name for entry in listing.rest(size)]
        assert names == FIRST_DATES

        listing.rewind()
        assert [entry.name for entry in listing.rest(size)] == after[1:]
        assert os.listdir(daemon.path / "c1/q1") == after[1:]


def test_passes_of_several_readers_do_not_mix(large: Place, engine: str) -> None:
    """V7: each open directory has its own pass, begun in its own catalog."""
    with (
        mounted(large, engine=engine) as daemon,
        ListingPass(daemon.path / "c1/q1") as before,
        ListingPass(daemon.path / "c1/q1") as after,
    ):
        old = [entry.name for entry in before.read()]
        expected = change_the_middle(large)
        daemon.refresh()
        new = [entry.name for entry in after.read()]
        assert old + [entry.name for entry in before.rest()] == FIRST_DATES
        assert new + [entry.name for entry in after.rest()] == expected


def test_rest_of_an_old_pass_does_not_bring_old_names_back(large: Place, engine: str) -> None:
    """V7, V3: the frozen listing of a pass begun earlier must not teach the kernel names and runs it just forgot."""
    switched, retracted = partition(date=FIRST_DATES[1200]), partition(date=FIRST_DATES[1201])
    for part in (switched, retracted):
        large.producer.write_and_publish(part, "old", b"old\n")
    with mounted(large, "--name-timeout", "1h", engine=engine) as daemon:
        assert daemon.of(switched).read_bytes() == b"old\n"
        assert daemon.of(retracted).read_bytes() == b"old\n"
        with ListingPass(daemon.path / "c1/q1") as listing:
            listing.read()
            large.producer.write_and_publish(switched, "new", b"new\n")
            large.producer.fail(retracted)
            daemon.refresh()
            assert len(listing.rest()) > 2000
            assert daemon.of(switched).read_bytes() == b"new\n"
            assert not daemon.of(retracted).exists()
            assert not daemon.directory(retracted).exists()


def test_rest_of_an_old_pass_does_not_bring_old_times_back(large: Place, engine: str) -> None:
    """V7, V9: nor the attributes of a row that was touched since."""
    touched = partition(date=FIRST_DATES[1200])
    large.producer.set_ready(touched, "r1", at=at(1))
    with mounted(large, "--name-timeout", "1h", engine=engine) as daemon:
        held = os.open(daemon.directory(touched), os.O_RDONLY | os.O_DIRECTORY)
        try:
            assert os.fstat(held).st_mtime == at(1).timestamp()
            with ListingPass(daemon.path / "c1/q1") as listing:
                listing.read()
                large.producer.set_ready(touched, "r1", at=at(2))
                assert daemon.refresh()["touched"] == 1
                assert len(listing.rest()) > 2000
            assert os.fstat(held).st_mtime == at(2).timestamp()
        finally:
            os.close(held)


def at(hour: int) -> datetime.datetime:
    return datetime.datetime(2024, 6, 2, hour, tzinfo=datetime.UTC)


def test_pass_over_many_refreshes_lists_one_catalog(large: Place, engine: str) -> None:
    """V7: also when several catalogs came and went since it began."""
    with mounted(large, engine=engine) as daemon, ListingPass(daemon.path / "c1/q1") as listing:
        names = [entry.name for entry in listing.read()]
        for date in FIRST_DATES[1000:1008]:
            large.producer.delete_row(partition(date=date))
            daemon.refresh()
            names += [entry.name for entry in listing.read()]
        assert names + [entry.name for entry in listing.rest()] == FIRST_DATES


def test_rewound_over_many_refreshes_each_pass_lists_one_catalog(large: Place, engine: str) -> None:
    """V7: a descriptor that is rewound between refreshes begins a new pass each time."""
    with mounted(large, engine=engine) as daemon, ListingPass(daemon.path / "c1/q1") as listing:
        expected = list(FIRST_DATES)
        for date in FIRST_DATES[1000:1008]:
            listing.rewind()
            names = [entry.name for entry in listing.read()]
            large.producer.delete_row(partition(date=date))
            daemon.refresh()
            assert names + [entry.name for entry in listing.rest()] == expected
            expected.remove(date)


def test_position_of_a_forgotten_pass_is_an_error(large: Place, engine: str) -> None:
    """V7: whoever seeks to a position of a pass that is long over gets an error, never the names of another one."""
    with mounted(large, engine=engine) as daemon, ListingPass(daemon.path / "c1/q1") as listing:
        listing.read()
        position = os.lseek(listing.fd, 0, os.SEEK_CUR)
        for date in FIRST_DATES[: KEPT + 1]:
            large.producer.delete_row(partition(date=date))
            daemon.refresh()
        os.lseek(listing.fd, position, os.SEEK_SET)
        with fails_with(errno.ESTALE):
            listing.read()


def test_listed_inode_is_the_one_that_stat_shows(large: Place, engine: str) -> None:
    """V9: st_ino == d_ino at every depth."""
    part = partition(customer="c2")
    large.producer.write_and_publish(part, "r1", b"x\n")
    with mounted(large, engine=engine) as daemon:
        for path in (daemon.path, daemon.path / "c1", daemon.path / "c1/q1", daemon.directory(part)):
            assert all_match(daemon, path)


def all_match(daemon: Daemon, path: os.PathLike[str]) -> bool:
    with os.scandir(path) as found:
        entries = list(found)
    assert entries
    return all(entry.inode() == os.stat(entry.path).st_ino for entry in entries)


def test_large_directory_can_be_walked_by_name(large: Place, engine: str) -> None:
    """V1, V7: what is listed can be looked at, and what is not cannot."""
    with mounted(large, engine=engine) as daemon:
        listed = os.listdir(daemon.path / "c1/q1")
        assert listed == FIRST_DATES
        assert all((daemon.path / "c1/q1" / date).is_dir() for date in listed[::50])
        assert not any((daemon.path / "c1/q1" / date).exists() for date in LAST_DATES[::20])
