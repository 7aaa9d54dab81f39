"""Listings that the kernel keeps, over a real mount: V7 and V3 where a reader is in mid-pass while they are made."""

from __future__ import annotations

import os

import pytest

from tests.mount.daemon import Daemon, Place, mounted, partition
from tests.mount.listing_pass import ListingPass

A_PAGE = 4096 // 32 - 2
"""So many names of up to eight bytes fill a page of the kernel's listing to the byte, together with the two dots."""
SIZES = [100, 320, 1600]
"""In bytes: what a pass asks for at a time."""


@pytest.mark.parametrize("count", [A_PAGE - 1, A_PAGE, A_PAGE + 1, 2 * A_PAGE + 1, 2 * A_PAGE + 2, 2 * A_PAGE + 3])
def test_pass_in_mid_way_goes_on_although_another_listing_was_kept_since(place: Place, engine: str, count: int) -> None:
    """V7: also where that fills its last page exactly, which the kernel takes for the end of a pass begun before."""
    names = [f"c{number:03}" for number in range(count)]
    with place.producer.one_transaction():
        for name in names:
            place.producer.set_ready(partition(name), "r1")
    with mounted(place, engine=engine) as daemon:
        for size in SIZES:
            place.producer.set_ready(partition("gone"), "r1")
            daemon.refresh()
            check_pass_in_mid_way(daemon, names, size)


def check_pass_in_mid_way(daemon: Daemon, names: list[str], size: int) -> None:
    with ListingPass(daemon.path) as listing:
        # Begun from a kept listing: one that is begun from nothing keeps others from being kept until it ends.
        assert os.listdir(daemon.path) == [*names, "gone"]
        seen = [entry.name for entry in listing.read(size)]
        assert 0 < len(seen) < len(names)
        daemon.place.producer.delete_row(partition("gone"))
        daemon.refresh()
        assert os.listdir(daemon.path) == names
        asked = daemon.requests("readdir")
        assert os.listdir(daemon.path) == names
        assert daemon.requests("readdir") == asked, "nothing is kept: nothing is proved"
        seen += [entry.name for entry in listing.rest(size)]
        assert seen == [*names, "gone"]
        listing.rewind()
        assert [entry.name for entry in listing.rest(size)] == names
        assert os.listdir(daemon.path) == names


@pytest.mark.parametrize("size", SIZES)
def test_pass_in_small_pieces_is_whole_while_others_have_it_kept(place: Place, engine: str, size: int) -> None:
    """V7: some readers begin before the listing is kept, some go on after it was dropped and kept again."""
    names = [f"c{number:03}" for number in range(A_PAGE)]
    with place.producer.one_transaction():
        for name in names:
            place.producer.set_ready(partition(name), "r1")
    with mounted(place, engine=engine) as daemon, ListingPass(daemon.path) as early, ListingPass(daemon.path) as late:
        first = early.read(size)
        assert os.listdir(daemon.path) == names
        second = late.read(size)
        for extra in ("z1", "z2"):
            place.producer.set_ready(partition(extra), "r1")
            daemon.refresh()
            assert os.listdir(daemon.path)[-1] == extra
            place.producer.delete_row(partition(extra))
            daemon.refresh()
            assert os.listdir(daemon.path) == names
            first += early.read(size)
            second += late.read(size)
        assert [entry.name for entry in (*first, *early.rest(size))] == names
        assert [entry.name for entry in (*second, *late.rest(size))] == names


def test_listing_of_a_broken_run_is_not_kept(place: Place, engine: str) -> None:
    """V10: it is asked for anew each time, so that the names of the run that heals are seen."""
    part = partition()
    run = place.producer.begin_run(part, "r1", b"x\n")
    place.producer.publish(run)
    with mounted(place, engine=engine) as daemon:
        for _ in range(2):
            asked = daemon.requests("readdir")
            assert sorted(os.listdir(daemon.directory(part))) == ["metadata.json", "payload.jsonl"]
            assert daemon.requests("readdir") > asked
        (run.directory / "extra").write_bytes(b"extra\n")
        place.producer.seal_run(run)
        assert sorted(os.listdir(daemon.directory(part))) == ["extra", "metadata.json", "payload.jsonl"]
        asked = daemon.requests("readdir")
        assert sorted(os.listdir(daemon.directory(part))) == ["extra", "metadata.json", "payload.jsonl"]
        assert daemon.requests("readdir") == asked
