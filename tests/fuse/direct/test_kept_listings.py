"""Listings that the kernel keeps, over a real mount: V7 and V3 where a reader is in mid-pass while they are made."""

from __future__ import annotations

import os

import pytest

from tests.mount.daemon import Place, mounted, partition
from tests.mount.listing_pass import ListingPass

A_PAGE = 4096 // 32 - 2
"""So many names of up to eight bytes fill a page of the kernel's listing to the byte, together with the two dots."""


@pytest.mark.parametrize("count", [A_PAGE - 1, A_PAGE, A_PAGE + 1, 2 * A_PAGE + 1, 2 * A_PAGE + 2, 2 * A_PAGE + 3])
@pytest.mark.parametrize("size", [100, 320, 1600])
def test_pass_in_small_pieces_ends_with_the_last_name_although_another_reader_has_it_kept(
    place: Place, engine: str, count: int, size: int
) -> None:
    """V7: also where the kept listing fills its last page exactly, which the kernel takes for its end in mid-pass."""
    names = [f"c{number:03}" for number in range(count)]
    with place.producer.one_transaction():
        for name in names:
            place.producer.set_ready(partition(name), "r1")
    with mounted(place, engine=engine) as daemon:
        for _ in range(2):  # the second time the first pieces come from what is kept, and the rest of it is dropped
            with ListingPass(daemon.path) as listing:
                seen = [entry.name for entry in listing.read(size)]
                assert 0 < len(seen) < count
                if len(seen) < 2:
                    assert os.listdir(daemon.path) == names
                else:
                    place.producer.set_ready(partition("c000", "q2"), "r1")
                    daemon.refresh()
                    with ListingPass(daemon.path) as other:
                        assert [entry.name for entry in other.rest()] == names
                seen += [entry.name for entry in listing.rest(size)]
            assert seen == names
            assert os.listdir(daemon.path) == names


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
