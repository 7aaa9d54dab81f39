"""A pin store between mounts of different users: who can do what, what a user can spoil, and what nobody can."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from readyfs.errors import ExitCode, PinStoreAwayError, PinStoreError
from readyfs.pin_store.store import PinStore
from readyfs.pin_store.words import Collected, DamagedStoreError, Identity
from readyfs.privileges import Capability, has_capability
from tests.catalog.rows import shape
from tests.pin_store.stores import (
    GRACE_S,
    LEASE_S,
    SETTINGS,
    A,
    B,
    C,
    entries,
    is_whole,
    make_catalog,
    open_store,
    pass_time,
    pin_of,
)
from tests.pin_store.users import ALICE, BOB, GROUP, MALLORY, ROOT, User, done_by, shared_directory

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be several users")

ONE: Final = make_catalog(1)
TWO: Final = make_catalog(2, ONE)
OTHER: Final = make_catalog(3, rows=5)
D: Final = "d" * 32
HOLDERS: Final = {ALICE: A, BOB: B, MALLORY: C, ROOT: D}


@pytest.fixture
def group_store() -> Iterator[Path]:
    """A store as the documents say: for a group."""
    with shared_directory(0o2770) as path:
        yield path


@pytest.fixture
def sticky_store() -> Iterator[Path]:
    """A store in which everybody may write, and remove what is theirs."""
    with shared_directory(0o1777) as path:
        yield path


def publish(path: Path, user: User, name: str = "nightly") -> None:
    """Have a user's mount publish a catalog that every mount here publishes."""
    done_by(user, lambda: open_store(path, HOLDERS[user]).publish(ONE, pin_of(ONE, name), None))


def finds(path: Path, user: User) -> bool:
    """Whether a user's mount finds it."""
    return done_by(user, lambda: is_whole(open_store(path, HOLDERS[user]), ONE))


def collect(path: Path, user: User) -> Collected:
    """Have a user's mount collect, with all ages as they are."""
    return done_by(user, lambda: open_store(path, HOLDERS[user]).collect())


def collect_all(path: Path, user: User) -> Collected:
    """Have a user's mount collect until whatever nothing needs could be gone."""
    total = Collected()
    for _ in range(3):
        pass_time(path, LEASE_S + 2 * GRACE_S)
        found = collect(path, user)
        total = Collected(*(was + now for was, now in zip(_counts(total), _counts(found), strict=True)))
    return total


def _counts(found: Collected) -> tuple[int, ...]:
    return found.views, found.packs, found.freed_bytes, found.skipped


# ---- who can do what ------------------------------------------------------------------------------------------


def test_group_shares_all_of_it(group_store: Path) -> None:
    """One publishes, another finds it, builds upon it, holds it and ends it; either collects what the other left."""
    publish(group_store, ALICE)

    def go_on() -> float | None:
        store = open_store(group_store, B)
        assert is_whole(store, ONE)
        store.publish(TWO, pin_of(TWO, "weekly"), ONE)
        assert store.renew(pin_of(ONE, "", lease_s=500))
        return store.ends_in_s(ONE.fingerprint)

    assert (done_by(BOB, go_on) or 0) > LEASE_S
    assert done_by(ALICE, lambda: is_whole(open_store(group_store, A), TWO))
    assert len(entries(group_store, "packs")) == 2, "what both share is there once"
    done_by(BOB, lambda: open_store(group_store, B).end(pin_of(TWO, "weekly")))
    gone = collect_all(group_store, BOB)
    assert (gone.views, gone.skipped) == (2, 0)
    assert not entries(group_store, "packs") + entries(group_store, "views") + entries(group_store, "names")


def test_files_are_the_groups_whatever_the_umask(group_store: Path) -> None:
    publish(group_store, ALICE)
    for found in map(os.lstat, [*group_store.rglob("packs/**/*"), *group_store.rglob("views/**/*")]):
        assert found.st_gid == GROUP
        expected = 0o2770 if stat.S_ISDIR(found.st_mode) else 0o660
        assert stat.S_IMODE(found.st_mode) == expected


def test_sticky_store_is_shared_and_everybody_removes_their_own(sticky_store: Path) -> None:
    publish(sticky_store, ALICE, "of alice")
    publish(sticky_store, MALLORY, "of mallory")
    assert finds(sticky_store, BOB)
    with pytest.raises(PinStoreError, match="that is not of this mount"):
        publish(sticky_store, BOB, "of alice")
    kept = collect_all(sticky_store, MALLORY)
    assert kept.skipped > 0
    assert "names/of alice" in entries(sticky_store, "names")
    collect_all(sticky_store, ALICE)
    assert not entries(sticky_store, "packs")


