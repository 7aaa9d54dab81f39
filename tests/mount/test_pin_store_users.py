"""V24, with daemons of different users over one pin store: what its group shares, and what others are told."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from tests.fuse.live_mount import NOBODY
from tests.mount.daemon import Daemon, Place, mounted, partition, wait_until
from tests.mount.forked import StemWrapper
from tests.mount.sharing import Neighbour, payload, pin, view

ONE: Final = partition()
GROUP: Final = 61000
OF_THE_GROUP: Final = StemWrapper(("setpriv", f"--groups={GROUP}", "--"))
"""Root's daemon as the documents start it."""


def as_user(uid: int, groups: str) -> tuple[str, ...]:
    """Return the prefix of a command of an ordinary user's, who may read everything for the sake of the interpreter."""
    return (
        *("setpriv", f"--reuid={uid}", f"--regid={uid}", groups),
        *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--"),
    )


def in_namespace(place: Place, user: tuple[str, ...]) -> tuple[str, ...]:
    """Return the prefix of a daemon of a user's, in a mount namespace with a /dev/fuse that everybody may open."""
    device = place.base / "device"
    os.mknod(device, 0o20666, os.makedev(10, 229))
    device.chmod(0o666)
    line = f'mount --bind "{device}" /dev/fuse && exec "$@"'
    return ("unshare", "--mount", "--propagation=private", "--", "sh", "-c", line, "sh", *user)


MEMBER: Final = as_user(NOBODY, f"--groups={GROUP}")
OUTSIDER: Final = as_user(NOBODY, "--clear-groups")


@pytest.fixture
def place() -> Iterator[Place]:
    """A place on a way that is open to all users, with one partition and a pin store of a group."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        found = Place(Path(directory))
        with closing(found.producer):
            found.producer.write_and_publish(ONE, "r1", b"first\n")
            pins = found.base / "pins"
            pins.mkdir()
            os.chown(pins, 0, GROUP)
            pins.chmod(0o2770)
            yield found


def of_user(place: Place, uid: int) -> Neighbour:
    """Return a place beside another one that is a user's own."""
    found = Neighbour(place, f"of {uid}")
    for path in (found.base, found.mountpoint):
        os.chown(path, uid, uid)
    return found


def store(place: Place) -> tuple[str, ...]:
    return ("--pin-store", str(place.base / "pins"), "--history-count", "0")


def read_as(user: tuple[str, ...], daemon: Daemon, path: Path) -> subprocess.CompletedProcess[str]:
    """Have a user read a file where its daemon has mounted."""
    command = ["nsenter", f"--target={daemon.pid}", "--mount", "--", *user, "cat", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, cwd="/", check=False)


def seen_in(daemon: Daemon, fingerprint: str) -> Path:
    """Return the path of the payload in a view."""
    return payload(daemon, view(daemon, fingerprint), ONE)


def test_daemons_of_root_and_of_an_ordinary_user_find_each_others_views(place: Place) -> None:
    """The member's daemon has no rights but to read, and mounts with fusermount3."""
    theirs = of_user(place, NOBODY)
    with (
        mounted(place, *store(place), wrapper=OF_THE_GROUP) as a,
        mounted(theirs, *store(place), wrapper=in_namespace(theirs, MEMBER)) as b,
    ):
        fingerprint = pin(a)
        place.producer.write_and_publish(ONE, "r2", b"second\n")
        for one in (a, b):
            one.refresh()
        assert read_as(MEMBER, b, b.of(ONE)).stdout == "second\n"
        assert read_as(MEMBER, b, seen_in(b, fingerprint)).stdout == "first\n"
        wait_until(lambda: in_use(place), "the member's daemon has written a lease of its own")
        a.public.unpin("job")
        assert read_as(MEMBER, b, seen_in(b, fingerprint)).stdout == "first\n"
        assert seen_in(a, fingerprint).read_bytes() == b"first\n", "held by the other's use, and found there"


def in_use(place: Place) -> bool:
    """Whether some mount holds a view in the store because it is used there: by a lease without a name."""
    return any(len(lease.name) == 32 for lease in (place.base / "pins").glob("views/*/leases/*"))


def test_daemon_of_an_outsider_serves_and_says_why_it_shares_nothing(place: Place) -> None:
    theirs = of_user(place, NOBODY)
    with (
        mounted(place, *store(place), wrapper=OF_THE_GROUP) as a,
        mounted(theirs, *store(place), wrapper=in_namespace(theirs, OUTSIDER)) as b,
    ):
        fingerprint = pin(a)
        assert read_as(OUTSIDER, b, b.of(ONE)).stdout == "first\n"
        place.producer.write_and_publish(ONE, "r2", b"second\n")
        b.refresh()
        done = read_as(OUTSIDER, b, seen_in(b, fingerprint))
        assert (done.returncode, done.stdout) == (1, "")
        assert "Input/output error" in done.stderr, "nobody knows whether it is there"
        assert read_as(OUTSIDER, b, b.of(ONE)).stdout == "second\n"
        [warning] = b.events("the pin store cannot be used")
        assert "cannot be read and written by this user" in str(warning["error"])


def test_daemon_of_root_outside_of_the_group_is_told_so(place: Place) -> None:
    """V24: it could make only what no other mount can read."""
    with mounted(place, *store(place)) as a:
        [warning] = a.events("the pin store cannot be used")
        assert "it is not in the group of the directory" in str(warning["error"])
        assert not list((place.base / "pins").iterdir())
        assert a.of(ONE).read_bytes() == b"first\n"
