"""Each damage is counted as the kind that people on call read, whoever finds it and however its message is worded."""

from __future__ import annotations

import errno
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from readyfs.errors import BrokenRunError
from readyfs.vfs.damage_cause import DamageKind
from tests.catalog.rows import Row
from tests.vfs.place import DAY_1, PAYLOAD, Place

ROW = Row()
DAY = (b"c", b"q", DAY_1)


def counted(place: Place) -> dict[DamageKind, int]:
    """Return how many partitions the status and the metrics count, by kind."""
    return dict(place.fs.broken_by_kind())


def look(place: Place) -> None:
    """Look at the run, which must be broken."""
    place.fs.read_directory(place.day(), 0, may_block=True)


def fail_to_open(place: Place, *names: bytes) -> None:
    """Open a file of the run, which must fail."""
    inode = place.inode(*DAY, *names)
    with pytest.raises(BrokenRunError):
        place.fs.open_file(inode)


def fail_raw_store(place: Place, operation: str, failure: OSError) -> None:
    """Have one operation of the raw store fail from now on."""

    def fail(asked: str) -> None:
        if asked == operation:
            raise failure

    place.store.before = fail


# ---- found when a run is looked at --------------------------------------------------------------------------------


def without_directory(directory: Path) -> None:
    shutil.rmtree(directory)


def without_payload(directory: Path) -> None:
    (directory / "payload.jsonl").unlink()


def payload_is_a_directory(directory: Path) -> None:
    (directory / "payload.jsonl").unlink()
    (directory / "payload.jsonl").mkdir()


def directory_is_a_file(directory: Path) -> None:
    shutil.rmtree(directory)
    directory.write_bytes(b"")


def directory_is_a_link(directory: Path) -> None:
    directory.rename(directory.with_name("elsewhere"))
    directory.symlink_to("elsewhere")


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        (without_directory, DamageKind.MISSING),
        (without_payload, DamageKind.MISSING),
        (payload_is_a_directory, DamageKind.MISSING),
        (directory_is_a_file, DamageKind.UNREADABLE),
        (directory_is_a_link, DamageKind.UNREADABLE),
    ],
)
def test_run_that_was_never_whole_is_counted_by_what_it_lacks(
    place: Place, damage: Callable[[Path], None], kind: DamageKind
) -> None:
    damage(place.serve(ROW))
    look(place)
    assert counted(place) == {kind: 1}


ERRNOS = [
    (errno.ENOENT, DamageKind.MISSING),
    (errno.ENOTDIR, DamageKind.MISSING),
    (errno.EACCES, DamageKind.DENIED),
    (errno.EPERM, DamageKind.DENIED),
    (errno.EIO, DamageKind.UNREADABLE),
    (errno.ESTALE, DamageKind.UNREADABLE),
    (errno.ETIMEDOUT, DamageKind.UNREADABLE),
    (errno.ELOOP, DamageKind.UNREADABLE),
]


@pytest.mark.parametrize(("number", "kind"), ERRNOS)
@pytest.mark.parametrize("operation", ["list", "open"])
def test_raw_store_that_fails_a_look_is_counted_by_its_errno(
    place: Place, operation: str, number: int, kind: DamageKind
) -> None:
    """Of the directory, and of a required file in it."""
    place.serve(ROW)
    fail_raw_store(place, operation, OSError(number, os.strerror(number)))
    look(place)
    assert counted(place) == {kind: 1}


def test_error_without_an_errno_is_unreadable(place: Place) -> None:
    place.serve(ROW)
    fail_raw_store(place, "list", OSError("no more is known"))
    look(place)
    assert counted(place) == {DamageKind.UNREADABLE: 1}


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_directory_below_a_run_is_counted_by_its_errno(place: Place, number: int) -> None:
    place.serve(ROW, parts__0=b"part 0")
    parts = place.inode(*DAY, b"parts")
    fail_raw_store(place, "list", OSError(number, os.strerror(number)))
    with pytest.raises(BrokenRunError):
        place.listed(parts)
    assert counted(place) == {DamageKind.DENIED if number == errno.EACCES else DamageKind.UNREADABLE: 1}


# ---- found when a file of a sealed run is opened or read ----------------------------------------------------------


