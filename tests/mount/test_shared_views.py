"""V24, through real mounts: a view that is pinned on one mount is found on another, and is the same or is not there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tests.mount.daemon import Place, fails_with, files_below, in_each_layout, mounted, partition, wait_until
from tests.mount.sharing import Neighbour, payload, pin, view

ONE, TWO = partition(), partition(date="2024-06-02")
NO_HISTORY = ("--history-count", "0")


@pytest.fixture
def place(place: Place) -> Place:
    """A place with one partition, and an empty pin store."""
    place.producer.write_and_publish(ONE, "r1", b"first\n")
    (place.base / "pins").mkdir()
    return place


@pytest.fixture
def other(place: Place) -> Place:
    return Neighbour(place, "other")


def store(place: Place) -> tuple[str, ...]:
    return ("--pin-store", str(place.base / "pins"), *NO_HISTORY)


def test_view_pinned_on_one_mount_is_read_on_another_at_the_first_lookup(
    place: Place, other: Place, engine: str
) -> None:
    """The other mount looked later, and never had that catalog in force."""
    with mounted(place, *store(place), engine=engine) as a:
        fingerprint = pin(a)
        place.producer.write_and_publish(ONE, "r2", b"second\n")
        place.producer.write_and_publish(TWO, "r2", b"second\n")
        with mounted(other, *store(place), engine=engine) as b:
            assert b.of(ONE).read_bytes() == b"second\n"
            found = view(b, fingerprint)
            assert payload(b, found, ONE).read_bytes() == b"first\n"
            assert files_below(found) == files_below(view(a, fingerprint))
            assert (b.path / ".readyfs/at/job").resolve() == found
