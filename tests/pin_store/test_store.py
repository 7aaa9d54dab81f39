"""A pin that one mount publishes is found by another, whole, for as long as a lease goes on."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from readyfs.errors import PinStoreAwayError, PinStoreError
from readyfs.pin_store.words import MismatchError
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


def test_pin_of_one_mount_is_found_by_another_and_loads_as_the_same_catalog(tmp_path: Path) -> None:
    catalog = make_catalog(1)
    open_store(tmp_path).publish(catalog, pin_of(catalog), None)
    other = open_store(tmp_path, B)
    found = other.find(catalog.fingerprint)
    assert found is not None
    assert found.taken_at_ns == pin_of(catalog).taken_at_ns
    assert 0 < found.ends_in_s <= LEASE_S
    assert LEASE_S < found.latest_in_s <= 1e6
    loaded = other.load(found, None)
    assert loaded.fingerprint == catalog.fingerprint
    assert loaded.partitions == catalog.partitions
    assert other.resolve("nightly") == catalog.fingerprint


def test_loaded_catalog_shares_with_one_that_is_there_what_is_equal(tmp_path: Path) -> None:
    older = make_catalog(1)
    newer = make_catalog(2, older)
    open_store(tmp_path).publish(newer, pin_of(newer), None)
    other = open_store(tmp_path, B)
    found = other.find(newer.fingerprint)
    assert found is not None
    loaded = other.load(found, older)
    shared = [key for key, series in loaded.by_key.items() if series is older.by_key[key]]
    assert len(shared) == len(older.by_key) - 1


def test_what_nobody_published_is_not_found(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    assert store.find("0" * 32) is None
    assert store.find("../../views") is None
    assert store.resolve("nightly") is None
    assert store.resolve("../names/nightly") is None
    assert store.resolve("a\0b") is None
    assert store.ends_in_s("0" * 32) is None


def test_next_catalog_shares_the_packs_of_the_one_before(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    catalog = make_catalog(0)
    store.publish(catalog, pin_of(catalog, "pin-0"), None)
    for number in range(1, 12):
        before, catalog = catalog, make_catalog(number, catalog)
        known = set(entries(tmp_path, "packs"))
        store.publish(catalog, pin_of(catalog, f"pin-{number}"), before)
        came = set(entries(tmp_path, "packs")) - known
        assert len(came) == 1
        assert is_whole(open_store(tmp_path, B), catalog)
    found = store.find(catalog.fingerprint)
    assert found is not None
    assert len(found.packs) < 10  # a whole one begins again before a reader needs many


def test_catalog_of_which_the_one_before_is_lost_is_written_whole(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    older = make_catalog(1)
    newer = make_catalog(2, older)
    store.publish(newer, pin_of(newer), older)  # which was never published
    found = store.find(newer.fingerprint)
    assert found is not None
    assert len(found.packs) == 1
    assert is_whole(open_store(tmp_path, B), newer)


def test_same_catalog_of_two_mounts_is_there_once_and_goes_with_the_last_lease(tmp_path: Path) -> None:
    catalog = make_catalog(1)
    one, other = open_store(tmp_path), open_store(tmp_path, B)
    one.publish(catalog, pin_of(catalog, "one"), None)
    files = entries(tmp_path, "packs")
    other.publish(catalog, pin_of(catalog, "other"), None)
    assert entries(tmp_path, "packs") == files
    pass_time(tmp_path, LEASE_S - 10)
    assert other.renew(pin_of(catalog, "other"))
    pass_time(tmp_path, 20)
    ends_in_s = one.ends_in_s(catalog.fingerprint)
    assert ends_in_s is not None
    assert LEASE_S - 30 < ends_in_s <= LEASE_S - 20
    other.end(pin_of(catalog, "other"))
    found = one.find(catalog.fingerprint)
    assert found is not None
    assert found.ends_in_s <= 0


def test_two_renewals_at_once_lose_none_and_never_shorten_a_lease(tmp_path: Path) -> None:
    catalog = make_catalog(1)
    one, other = open_store(tmp_path), open_store(tmp_path, B)
    one.publish(catalog, pin_of(catalog), None)
    assert other.renew(pin_of(catalog, "", lease_s=5000))
    assert one.renew(pin_of(catalog, lease_s=500))
    assert one.renew(pin_of(catalog, lease_s=50))
    assert (one.ends_in_s(catalog.fingerprint) or 0) > 4000
    other.end(pin_of(catalog, ""))
    assert 400 < (one.ends_in_s(catalog.fingerprint) or 0) <= 500


def test_renewal_of_what_the_store_lost_says_so_and_publishing_anew_heals_it(tmp_path: Path) -> None:
    catalog = make_catalog(1)
    store = open_store(tmp_path)
    assert not store.renew(pin_of(catalog))
    store.publish(catalog, pin_of(catalog), None)
    (pack,) = entries(tmp_path, "packs")
    (tmp_path / pack).unlink()
    assert not store.renew(pin_of(catalog))
    store.publish(catalog, pin_of(catalog), None)
    assert store.renew(pin_of(catalog))
    assert is_whole(open_store(tmp_path, B), catalog)


def test_lease_is_renewed_up_to_its_latest(tmp_path: Path) -> None:
    catalog = make_catalog(1)
    store = open_store(tmp_path)
    store.publish(catalog, pin_of(catalog, lease_s=500, latest_s=50), None)
    found = store.find(catalog.fingerprint)
    assert found is not None
    assert found.ends_in_s <= 50
    assert found.latest_in_s <= 50


def test_lease_that_a_file_system_with_a_wrong_clock_wrote_lasts_for_a_time_that_can_be_told(tmp_path: Path) -> None:
    """And that can be handed on: whoever uses the view holds it by a lease of its own, up to the latest of this one."""
    catalog = make_catalog(1)
    open_store(tmp_path).publish(catalog, pin_of(catalog), None)
    for lease in entries(tmp_path, "views", catalog.fingerprint, "leases"):
        os.utime(tmp_path / lease, (2**40, 2**40))
    other = open_store(tmp_path, B)
    found = other.find(catalog.fingerprint)
    assert found is not None
    assert 1e8 < found.ends_in_s <= found.latest_in_s <= 1e10
    assert other.renew(pin_of(catalog, "", found.ends_in_s, found.latest_in_s))
    [_, own] = sorted(entries(tmp_path, "views", catalog.fingerprint, "leases"))
    (tmp_path / entries(tmp_path, "views", catalog.fingerprint, "leases")[0]).unlink()
    assert own.endswith(B)
    assert is_whole(other, catalog)


# ---- names --------------------------------------------------------------------------------------------------


def test_name_of_a_pin_is_one_pin_in_the_whole_store(tmp_path: Path) -> None:
    mine, theirs = make_catalog(1), make_catalog(2)
    one, other = open_store(tmp_path), open_store(tmp_path, B)
    one.publish(mine, pin_of(mine), None)
    with pytest.raises(PinStoreError, match="has a pin named 'nightly' that is not of this mount"):
        other.publish(theirs, pin_of(theirs), None)
    assert other.find(theirs.fingerprint) is None
    assert entries(tmp_path, "views", theirs.fingerprint) == []
    assert other.resolve("nightly") == mine.fingerprint
    one.publish(theirs, pin_of(theirs), None)  # the mount's own name may lead elsewhere
    assert other.resolve("nightly") == theirs.fingerprint


def test_name_that_another_mount_takes_meanwhile_fails_the_pin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, theirs = make_catalog(1), make_catalog(2)
    one, other = open_store(tmp_path), open_store(tmp_path, B)
    monkeypatch.setattr("readyfs.pin_store.store.check_name_free", lambda *_: None)
    one.publish(mine, pin_of(mine), None)
    with pytest.raises(PinStoreError, match="not of this mount"):
        other.publish(theirs, pin_of(theirs), None)
    assert other.find(theirs.fingerprint) is None
    assert other.resolve("nightly") == mine.fingerprint


def test_name_is_free_once_its_lease_has_been_over_for_longer_than_the_grace(tmp_path: Path) -> None:
    mine, theirs = make_catalog(1), make_catalog(2)
    one, other = open_store(tmp_path), open_store(tmp_path, B)
    one.publish(mine, pin_of(mine), None)
    one.end(pin_of(mine))
    with pytest.raises(PinStoreError):
        other.publish(theirs, pin_of(theirs), None)
    pass_time(tmp_path, GRACE_S + 1)
    assert other.resolve("nightly") is None
    other.publish(theirs, pin_of(theirs), None)
    assert one.resolve("nightly") == theirs.fingerprint
    with pytest.raises(PinStoreError):
        one.publish(mine, pin_of(mine), None)


# ---- whose catalogs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw_id", "settings", "why"),
    [
        ("another", SETTINGS, "it is of the raw store 'raw', and this mount is of 'another' (--raw-id)"),
        ("raw", {**SETTINGS, "files": "*"}, "it is of other settings (files)"),
    ],
)
def test_catalog_of_others_is_a_mismatch_that_says_why(
    tmp_path: Path, raw_id: str, settings: dict[str, str], why: str
) -> None:
    catalog = make_catalog(1)
    open_store(tmp_path).publish(catalog, pin_of(catalog), None)
    with pytest.raises(MismatchError) as raised:
        open_store(tmp_path, B, raw_id=raw_id, settings=settings).find(catalog.fingerprint)
    assert str(raised.value) == why


def test_one_catalog_may_be_of_two_raw_stores(tmp_path: Path) -> None:
    catalog = make_catalog(1)
    one, other = open_store(tmp_path), open_store(tmp_path, B, raw_id="another")
    one.publish(catalog, pin_of(catalog, "one"), None)
    other.publish(catalog, pin_of(catalog, "other"), None)
    assert is_whole(open_store(tmp_path, C), catalog)
    assert is_whole(open_store(tmp_path, C, raw_id="another"), catalog)
    with pytest.raises(MismatchError):
        open_store(tmp_path, C, raw_id="a third").find(catalog.fingerprint)


# ---- the directory ------------------------------------------------------------------------------------------


def test_files_and_directories_take_group_and_permissions_from_the_directory(tmp_path: Path) -> None:
    os.chown(tmp_path, -1, 65534)
    tmp_path.chmod(0o2770)
    catalog = make_catalog(1)
    umask = os.umask(0o077)
    try:
        open_store(tmp_path).publish(catalog, pin_of(catalog), None)
    finally:
        os.umask(umask)
    for place in tmp_path.rglob("*"):
        found = place.stat()
        assert found.st_gid == 65534
        assert stat.S_IMODE(found.st_mode) == (0o2770 if place.is_dir() else 0o660), place


def test_where_nobody_removes_the_files_of_others_nobody_writes_into_them_either(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    catalog = make_catalog(1)
    open_store(tmp_path).publish(catalog, pin_of(catalog), None)
    for place in tmp_path.rglob("*"):
        assert stat.S_IMODE(place.stat().st_mode) == (0o1777 if place.is_dir() else 0o644), place


def test_what_cannot_be_a_store_is_one_line_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(PinStoreAwayError, match="is not there") as raised:
        open_store(tmp_path / "none")
    assert raised.value.remedy
    (tmp_path / "file").touch()
    with pytest.raises(PinStoreError, match="is no directory") as error:
        open_store(tmp_path / "file")
    assert not isinstance(error.value, PinStoreAwayError)
    with pytest.raises(PinStoreError, match="is no pin store, and holds 'file'") as error:
        open_store(tmp_path)
    assert not isinstance(error.value, PinStoreAwayError)
    assert entries(tmp_path) == ["file"]


def test_store_of_another_version_is_left_alone(tmp_path: Path) -> None:
    open_store(tmp_path)
    marker = tmp_path / "readyfs-pin-store"
    marker.write_bytes(marker.read_bytes().replace(b"readyfs store 1 ", b"readyfs store 2 "))
    with pytest.raises(PinStoreError, match="of another version of readyfs: the store is of format 2") as raised:
        open_store(tmp_path)
    assert not isinstance(raised.value, PinStoreAwayError)
    marker.write_bytes(b"")
    with pytest.raises(PinStoreError, match="is damaged"):
        open_store(tmp_path)


def test_store_that_is_away_is_never_taken_for_an_empty_one(tmp_path: Path) -> None:
    place = tmp_path / "store"
    place.mkdir()
    store = open_store(place)
    catalog = make_catalog(1)
    store.publish(catalog, pin_of(catalog), None)
    place.rename(tmp_path / "elsewhere")
    with pytest.raises(PinStoreAwayError):
        store.find(catalog.fingerprint)
    place.mkdir()  # what is below a mount point while nothing is mounted
    for ask in (store.check, lambda: store.find(catalog.fingerprint), lambda: store.ends_in_s(catalog.fingerprint)):
        with pytest.raises(PinStoreAwayError, match="is away"):
            ask()
    assert entries(place) == []
    open_store(place, B)  # which somebody makes anew
    with pytest.raises(PinStoreAwayError, match="is away: the directory holds another one"):
        store.find(catalog.fingerprint)
    shutil.rmtree(place)
    (tmp_path / "elsewhere").rename(place)
    assert is_whole(store, catalog)


def test_temporary_files_of_a_former_life_are_removed_by_their_mount_alone(tmp_path: Path) -> None:
    open_store(tmp_path)
    for holder in (A, B):
        (tmp_path / "tmp" / f"{holder}-0123").write_bytes(b"half a pack")
    (tmp_path / "tmp" / "of-somebody").write_bytes(b"")
    open_store(tmp_path)
    assert entries(tmp_path, "tmp") == [f"tmp/{B}-0123", "tmp/of-somebody"]


def test_check_while_a_pin_is_being_published_takes_nothing_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon checks the store again after an error, on another thread than the one that publishes."""
    store, catalog, rename = open_store(tmp_path), make_catalog(1), os.rename

    def check_and_rename(*arguments: Any, **directories: Any) -> None:
        with monkeypatch.context() as without:
            without.setattr(os, "rename", rename)  # the check writes a file, too
            store.check()
        rename(*arguments, **directories)

    monkeypatch.setattr(os, "rename", check_and_rename)
    store.publish(catalog, pin_of(catalog), None)
    assert is_whole(open_store(tmp_path, B), catalog)