@pytest.mark.parametrize(("number", "kind"), ERRNOS)
def test_file_that_cannot_be_opened_is_counted_by_its_errno(place: Place, number: int, kind: DamageKind) -> None:
    place.serve(ROW)
    inode = place.inode(*DAY, PAYLOAD)
    fail_raw_store(place, "open", OSError(number, os.strerror(number)))
    with pytest.raises(BrokenRunError):
        place.fs.open_file(inode)
    assert counted(place) == {kind: 1}


def test_file_in_a_directory_that_is_a_file_by_now_is_missing(place: Place) -> None:
    directory = place.serve(ROW, parts__0=b"part 0")
    inode = place.inode(*DAY, b"parts", b"0")
    shutil.rmtree(directory / "parts")
    (directory / "parts").write_bytes(b"")
    with pytest.raises(BrokenRunError):
        place.fs.open_file(inode)
    assert counted(place) == {DamageKind.MISSING: 1}


def test_file_of_another_size_is_counted_so_at_open_and_at_each_later_look(place: Place) -> None:
    directory = place.serve(ROW, b"1234")
    inode = place.inode(*DAY, PAYLOAD)
    os.truncate(directory / "payload.jsonl", 2)
    with pytest.raises(BrokenRunError):
        place.fs.open_file(inode)
    assert counted(place) == {DamageKind.SIZE: 1}
    look(place)
    assert counted(place) == {DamageKind.SIZE: 1}


def test_file_that_is_cut_while_it_is_open_is_counted_by_its_size(place: Place) -> None:
    directory = place.serve(ROW, b"1234")
    handle = place.open(*DAY, PAYLOAD)
    os.truncate(directory / "payload.jsonl", 2)
    with pytest.raises(BrokenRunError):
        place.fs.read(handle, 0, 4)
    assert counted(place) == {DamageKind.SIZE: 1}


def test_read_that_ends_early_in_a_whole_file_is_counted_as_of_another_size(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.serve(ROW, b"1234")
    handle = place.open(*DAY, PAYLOAD)
    monkeypatch.setattr(os, "pread", lambda descriptor, size, offset: b"")
    with pytest.raises(BrokenRunError):
        place.fs.read(handle, 0, 4)
    assert counted(place) == {DamageKind.SIZE: 1}


@pytest.mark.parametrize(("number", "kind"), ERRNOS)
def test_read_that_fails_is_counted_by_its_errno(
    place: Place, monkeypatch: pytest.MonkeyPatch, number: int, kind: DamageKind
) -> None:
    place.serve(ROW, b"1234")
    handle = place.open(*DAY, PAYLOAD)

    def fail(descriptor: int, size: int, offset: int) -> bytes:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(BrokenRunError):
        place.fs.read(handle, 0, 4)
    assert counted(place) == {kind: 1}


def test_file_that_was_touched_is_counted_as_modified(place: Place) -> None:
    directory = place.serve(ROW, b"1234")
    inode = place.inode(*DAY, PAYLOAD)
    os.utime(directory / "payload.jsonl", ns=(1, 1))
    with pytest.raises(BrokenRunError):
        place.fs.open_file(inode)
    assert counted(place) == {DamageKind.MODIFIED: 1}


# ---- what becomes of it -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["extra", "parts"])
def test_what_is_remembered_and_gone_is_missing(place: Place, lost: str) -> None:
    """A file that need not be there, and a directory; found by a later look, not by who reported the damage."""
    directory = place.serve(ROW, extra=b"extra", parts__0=b"part 0")
    assert place.read(*DAY, b"parts", b"0")
    held = place.inode(*DAY, PAYLOAD)
    os.utime(directory / "payload.jsonl", ns=(1, 1))
    (directory / lost).rename(place.base / "away")
    with pytest.raises(BrokenRunError):
        place.fs.open_file(held)
    assert counted(place) == {DamageKind.MODIFIED: 1}
    look(place)
    assert counted(place) == {DamageKind.MISSING: 1}


def test_what_was_found_last_counts_and_a_run_counts_once(place: Place) -> None:
    directory = place.serve(ROW, b"1234")
    inode = place.inode(*DAY, PAYLOAD)
    os.truncate(directory / "payload.jsonl", 2)
    with pytest.raises(BrokenRunError):
        place.fs.open_file(inode)
    (directory / "payload.jsonl").unlink()
    fail_to_open(place, PAYLOAD)
    assert counted(place) == {DamageKind.MISSING: 1}
    (directory / "payload.jsonl").write_bytes(b"4321")
    assert place.read(*DAY, PAYLOAD) == b"4321"
    assert place.fs.broken_by_kind() == Counter()
