"""V10: a sealed run of which anything is missing or changed is broken until it is as it was sealed."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from readyfs.errors import BrokenRunError, NotADirectoryNodeError
from readyfs.raw.store import EntryKind
from readyfs.vfs.attributes import Entry
from readyfs.vfs.damage import CAUSES_KEPT, SEALED_DIRECTORY, Damage, Failure, Sealed
from readyfs.vfs.inode_number import InodeNumber, NodeKind
from readyfs.vfs.run_view import BrokenView, RunView
from tests.catalog.rows import JUNE_1, Row
from tests.vfs.place import DAY_1, METADATA, PAYLOAD, Place, kinds, named

ROW = Row()
RUN = ROW.partition
DAY = (b"c", b"q", DAY_1)
REQUIRED_SHOWN = {PAYLOAD: "broken-file", METADATA: "broken-file"}


def serve_and_read(place: Place) -> Path:
    """Serve a run with a file and a directory beside the required ones, and have all of it sealed."""
    directory = place.serve(ROW, b"payload", extra=b"extra", parts__0=b"part 0", parts__deep__1=b"part 1")
    for name in ((b"extra",), (b"parts", b"0"), (b"parts", b"deep", b"1"), (PAYLOAD,)):
        place.read(*DAY, *name)
    return directory


def fails(place: Place, *names: bytes) -> None:
    """Open a file by its path: its name must be there, and the open an error."""
    inode = place.inode(*DAY, *names)
    with pytest.raises(BrokenRunError):
        place.fs.open_file(inode)


def shown(place: Place, inode: InodeNumber) -> dict[bytes, str]:
    """Return the kinds of what a directory lists."""
    return kinds([listed for listed in place.listed(inode) if listed.counted])


# ---- what vanished ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["extra", "parts/0", "parts/deep/1", "payload.jsonl"])
def test_file_that_vanished_from_a_sealed_run_stays_and_fails_at_open_until_it_is_back(place: Place, name: str) -> None:
    """V10: not even one that need not be there is turned into absence."""
    directory = serve_and_read(place)
    names = tuple(os.fsencode(name).split(b"/"))
    (directory / name).rename(place.base / "away")
    for _ in range(3):
        fails(place, *names)
        assert place.fs.broken_by_kind().total() == 1
        above = place.inode(*DAY, *names[:-1])
        assert names[-1] in shown(place, above)
    (place.base / "away").rename(directory / name)
    assert place.read(*DAY, *names)
    assert place.fs.broken_by_kind().total() == 0


def test_run_without_one_of_its_files_lists_all_that_it_was_sealed_with(place: Place) -> None:
    """V10: as broken nodes, each of the kind that it was, without any cache time."""
    directory = serve_and_read(place)
    day, extra = place.day(), place.inode(*DAY, b"extra")
    (directory / "extra").unlink()
    with pytest.raises(BrokenRunError):
        place.fs.open_file(extra)
    assert shown(place, day) == {**REQUIRED_SHOWN, b"extra": "broken-file", b"parts": "broken-directory"}
    parts = place.entry(*DAY, b"parts")
    assert (parts.entry_timeout_s, parts.attr_timeout_s) == (0.0, 0.0)
    assert shown(place, parts.node.inode) == {b"0": "broken-file", b"deep": "broken-directory"}
    assert shown(place, place.inode(b"deep", start=parts.node.inode)) == {b"1": "broken-file"}
    fails(place, b"parts", b"deep", b"1")
    with pytest.raises(BrokenRunError):
        place.find(*DAY, b"parts", b"other")
    assert place.fs.getxattr(parts.node.inode, b"user.readyfs.run_id") == b"r1"


@pytest.mark.parametrize("how", ["gone", "a file now", "a link now"])
def test_directory_that_vanished_from_a_sealed_run_is_neither_absent_nor_empty(place: Place, how: str) -> None:
    """V10: it lists what it was sealed with, and that fails at open."""
    directory = serve_and_read(place)
    held = place.inode(*DAY, b"parts", b"0")
    (directory / "parts").rename(place.base / "away")
    if how == "a file now":
        (directory / "parts").write_bytes(b"")
    elif how == "a link now":
        (directory / "parts").symlink_to(place.base / "away")
    with pytest.raises(BrokenRunError):
        place.fs.open_file(held)
    for _ in range(2):
        assert shown(place, place.day())[b"parts"] == "broken-directory"
        assert shown(place, place.inode(*DAY, b"parts")) == {b"0": "broken-file", b"deep": "broken-directory"}
        fails(place, b"parts", b"0")
    if how != "gone":
        (directory / "parts").unlink()
    (place.base / "away").rename(directory / "parts")
    assert place.read(*DAY, b"parts", b"0") == b"part 0"


def test_directory_that_is_held_lists_what_it_was_sealed_with(place: Place) -> None:
    """V10: also for who stands in it, by the inode of the healthy one."""
    directory = serve_and_read(place)
    held = place.inode(*DAY, b"parts")
    (directory / "parts/0").unlink()
    with pytest.raises(BrokenRunError):
        place.fs.open_file(place.inode(b"0", start=held))
    assert shown(place, held) == {b"0": "broken-file", b"deep": "broken-directory"}
    entry = place.entry(b"0", start=held)
    assert entry.node.kind is NodeKind.BROKEN_FILE
    (directory / "parts/0").write_bytes(b"PART 0")
    assert shown(place, held) == {b"0": "raw-file", b"deep": "raw-directory"}


def test_directory_of_which_nothing_is_known_is_an_error_and_not_empty(place: Place) -> None:
    directory = place.serve(ROW, sub__f=b"1")
    sub = place.inode(*DAY, b"sub")
    shutil.rmtree(directory / "sub")
    for _ in range(2):
        with pytest.raises(BrokenRunError):
            place.listed(sub)
        with pytest.raises(BrokenRunError):
            place.listed(place.inode(*DAY, b"sub"))
    assert place.fs.broken_by_kind().total() == 1
    place.write(ROW, sub__f=b"1")
    assert place.names(sub) == [b"f"]


def test_directory_that_cannot_be_listed_keeps_its_run_broken(place: Place) -> None:
    """V10: no line for each try."""
    place.serve(ROW, sub__f=b"1")
    sub = place.inode(*DAY, b"sub")
    real = place.store.list_directory

    def refuse(partition: object, relpath: tuple[bytes, ...] = (), readable: object = ()) -> object:
        if relpath:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(RUN)

    place.store.list_directory = refuse  # type: ignore[method-assign, assignment]
    with capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(BrokenRunError):
                place.listed(sub)
            place.entry(*DAY, PAYLOAD)
    assert [line["event"] for line in logs] == ["run is broken"]
    place.store.list_directory = real  # type: ignore[method-assign]
    assert place.names(sub) == [b"f"]
    assert place.fs.broken_by_kind().total() == 0


def test_parent_of_a_broken_node_is_the_directory_that_lists_it(place: Place) -> None:
    directory = serve_and_read(place)
    (directory / "extra").unlink()
    place.runs.report_damage(RUN, named("gone"))
    day = place.day()
    parts = place.inode(b"parts", start=day)
    deep = place.inode(b"deep", start=parts)
    for inode, parent in ((parts, day), (deep, parts)):
        dots = {one.name: one.entry.attributes.inode for one in place.listed(inode) if not one.counted}
        assert dots == {b".": inode, b"..": parent}


def test_broken_file_is_no_directory(place: Place) -> None:
    directory = serve_and_read(place)
    (directory / "extra").unlink()
    place.runs.report_damage(RUN, named("gone"))
    extra = place.inode(*DAY, b"extra")
    with pytest.raises(NotADirectoryNodeError):
        place.fs.read_directory(extra, 0, may_block=True)
    with pytest.raises(NotADirectoryNodeError):
        place.find(b"x", start=extra)


def test_name_that_was_added_to_a_damaged_run_does_not_keep_it_broken(place: Place) -> None:
    """Only what is lost or changed can mislead a reader; a restore may leave something behind."""
    directory = serve_and_read(place)
    (directory / "payload.jsonl").rename(directory / "left behind")
    fails(place, PAYLOAD)
    (directory / "payload.jsonl").write_bytes(b"PAYLOAD")
    assert place.read(*DAY, PAYLOAD) == b"PAYLOAD"


# ---- what changed or cannot be read ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["extra", "parts/0", "payload.jsonl"])
def test_unreadable_file_keeps_its_run_broken_with_one_line(place: Place, name: str) -> None:
    """V10: it neither heals nor breaks anew at each open, and the kernel is told once."""
    serve_and_read(place)
    names = tuple(os.fsencode(name).split(b"/"))
    held = place.inode(*DAY, *names)
    real = place.store.open_file

    def refuse(partition: object, relpath: tuple[bytes, ...]) -> object:
        if relpath == names:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(RUN, relpath)

    place.store.open_file = refuse  # type: ignore[method-assign, assignment]
    with capture_logs() as logs:
        for _ in range(5):
            with pytest.raises(BrokenRunError):
                place.fs.open_file(held)
            fails(place, *names)
            assert place.fs.broken_by_kind().total() == 1
    assert [line["event"] for line in logs] == ["run is broken"]
    assert logs[0]["cause"] == f"{name}: Permission denied"
    assert len(place.damage) == len(names[:2])
    place.store.open_file = real  # type: ignore[method-assign]
    assert place.read(*DAY, *names)


def test_file_with_an_unreadable_place_keeps_its_run_broken(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """V10: a bad block is tried again where it is, before the run counts as whole."""
    place.serve(ROW, b"x" * 1000)
    handle = place.open(*DAY, PAYLOAD)
    real = os.pread

    def bad_block(descriptor: int, size: int, offset: int) -> bytes:
        if offset <= 500 < offset + size or offset == 500:
            raise OSError(errno.EIO, "Input/output error")
        return real(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", bad_block)
    with capture_logs() as logs:
        for _ in range(3):
            assert place.fs.read(handle, 0, 500)
            with pytest.raises(BrokenRunError):
                place.fs.read(handle, 500, 500)
            fails(place, PAYLOAD)
    assert [line["event"] for line in logs] == ["run is broken"]
    monkeypatch.setattr(os, "pread", real)
    assert len(place.read(*DAY, PAYLOAD)) == 1000


def test_reads_behind_a_cut_are_one_cause_and_tell_the_kernel_once(place: Place) -> None:
    """V10: the true size, whatever was asked for; a client fills neither log nor memory with one damaged file."""
    directory = place.serve(ROW, b"x" * 100_000)
    handles = [place.open(*DAY, PAYLOAD) for _ in range(3)]
    os.truncate(directory / "payload.jsonl", 4096)
    with capture_logs() as logs:
        for offset in range(0, 100_000, 100):
            for handle in handles:
                if offset + 100 > 4096:
                    with pytest.raises(BrokenRunError):
                        place.fs.read(handle, offset, 100)
        fails(place, PAYLOAD)
    assert [line["cause"] for line in logs] == ["payload.jsonl has 4096 bytes and was sealed with 100000"]
    assert len(place.damage) == 1


def test_read_that_ends_early_in_a_whole_file_is_an_error_too(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.serve(ROW, b"x" * 100)
    handle = place.open(*DAY, PAYLOAD)
    monkeypatch.setattr(os, "pread", lambda descriptor, size, offset: b"")
    with pytest.raises(BrokenRunError, match=r"payload\.jsonl: a read ended early"):
        place.fs.read(handle, 0, 100)


def test_handle_on_a_file_that_was_replaced_does_not_break_the_restored_run_again(place: Place) -> None:
    """V5, V10: the handle stays on the bad file for ever, and everybody else has the good one."""
    directory = place.serve(ROW, b"1234")
    handle = place.open(*DAY, PAYLOAD)
    stat = (directory / "payload.jsonl").stat()
    os.truncate(directory / "payload.jsonl", 1)
    with pytest.raises(BrokenRunError):
        place.fs.read(handle, 0, 4)
    (directory / "new").write_bytes(b"1234")
    os.utime(directory / "new", ns=(stat.st_mtime_ns, stat.st_mtime_ns))
    (directory / "new").rename(directory / "payload.jsonl")
    assert place.read(*DAY, PAYLOAD) == b"1234"
    with capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(BrokenRunError):
                place.fs.read(handle, 0, 4)
            assert place.read(*DAY, PAYLOAD) == b"1234"
    assert not logs
    assert place.fs.broken_by_kind().total() == 0


def test_node_of_a_file_that_was_touched_does_not_break_the_run_again(place: Place) -> None:
    """V10: damage once; then the run is sealed with the new time, and only the old node goes on failing."""
    directory = place.serve(ROW, b"1234")
    old = place.inode(*DAY, PAYLOAD)
    os.utime(directory / "payload.jsonl", ns=(1, 1))
    with pytest.raises(BrokenRunError, match="was modified after it was sealed"):
        place.fs.open_file(old)
    assert place.read(*DAY, PAYLOAD) == b"1234"
    place.damage.clear()
    with capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(BrokenRunError):
                place.fs.open_file(old)
            assert place.read(*DAY, PAYLOAD) == b"1234"
    assert not logs
    assert [damage.names for damage in place.damage] == [(PAYLOAD,)] * 3  # the kernel may still have it by this name


def test_read_of_a_file_that_a_later_look_found_the_same_is_damage(place: Place) -> None:
    """V10: whoever had it open before the row was touched reads what the run is sealed with now."""
    directory = place.serve(ROW, b"1234")
    handle = place.fs.open_file(place.inode(*DAY, PAYLOAD)).handle
    place.publish(Row(updated_at_ns=7_000))
    place.inode(*DAY, PAYLOAD)
    os.truncate(directory / "payload.jsonl", 1)
    with pytest.raises(BrokenRunError, match="has 1 bytes and was sealed with 4"):
        place.fs.read(handle, 0, 4)
    assert place.fs.broken_by_kind().total() == 1


def test_damage_that_comes_back_after_healing_is_told_again(place: Place) -> None:
    directory = serve_and_read(place)
    for _ in range(2):
        (directory / "extra").rename(place.base / "away")
        with capture_logs() as logs:
            fails(place, b"extra")
        assert [line["event"] for line in logs] == ["run is broken"]
        assert len(place.damage) == 1
        assert {b"extra", b"parts", PAYLOAD, METADATA} == set(place.damage.pop().names)
        (place.base / "away").rename(directory / "extra")
        assert place.read(*DAY, b"extra") == b"extra"


def test_damage_reported_while_a_run_is_looked_at_is_not_overlooked(place: Place) -> None:
    """V10: what was read before the report says nothing about it."""
    directory = serve_and_read(place)
    place.runs.report_damage(RUN, named("one"))
    reported: list[str] = []

    def damage_now(operation: str) -> None:
        if operation == "open" and not reported:
            reported.append(operation)
            (directory / "extra").unlink()
            place.runs.report_damage(RUN, named("other"), Failure((b"extra",), Sealed(EntryKind.FILE, 5)))

    place.store.before = damage_now
    view = place.runs.view(RUN, may_block=True)
    assert isinstance(view, BrokenView)
    assert view.cause == "other"
    assert isinstance(place.runs.view(RUN, may_block=True), BrokenView)


# ---- what is remembered -------------------------------------------------------------------------------------------


def test_truncated_file_is_damage_although_its_sealed_run_was_evicted(tmp_path: Path) -> None:
    """V10: the size that the kernel was told is the size that counts."""
    place = Place(tmp_path / "raw", sealed_bytes=1)
    other = Row(date=JUNE_1 + 1)
    directory = place.write(ROW, b"0123456789", extra=b"12")
    place.write(other)
    place.publish(ROW, other)
    extra = place.inode(*DAY, b"extra")
    place.runs.view(other.partition, may_block=True)  # pushes the first out
    os.truncate(directory / "extra", 1)
    with pytest.raises(BrokenRunError):
        place.fs.open_file(extra)
    for _ in range(2):
        fails(place, b"extra")
    (directory / "extra").write_bytes(b"21")
    assert place.read(*DAY, b"extra") == b"21"


def test_healed_run_is_held_to_the_same_names_and_sizes(place: Place) -> None:
    directory = serve_and_read(place)
    place.runs.report_damage(RUN, named("gone"))
    assert isinstance(place.runs.view(RUN, may_block=True), RunView)
    place.runs.report_damage(RUN, named("gone again"))
    os.truncate(directory / "parts/0", 4)
    view = place.runs.view(RUN, may_block=True)
    assert isinstance(view, BrokenView)
    assert view.cause == "parts/0 has 4 bytes and was sealed with 6"


def test_directory_of_a_healed_run_is_held_to_the_same_names(tmp_path: Path) -> None:
    """V10: also when its listing was pushed out of the cache meanwhile."""
    place = Place(tmp_path / "raw", sealed_bytes=6000)
    directory = place.serve(ROW, parts__0=b"part 0", parts__1=b"part 1")
    parts = place.inode(*DAY, b"parts")
    assert place.names(parts) == [b"0", b"1"]
    place.runs.report_damage(RUN, named("gone"))
    assert isinstance(place.runs.view(RUN, may_block=True), RunView)
    (directory / "parts/0").unlink()
    for _ in range(2):
        assert shown(place, parts) == {b"0": "broken-file", b"1": "broken-file"}
        assert place.fs.broken_by_kind().total() == 1


def test_run_that_is_no_longer_current_is_forgotten(place: Place) -> None:
    directory = serve_and_read(place)
    (directory / "extra").unlink()
    fails(place, b"extra")
    place.publish()
    place.publish(ROW)
    assert place.names(place.day()) == [METADATA, b"parts", PAYLOAD]


def test_directory_that_leads_to_what_failed_is_remembered_with_it(place: Place) -> None:
    damage = Damage()
    assert damage.suspect(Failure((b"a", b"b", b"f"), Sealed(EntryKind.FILE, 3)))
    assert damage.sealed == {
        (): {b"a": SEALED_DIRECTORY},
        (b"a",): {b"b": SEALED_DIRECTORY},
        (b"a", b"b"): {b"f": Sealed(EntryKind.FILE, 3)},
    }
    assert not damage.suspect(Failure((b"a", b"b", b"f"), Sealed(EntryKind.FILE, 4), 10))
    assert damage.sealed[b"a", b"b"] == {b"f": Sealed(EntryKind.FILE, 3)}


def test_causes_of_one_run_are_limited(place: Place) -> None:
    with capture_logs() as logs:
        for number in range(CAUSES_KEPT + 50):
            place.runs.report_damage(RUN, named(f"cause {number}"))
    assert [line["cause"] for line in logs] == [f"cause {number}" for number in range(CAUSES_KEPT)]


def test_run_that_was_never_damaged_is_not_remembered(place: Place) -> None:
    serve_and_read(place)
    assert isinstance(place.entry(*DAY, b"extra"), Entry)
    assert not place.runs._damage
