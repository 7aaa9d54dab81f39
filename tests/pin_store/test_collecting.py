"""What no lease needs goes, after the grace and by the store's clock alone; what somebody needs stays."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest

from readyfs.pin_store.words import Collected
from tests.pin_store.stores import (
    GRACE_S,
    LEASE_S,
    B,
    C,
    entries,
    is_whole,
    make_catalog,
    open_store,
    pass_time,
    pin_of,
)

NOBODY: Final = 65534


def collect_after(path: Path, seconds: float, rounds: int = 1) -> list[Collected]:
    found: list[Collected] = []
    for _ in range(rounds):
        pass_time(path, seconds)
        found.append(open_store(path, C).collect())
    return found


def test_what_no_lease_needs_goes_to_the_trash_and_then_away(tmp_path: Path) -> None:
    older = make_catalog(1)
    newer = make_catalog(2, older)
    store = open_store(tmp_path)
    store.publish(older, pin_of(older, "older"), None)
    store.publish(newer, pin_of(newer, "newer"), older)
    own = set(entries(tmp_path, "packs"))
    store.end(pin_of(newer, "newer"))
    assert collect_after(tmp_path, GRACE_S / 2) == [Collected()]
    assert len(entries(tmp_path, "trash")) == 0
    for _ in range(4):
        store.renew(pin_of(older, "older", 1e5))
        collect_after(tmp_path, GRACE_S + 1)
    assert store.find(newer.fingerprint) is None
    assert store.resolve("newer") is None
    assert is_whole(open_store(tmp_path, B), older)
    assert len(own - set(entries(tmp_path, "packs"))) == 1
    assert entries(tmp_path, "trash") == []
    store.end(pin_of(older, "older"))
    done = collect_after(tmp_path, GRACE_S + 1, rounds=4)
    assert sum(one.views for one in done) == 1
    assert sum(one.packs for one in done) == 1
    assert sum(one.freed_bytes for one in done) > 100
    assert sum(one.skipped for one in done) == 0
    assert [one for one in entries(tmp_path) if not one.startswith("clock/")] == ["collected", "readyfs-pin-store"]


def test_view_is_found_through_the_grace_and_in_the_trash(tmp_path: Path) -> None:
    catalog = make_catalog(1)
    store = open_store(tmp_path)
    store.publish(catalog, pin_of(catalog), None)
    pass_time(tmp_path, LEASE_S + 10)
    collect_after(tmp_path, GRACE_S - 700)
    found = store.find(catalog.fingerprint)
    assert found is not None
    assert found.ends_in_s < -GRACE_S + 700
    collect_after(tmp_path, 701)
    assert entries(tmp_path, "views") == []
    found = store.find(catalog.fingerprint)  # as somebody finds it who asked before
    assert found is not None
    assert store.load(found, None).fingerprint == catalog.fingerprint


def test_what_is_in_the_trash_is_published_anew(tmp_path: Path) -> None:
    catalog = make_catalog(1)
    store = open_store(tmp_path)
    store.publish(catalog, pin_of(catalog), None)
    collect_after(tmp_path, LEASE_S + GRACE_S + 1)
    packs = entries(tmp_path, "packs")
    collect_after(tmp_path, GRACE_S - 10)
    other = open_store(tmp_path, B)
    other.publish(catalog, pin_of(catalog, "again", lease_s=1e6), None)
    assert entries(tmp_path, "packs") == packs
    collect_after(tmp_path, GRACE_S + 1, rounds=4)
    assert is_whole(open_store(tmp_path, C), catalog)
    assert entries(tmp_path, "trash") == []


def test_pack_in_the_trash_is_read_there_and_put_back(tmp_path: Path) -> None:
    catalog = make_catalog(1)
    store = open_store(tmp_path)
    store.publish(catalog, pin_of(catalog, lease_s=1e6), None)
    (pack,) = entries(tmp_path, "packs")
    # As a collector leaves it that was killed before it looked once more.
    (tmp_path / pack).rename(tmp_path / "trash" / "packs" / Path(pack).name)
    assert is_whole(open_store(tmp_path, B), catalog)
    collect_after(tmp_path, GRACE_S + 1)
    assert entries(tmp_path, "packs") == [pack]
    assert is_whole(open_store(tmp_path, B), catalog)


def test_view_in_the_trash_that_a_lease_needs_is_put_back(tmp_path: Path) -> None:
    catalog = make_catalog(1)
    open_store(tmp_path).publish(catalog, pin_of(catalog, lease_s=1e6), None)
    trash = tmp_path / "trash" / "views" / f"{catalog.fingerprint}.{'0' * 16}"
    (tmp_path / "views" / catalog.fingerprint).rename(trash)
    collect_after(tmp_path, GRACE_S + 1, rounds=3)
    assert is_whole(open_store(tmp_path, B), catalog)
    assert entries(tmp_path, "trash") == []


def test_packs_of_a_view_that_has_to_stay_in_the_trash_are_needed(tmp_path: Path) -> None:
    older = make_catalog(1)
    catalog = make_catalog(2, older)
    store = open_store(tmp_path)
    store.publish(older, pin_of(older, "older"), None)
    store.publish(catalog, pin_of(catalog, lease_s=1e6), older)
    trash = tmp_path / "trash" / "views" / f"{catalog.fingerprint}.{'0' * 16}"
    (tmp_path / "views" / catalog.fingerprint).rename(trash)
    other = open_store(tmp_path, B, raw_id="another")
    other.publish(catalog, pin_of(catalog, "other", lease_s=1e6), None)  # and so it cannot be put back
    collect_after(tmp_path, GRACE_S + LEASE_S + 1, rounds=4)
    assert is_whole(open_store(tmp_path, C), catalog)
    assert is_whole(open_store(tmp_path, C, raw_id="another"), catalog)


def test_pack_stays_in_the_trash_for_another_grace(tmp_path: Path) -> None:
    catalog = make_catalog(1)
    store = open_store(tmp_path)
    store.publish(catalog, pin_of(catalog), None)
    shutil.rmtree(tmp_path / "views" / catalog.fingerprint)
    collect_after(tmp_path, 3 * GRACE_S)
    (pack,) = entries(tmp_path, "trash", "packs")
    collect_after(tmp_path, GRACE_S - 10)
    assert entries(tmp_path, "trash", "packs") == [pack]
    collect_after(tmp_path, 700)
    assert entries(tmp_path, "trash") == []


def test_lease_that_came_to_the_trash_while_it_was_written_ends_with_its_pin(tmp_path: Path) -> None:
    catalog = make_catalog(1)
    store = open_store(tmp_path)
    store.publish(catalog, pin_of(catalog, lease_s=1e6), None)
    trash = tmp_path / "trash" / "views" / f"{catalog.fingerprint}.{'0' * 16}"
    (tmp_path / "views" / catalog.fingerprint).rename(trash)
    store.publish(catalog, pin_of(catalog, lease_s=1e6), None)
    store.end(pin_of(catalog))
    collect_after(tmp_path, GRACE_S + 1, rounds=4)
    assert store.find(catalog.fingerprint) is None
    assert entries(tmp_path, "trash") == entries(tmp_path, "views") == []


def test_only_one_daemon_collects_in_an_interval(tmp_path: Path) -> None:
    catalog = make_catalog(1)
    store = open_store(tmp_path)
    store.publish(catalog, pin_of(catalog), None)
    store.collect()
    store.end(pin_of(catalog))
    pass_time(tmp_path, GRACE_S + 1)
    (tmp_path / "collected").touch()
    open_store(tmp_path, B).collect()
    assert len(entries(tmp_path, "views")) == 2
    pass_time(tmp_path, 601)
    open_store(tmp_path, B).collect()
    assert len(entries(tmp_path, "views")) == 0


def test_clock_of_a_mount_that_is_long_gone_goes(tmp_path: Path) -> None:
    open_store(tmp_path)
    pass_time(tmp_path, 31 * 86400)
    open_store(tmp_path, B).collect()
    assert entries(tmp_path, "clock") == [f"clock/{B}"]


def test_what_others_own_where_nobody_removes_the_files_of_others_is_skipped_and_counted() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to be two users")
    with TemporaryDirectory() as directory:  # pytest's own can be entered by nobody else
        look_as_another_user(Path(directory))


def look_as_another_user(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    catalog = make_catalog(1)
    store = open_store(tmp_path)
    store.publish(catalog, pin_of(catalog), None)
    pass_time(tmp_path, LEASE_S + 2 * GRACE_S)
    program = (
        "import os, sys, pathlib\n"
        "from tests.pin_store.stores import *\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "store = open_store(pathlib.Path(sys.argv[1]), B)\n"
        "catalog = make_catalog(1)\n"
        "print(store.collect().skipped, is_whole(store, catalog))\n"
        "store.publish(catalog, pin_of(catalog, 'theirs'), None)\n"
        "print(is_whole(store, catalog))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.stdout.split() == ["2", "False", "True"], ended.stderr
    assert is_whole(store, catalog)


def test_leases_are_by_the_clock_of_the_store_and_never_by_that_of_a_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = make_catalog(1)
    for name in ("time", "time_ns", "monotonic", "clock_gettime", "clock_gettime_ns"):
        monkeypatch.setattr(time, name, None)  # whoever asks it fails
    one, other = open_store(tmp_path), open_store(tmp_path, B)
    one.publish(catalog, pin_of(catalog), None)
    found = other.find(catalog.fingerprint)
    assert found is not None
    assert 0 < found.ends_in_s <= LEASE_S
    assert one.renew(pin_of(catalog, lease_s=500))
    assert (other.ends_in_s(catalog.fingerprint) or 0) > 400
    other.collect()
    one.end(pin_of(catalog))
    assert (other.ends_in_s(catalog.fingerprint) or 0) <= 0
