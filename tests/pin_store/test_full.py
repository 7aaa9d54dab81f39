"""A disk that is full at any step fails a pin with one line, and nothing half-made is left."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from readyfs.errors import PinStoreAwayError
from readyfs.privileges import Capability, has_capability
from tests.catalog.rows import JUNE_1, Row, build
from tests.pin_store.stores import LEASE_S, B, entries, is_whole, make_catalog, open_store, pass_time, pin_of

PAGE: Final = 4096
KEPT: Final = make_catalog(1)
LARGE: Final = build(
    [Row(date=JUNE_1 + index, run=random.Random(index).randbytes(12).hex().encode()) for index in range(3000)], None
)
"""Of several pages, whatever they are compressed with."""


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """Mount a small file system, in memory."""
    if not has_capability(Capability.SYS_ADMIN):
        pytest.skip("needs CAP_SYS_ADMIN, to mount a small file system")
    path = tmp_path / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=200", "tmpfs", path], check=True, timeout=20)
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True, timeout=20)


@contextmanager
def room_for(path: Path, pages: int) -> Iterator[None]:
    """Leave so many pages, as others do who write the same disk."""
    filler = path / ".filler"
    filler.write_bytes(bytes((_free_pages(path) - pages) * PAGE))
    assert _free_pages(path) == pages
    try:
        yield
    finally:
        filler.unlink()


def _free_pages(path: Path) -> int:
    found = os.statvfs(path)
    return found.f_bfree * found.f_frsize // PAGE


def test_disk_that_is_full_at_any_step_fails_the_pin_and_leaves_nothing_half_made(small: Path) -> None:
    store = open_store(small)
    store.publish(KEPT, pin_of(KEPT, "kept", 1e6), None)
    failed = made = 0
    for pages in range(60):
        writer = open_store(small, B)
        with room_for(small, pages):
            try:
                writer.publish(LARGE, pin_of(LARGE, "large"), None)
            except PinStoreAwayError as error:
                failed += 1
                assert error.message.endswith("is full: No space left on device")
                assert error.remedy == "make room there"
                assert store.find(LARGE.fingerprint) is None
                assert store.resolve("large") is None
                assert entries(small, "tmp") == []
            else:
                made += 1
                assert is_whole(store, LARGE)
                break
            assert is_whole(store, KEPT)
    assert failed > 10
    assert made == 1


def test_disk_without_inodes_at_any_step_fails_the_pin_and_leaves_nothing_half_made(small: Path) -> None:
    store = open_store(small)
    store.publish(KEPT, pin_of(KEPT, "kept", 1e6), None)
    fillers: list[Path] = []
    with pytest.raises(OSError, match="No space left"):
        while True:
            filler = small / f".filler-{len(fillers)}"
            filler.touch()
            fillers.append(filler)
    writer = None
    failed = 0
    while fillers:
        try:
            writer = writer or open_store(small, B)
            writer.publish(LARGE, pin_of(LARGE, "large"), None)
        except PinStoreAwayError as error:
            failed += 1
            assert "is full" in error.message
            assert store.find(LARGE.fingerprint) is None
            assert entries(small, "tmp") == []
        else:
            break
        assert is_whole(store, KEPT)
        fillers.pop().unlink()
    assert failed > 4
    assert is_whole(store, LARGE)


def test_lease_that_cannot_be_written_anew_stays_what_it_was(small: Path) -> None:
    store = open_store(small)
    store.publish(KEPT, pin_of(KEPT), None)
    pass_time(small, LEASE_S / 2)
    with room_for(small, 0):
        with pytest.raises(PinStoreAwayError, match="is full"):
            store.renew(pin_of(KEPT, lease_s=500))
        assert 0 < (store.ends_in_s(KEPT.fingerprint) or 0) <= LEASE_S / 2
        assert is_whole(store, KEPT)
    assert store.renew(pin_of(KEPT, lease_s=500))
    assert (store.ends_in_s(KEPT.fingerprint) or 0) > 400


def test_disk_that_is_full_is_not_usable_again_before_there_is_room(small: Path) -> None:
    """Else a mount says by turns that its store is full and that it is not."""
    store = open_store(small)
    with room_for(small, 0), pytest.raises(PinStoreAwayError, match="is full"):
        store.check()
    store.check()