@pytest.mark.parametrize(
    ("mode", "owner", "user"),
    [
        (0o2770, 0, MALLORY),
        (0o700, ALICE.uid, BOB),
        (0o700, ALICE.uid, ROOT),
        (0o2750, 0, BOB),
        (0o755, 0, ALICE),
    ],
    ids=[
        "not in the group",
        "of another user",
        "root of another user",
        "group reads",
        "all read",
    ],
)
def test_who_may_not_write_is_told_so_in_one_line(mode: int, owner: int, user: User) -> None:
    with shared_directory(mode, owner) as path:
        with pytest.raises(PinStoreAwayError) as caught:
            done_by(user, lambda: open_store(path, HOLDERS[user]))
        assert "cannot be read and written by this user" in caught.value.message
        assert "2770" in caught.value.remedy
        assert caught.value.exit_code == ExitCode.PIN_STORE
        assert not entries(path)


@pytest.mark.parametrize(("mode", "groups"), [(0o2770, (GROUP,)), (0o1777, ())], ids=["group", "sticky"])
def test_root_shares_with_others_as_any_user_does(mode: int, groups: tuple[int, ...]) -> None:
    """A daemon of root's has given up the right to write everywhere, and to set a group it is not in."""
    root = ROOT._replace(groups=groups)
    with shared_directory(mode) as path:
        done_by(root, lambda: open_store(path, D).publish(ONE, pin_of(ONE, "of root"), None))
        assert finds(path, BOB)
        publish(path, BOB, "of bob")
        done_by(root, lambda: open_store(path, D).end(pin_of(ONE, "of root")))
        done_by(BOB, lambda: open_store(path, B).end(pin_of(ONE, "of bob")))
        collect_all(path, BOB)
        collect_all(path, ROOT)
        assert not entries(path, "packs")


def test_root_outside_of_the_group_is_told_so_and_leaves_nothing_that_others_cannot_read(group_store: Path) -> None:
    """It owns the directory and may write there; the kernel gives what it makes to its own group."""
    with pytest.raises(PinStoreAwayError) as caught:
        done_by(ROOT, lambda: open_store(group_store, D))
    assert "it is not in the group of the directory" in caught.value.message
    assert not list(group_store.iterdir())
    publish(group_store, ALICE)
    with pytest.raises(PinStoreAwayError):
        done_by(ROOT, lambda: open_store(group_store, D).publish(TWO, pin_of(TWO, "of root"), ONE))
    assert finds(group_store, BOB)
    assert not list(group_store.glob(f"views/{TWO.fingerprint}"))


def test_storage_that_is_read_only_is_one_line_and_is_used_again_once_it_is_not(group_store: Path) -> None:
    """Finding needs to write, too: a reader holds what it reads, and asks the storage for its time."""
    if not has_capability(Capability.SYS_ADMIN):
        pytest.skip("needs CAP_SYS_ADMIN, to mount something read-only")
    store = open_store(group_store)
    store.publish(ONE, pin_of(ONE), None)
    subprocess.run(["mount", "--bind", group_store, group_store], check=True, timeout=20)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", group_store], check=True, timeout=20)
        for call in (
            lambda: store.publish(TWO, pin_of(TWO, "weekly"), ONE),
            lambda: store.renew(pin_of(ONE)),
            lambda: store.end(pin_of(ONE)),
            lambda: store.find(ONE.fingerprint),
            store.collect,
            lambda: open_store(group_store, B),
        ):
            with pytest.raises(PinStoreAwayError, match="Read-only file system") as caught:
                call()
            assert caught.value.remedy == "mount it to be written"
    finally:
        subprocess.run(["umount", group_store], check=True, timeout=20)
    assert is_whole(store, ONE)
    assert store.find(TWO.fingerprint) is None


# ---- what a user can spoil ------------------------------------------------------------------------------------


Spoil = Callable[[Path, Path], None]


def _link(place: Path, secret: Path) -> None:
    place.symlink_to(secret)


def _hard_link(place: Path, secret: Path) -> None:
    os.link(secret, place)


def _fifo(place: Path, secret: Path) -> None:
    os.mkfifo(place, 0o666)


def _empty(place: Path, secret: Path) -> None:
    place.touch(0o660)


def _directory(place: Path, secret: Path) -> None:
    place.mkdir(0o770)


def _closed_file(place: Path, secret: Path) -> None:
    place.touch(0)


def _closed_directory(place: Path, secret: Path) -> None:
    place.mkdir(0)


PLACES: Final = (
    "readyfs-pin-store",
    "packs/*/*",
    "packs/*",
    "packs",
    "views/*/root.*",
    "views/*/leases/*",
    "views/*/leases",
    "views/*",
    "names/nightly",
    "names",
    f"clock/{A}",
    "trash/packs",
    "trash/views",
    "set-aside",
)
QUICK_SPOILS: Final[tuple[Spoil, ...]] = (_link, _closed_directory)
SPOILS: Final[tuple[Spoil, ...]] = (_link, _hard_link, _fifo, _empty, _directory, _closed_file, _closed_directory)


