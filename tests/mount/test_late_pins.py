"""V24, while pins come and go: what was not there is found once it is, and by all who look at once."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.mount.daemon import EACH_ENGINE_ONCE, Daemon, Place, fails_with, mounted, partition, wait_until
from tests.mount.sharing import Neighbour, payload, pin, view

ONE: Final = partition()
READERS: Final = 24

on_both_engines = pytest.mark.parametrize("engine", EACH_ENGINE_ONCE)


@contextmanager
def two_mounts(place: Place, engine: str) -> Iterator[tuple[Daemon, Daemon]]:
    """Two mounts of one pin store; the second has not seen what the first has in force."""
    place.producer.write_and_publish(ONE, "r1", b"r1\n")
    pins = place.base / "pins"
    pins.mkdir()
    words = ("--pin-store", str(pins), "--history-count", "0")
    with mounted(Neighbour(place, "other"), *words, engine=engine) as b, mounted(place, *words, engine=engine) as a:
        switch(place, a, "r2")
        yield a, b


def switch(place: Place, daemon: Daemon, run: str) -> None:
    """Give the partition a new run, and one mount the news."""
    place.producer.write_and_publish(ONE, run, f"{run}\n".encode())
    daemon.refresh()


def fingerprint(daemon: Daemon) -> str:
    """Return that of what is in force."""
    return os.getxattr(daemon.path, "user.readyfs.fingerprint").decode()


def is_there(path: Path) -> bool:
    """Whether there is something, or nothing."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    return True


@on_both_engines
def test_view_and_name_that_were_looked_up_too_early_are_found_soon_after(place: Place, engine: str) -> None:
    """Neither the kernel nor the daemon remembers for long that they were not there."""
    with two_mounts(place, engine) as (a, b):
        early, named = view(b, fingerprint(a)), b.path / ".readyfs/at/late"
        for path in (early, named):
            with fails_with(errno.ENOENT):
                path.stat()
        assert pin(a, "late") == early.name
        wait_until(lambda: is_there(early), "the view is found")
        wait_until(lambda: is_there(named), "the name is found")
        assert payload(b, early, ONE).read_bytes() == payload(b, named, ONE).read_bytes() == b"r2\n"


@on_both_engines
def test_many_who_look_up_one_view_at_once_find_it_together(place: Place, engine: str) -> None:
    with two_mounts(place, engine) as (a, b), ThreadPoolExecutor(READERS) as readers:
        path = payload(b, view(b, pin(a)), ONE)
        assert set(readers.map(lambda _: path.read_bytes(), range(READERS))) == {b"r2\n"}
        assert len(b.events("a view was found in the pin store")) == 1


@on_both_engines
def test_name_that_is_pinned_anew_leads_to_the_new_view(place: Place, engine: str) -> None:
    """A reader that holds the path of the view keeps it."""
    with two_mounts(place, engine) as (a, b):
        named = b.path / ".readyfs/at/job"
        old = view(b, pin(a))
        assert payload(b, named, ONE).read_bytes() == b"r2\n"
        leases = place.base / "pins/views" / old.name / "leases"
        wait_until(lambda: len(list(leases.iterdir())) == 2, "the reader's mount holds what is read there")
        a.public.unpin("job")
        switch(place, a, "r3")
        new = pin(a)
        wait_until(lambda: named.resolve().name == new, "the name leads on")
        assert payload(b, named, ONE).read_bytes() == b"r3\n"
        assert payload(b, old, ONE).read_bytes() == b"r2\n"