def spoil_and_look(spoil: Spoil, what: str) -> None:
    """Have a member of the group replace something; whatever mounts say then, nothing that is wrong is believed."""
    with shared_directory(0o2770) as path:
        publish(path, ALICE)
        secret = path.parent / "secret"
        secret.write_bytes(b"as it was")
        secret.chmod(0o666)
        before = secret.stat()
        (place, *_) = sorted(path.glob(what))

        def replace() -> None:
            os.umask(0)
            place.rename(path / "tmp" / "aside")
            spoil(place, secret)

        def look() -> None:
            store = PinStore(path, Identity("raw", SETTINGS), A, shape(), GRACE_S)
            with suppress(PinStoreError, DamagedStoreError):
                is_whole(store, ONE)
            with suppress(PinStoreError):
                store.publish(ONE, pin_of(ONE), None)
                assert is_whole(store, ONE), "what was published is there"
            with suppress(PinStoreError):
                store.collect()

        done_by(BOB, replace)
        done_by(ALICE, look)
        after = secret.stat()
        assert secret.read_bytes() == b"as it was"
        assert (after.st_mode, after.st_uid) == (before.st_mode, before.st_uid)
        assert after.st_mtime_ns == before.st_mtime_ns or spoil is _hard_link


@pytest.mark.parametrize("what", PLACES)
def test_member_of_the_group_can_spoil_and_not_deceive(what: str) -> None:
    for spoil in QUICK_SPOILS:
        spoil_and_look(spoil, what)


@pytest.mark.long
@pytest.mark.parametrize("what", PLACES)
def test_member_of_the_group_can_spoil_in_no_way_and_deceive(what: str) -> None:
    for spoil in SPOILS:
        spoil_and_look(spoil, what)


@pytest.mark.parametrize(
    "what", ["packs/*", "packs/*/*", "views/*/root.*", "views/*/leases/*", "views/*/leases", "views/*", "names/nightly"]
)
@pytest.mark.parametrize("mode", [0o2770, 0o1777], ids=oct)
def test_what_one_user_closes_holds_up_nothing_else(mode: int, what: str) -> None:
    """It is said of that view alone; others are found, published and collected."""
    with shared_directory(mode) as path:
        publish(path, BOB)
        (place, *_) = sorted(path.glob(what))
        done_by(BOB, lambda: place.chmod(0))

        def look() -> list[int]:
            store = open_store(path, A)
            with suppress(DamagedStoreError):
                assert is_whole(store, ONE) or what.startswith("views/*/leases/")
            with suppress(DamagedStoreError):
                store.resolve("nightly")
            store.publish(OTHER, pin_of(OTHER, "other"), None)
            assert is_whole(store, OTHER)
            assert store.resolve("other") == OTHER.fingerprint
            store.end(pin_of(OTHER, "other"))
            return []

        done_by(ALICE, look)
        collect_all(path, ALICE)
        assert not list(path.glob(f"views/{OTHER.fingerprint}"))
        assert not list(path.glob("names/other"))


@pytest.mark.parametrize(("what", "mode"), [("views/*", 0), ("views/*/leases", 0), ("views/*/leases", 0o550)])
def test_view_that_one_user_closes_to_others_is_no_trouble_of_the_whole_store(what: str, mode: int) -> None:
    """Else a mount would take the store for away, and keep up none of its other views and pins."""
    with shared_directory(0o2770) as path:
        publish(path, BOB)
        done_by(ALICE, lambda: open_store(path, A).publish(ONE, pin_of(ONE, "of alice"), None))
        (place, *_) = sorted(path.glob(what))
        done_by(BOB, lambda: place.chmod(mode))

        def look() -> None:
            store = open_store(path, A)
            with suppress(DamagedStoreError):
                store.ends_in_s(ONE.fingerprint)
            store.renew(pin_of(ONE, "", lease_s=500))
            store.renew(pin_of(ONE, "of alice", lease_s=500))
            store.end(pin_of(ONE, "of alice"))

        done_by(ALICE, look)
        with pytest.raises(PinStoreError, match="closed to this user") as caught:
            publish(path, ALICE, "again")
        assert not isinstance(caught.value, PinStoreAwayError)


def test_name_that_one_user_closes_to_others_is_taken() -> None:
    with shared_directory(0o2770) as path:
        publish(path, BOB)
        done_by(BOB, lambda: (path / "names" / "nightly").chmod(0))
        with pytest.raises(PinStoreError, match="has a pin named 'nightly' that is not of this mount"):
            publish(path, ALICE)
        publish(path, ALICE, "other")
