from __future__ import annotations

import errno
import math
import os
import shutil
import threading
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from readyfs.errors import TooManyHandlesError, UsageError, WouldBlockError
from readyfs.partition import Partition
from readyfs.raw.store import EntryKind
from readyfs.vfs.damage import Failure, Sealed
from readyfs.vfs.file_filter import FileFilter
from readyfs.vfs.relpath import RelPath
from readyfs.vfs.run_view import BrokenView, RunView
from readyfs.vfs.runs import Runs
from tests.catalog.rows import JUNE_1, Row
from tests.vfs.place import METADATA, PAYLOAD, REQUIRED, Place, named

ROW = Row()
RUN = ROW.partition


def seal(place: Place, partition: Partition = RUN, below: RelPath = ()) -> RunView:
    view = place.runs.view(partition, below, may_block=True)
    assert isinstance(view, RunView)
    return view


def broken(place: Place, below: RelPath = ()) -> BrokenView:
    view = place.runs.view(RUN, below, may_block=True)
    assert isinstance(view, BrokenView)
    return view


def breakage(place: Place) -> str:
    return broken(place).cause


# ---- sealed -------------------------------------------------------------------------------------------------------


def test_whole_run_is_sealed_with_its_entries_sorted(place: Place) -> None:
    place.write(ROW, b"abc", x_bin=b"1", sub__y=b"2")
    view = seal(place)
    assert list(view.entries) == [METADATA, PAYLOAD, b"sub", b"x.bin"]
    assert view.entries[PAYLOAD].stat.size == 3


def test_sealed_run_is_answered_without_the_raw_store(place: Place) -> None:
    place.write(ROW)
    view = seal(place)
    place.store.calls.clear()
    assert place.runs.view(RUN, may_block=False) is view
    assert not place.store.calls


def test_unknown_run_needs_the_raw_store(place: Place) -> None:
    place.write(ROW)
    with pytest.raises(WouldBlockError):
        place.runs.view(RUN, may_block=False)
    with pytest.raises(WouldBlockError):
        place.runs.view(RUN, (b"sub",), may_block=False)
    assert not place.store.calls


def test_broken_run_is_asked_for_again_every_time(place: Place) -> None:
    """V10: no cache time, so that it heals by itself."""
    breakage(place)
    with pytest.raises(WouldBlockError):
        place.runs.view(RUN, may_block=False)


def test_sealed_runs_of_one_partition_are_kept_apart(place: Place) -> None:
    """V2: one run only."""
    place.write(ROW, b"old")
    place.write(Row(run=b"r2"), b"newer", extra=b"")
    assert list(seal(place).entries) == [METADATA, PAYLOAD]
    assert list(seal(place, Row(run=b"r2").partition).entries) == [b"extra", METADATA, PAYLOAD]


def test_least_recently_used_runs_are_dropped(tmp_path: Path) -> None:
    place = Place(tmp_path / "raw", sealed_bytes=4000)
    rows = [Row(date=JUNE_1 + day) for day in range(3)]
    for row in rows:
        place.write(row)
    seal(place, rows[0].partition)
    seal(place, rows[1].partition)
    seal(place, rows[0].partition)
    seal(place, rows[2].partition)
    assert isinstance(place.runs.view(rows[0].partition, may_block=False), RunView)
    assert isinstance(place.runs.view(rows[2].partition, may_block=False), RunView)
    with pytest.raises(WouldBlockError):
        place.runs.view(rows[1].partition, may_block=False)
    seal(place, rows[1].partition)


def test_subdirectory_of_a_sealed_run_is_listed_once(place: Place) -> None:
    place.write(ROW, sub__b=b"1", sub__a=b"22", sub__deep__c=b"")
    view = seal(place, below=(b"sub",))
    assert list(view.entries) == [b"a", b"b", b"deep"]
    place.store.calls.clear()
    assert place.runs.view(RUN, (b"sub",), may_block=False) is view
    assert list(seal(place, below=(b"sub", b"deep")).entries) == [b"c"]
    assert place.store.calls == {"list": 1}


def test_subdirectory_that_cannot_be_read_is_damage(place: Place) -> None:
    """V10: not an empty directory."""
    place.write(ROW)
    view = place.runs.view(RUN, (b"sub",), may_block=True)
    assert isinstance(view, BrokenView)
    assert view.names == {}
    assert "sub: No such file" in view.cause
    assert place.runs.damaged() == [(RUN.key, RUN.run_id)]
    assert b"sub" in broken(place).names


# ---- broken -------------------------------------------------------------------------------------------------------


def break_run(directory: Path, how: str) -> None:
    payload = directory / "payload.jsonl"
    match how:
        case "no directory":
            shutil.rmtree(directory)
        case "a file instead of the directory":
            shutil.rmtree(directory)
            directory.write_bytes(b"")
        case "no payload":
            payload.unlink()
        case "no metadata":
            (directory / "metadata.json").unlink()
        case "payload is a directory":
            payload.unlink()
            payload.mkdir()
        case "payload is a symbolic link":
            payload.rename(directory / "elsewhere")
            payload.symlink_to("elsewhere")
        case "payload is a fifo":
            payload.unlink()
            os.mkfifo(payload)
        case _:
            raise AssertionError(how)


@pytest.mark.parametrize(
    ("how", "named"),
    [
        ("no directory", "run directory"),
        ("a file instead of the directory", "run directory"),
        ("no payload", "payload.jsonl"),
        ("no metadata", "metadata.json"),
        ("payload is a directory", "payload.jsonl"),
        ("payload is a symbolic link", "payload.jsonl"),
        ("payload is a fifo", "payload.jsonl"),
    ],
)
def test_run_that_cannot_be_served_is_broken_and_says_why_once(place: Place, how: str, named: str) -> None:
    """V10: the required files stay listed; one log line with partition, run and cause."""
    break_run(place.write(ROW), how)
    with capture_logs() as logs:
        for _ in range(3):
            view = place.runs.view(RUN, may_block=True)
            assert isinstance(view, BrokenView)
            assert list(view.names) == sorted(REQUIRED)
            assert named in view.cause
    (line,) = logs
    assert line["log_level"] == "warning"
    assert (line["partition"], line["run"]) == ("s/c/q/2024-06-01", "r1")
    assert line["path"] == str(place.run_directory(ROW))
    assert named in line["cause"]
    assert place.runs.damaged() == [(RUN.key, RUN.run_id)]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
@pytest.mark.parametrize("operation", ["list", "open"])
def test_failing_raw_store_is_a_broken_run_and_no_absence(place: Place, operation: str, number: int) -> None:
    """V10: an error is never turned into absence."""
    place.write(ROW)

    def fail(asked: str) -> None:
        if asked == operation:
            raise OSError(number, os.strerror(number))

    place.store.before = fail
    assert os.strerror(number) in breakage(place)


def test_each_cause_of_a_run_is_logged_once_however_they_alternate(place: Place) -> None:
    with capture_logs() as logs:
        for cause in ("one", "other", "one", "other"):
            place.runs.report_damage(RUN, named(cause))
    assert [line["cause"] for line in logs] == ["one", "other"]


def test_run_whose_files_come_back_heals(place: Place) -> None:
    """V10: by itself, with a line in the log, and from then on it is sealed."""
    breakage(place)
    place.write(ROW)
    with capture_logs() as logs:
        seal(place)
    assert [line["event"] for line in logs] == ["run is whole again"]
    assert not place.runs.damaged()
    assert isinstance(place.runs.view(RUN, may_block=False), RunView)


def test_damage_drops_what_was_sealed_of_that_run_alone(place: Place) -> None:
    other = Row(date=JUNE_1 + 1)
    place.write(ROW, sub__f=b"")
    place.write(other)
    seal(place)
    seal(place, other.partition)
    place.runs.view(RUN, (b"sub",), may_block=True)
    place.runs.report_damage(RUN, named("gone"))
    assert isinstance(place.runs.view(other.partition, may_block=False), RunView)
    with pytest.raises(WouldBlockError):
        place.runs.view(RUN, may_block=False)
    with pytest.raises(WouldBlockError):
        place.runs.view(RUN, (b"sub",), may_block=False)


def test_nothing_of_a_run_is_sealed_while_it_is_damaged(place: Place) -> None:
    """V10: what was read then must be read anew, or it would never heal."""
    directory = place.write(ROW, sub__f=b"")
    seal(place)
    (directory / "payload.jsonl").rename(directory / "away")
    place.runs.report_damage(RUN, named("one file"))
    assert isinstance(place.runs.view(RUN, (b"sub",), may_block=True), BrokenView)
    with pytest.raises(WouldBlockError):
        place.runs.view(RUN, (b"sub",), may_block=False)
    (directory / "away").rename(directory / "payload.jsonl")
    seal(place)
    assert list(seal(place, below=(b"sub",)).entries) == [b"f"]
    assert isinstance(place.runs.view(RUN, (b"sub",), may_block=False), RunView)


def test_damage_found_in_the_moment_of_healing_is_not_forgotten(place: Place) -> None:
    """V10: whichever is first, the run is asked for again afterwards."""
    place.runs.report_damage(RUN, named("gone"))
    place.write(ROW)

    def damaged_just_now(
        logger: object, method: str, event: MutableMapping[str, Any]
    ) -> Mapping[str, Any] | str | bytes | bytearray | tuple[Any, ...]:
        if event["event"] == "run is whole again":
            place.runs.report_damage(RUN, named("gone again"))
        raise structlog.DropEvent

    before = structlog.get_config()["processors"]
    structlog.configure(processors=[damaged_just_now])
    try:
        place.runs.view(RUN, may_block=True)
    finally:
        structlog.configure(processors=before)
    assert place.runs.damaged()
    with pytest.raises(WouldBlockError):
        place.runs.view(RUN, may_block=False)
    seal(place)
    assert not place.runs.damaged()


def test_damage_of_runs_that_are_no_longer_current_is_dropped(place: Place) -> None:
    other = Row(run=b"r2").partition
    place.runs.report_damage(RUN, named("gone"))
    place.runs.report_damage(other, named("gone"))
    place.runs.drop_unless(lambda key, run_id: run_id == b"r2")
    assert place.runs.damaged() == [(other.key, other.run_id)]


def cut_and_report(place: Place, directory: Path, name: str = "payload.jsonl") -> None:
    """Shorten a file of a sealed run to one byte, as a reader of it reports."""
    relpath = tuple(os.fsencode(name).split(b"/"))
    sealed = Sealed(EntryKind.FILE, (directory / name).stat().st_size)
    (directory / name).write_bytes(b"x")
    place.runs.report_damage(RUN, named("cut"), Failure(relpath, sealed))


def test_sealed_run_with_a_cut_file_stays_broken_until_it_is_whole(place: Place) -> None:
    """V10: what was seen with more bytes is not served with fewer, as if that were all."""
    directory = place.write(ROW, b"whole")
    seal(place)
    cut_and_report(place, directory)
    assert "has 1 bytes and was sealed with 5" in breakage(place)
    place.write(ROW, b"WHOLE")
    seal(place)
    assert not place.runs.damaged()


def test_every_file_of_a_damaged_run_must_be_as_long_as_when_it_was_sealed(place: Place) -> None:
    """V10: also those of which nobody noticed yet that they were cut."""
    directory = place.write(ROW, b"whole", extra=b"12345")
    seal(place)
    (directory / "extra").write_bytes(b"1")
    place.runs.report_damage(RUN, named("something else"))
    assert "extra has 1 bytes" in breakage(place)


def test_cut_file_in_a_subdirectory_stays_broken_until_it_is_whole(place: Place) -> None:
    """V10: the run as a whole, so that its count and its log say what is true."""
    directory = place.write(ROW, sub__f=b"whole")
    seal(place)
    seal(place, below=(b"sub",))
    cut_and_report(place, directory, "sub/f")
    for below in ((), (b"sub",)):
        assert "sub/f has 1 bytes and was sealed with 5" in broken(place, below).cause
    assert place.runs.damaged()
    (directory / "sub/f").write_bytes(b"WHOLE")
    assert list(seal(place, below=(b"sub",)).entries) == [b"f"]
    assert not place.runs.damaged()


def test_run_that_was_never_sealed_may_grow_while_it_is_broken(place: Place) -> None:
    """V10: a producer that published too early; its files are not known to be whole."""
    directory = place.write(ROW, b"part")
    (directory / "metadata.json").unlink()
    breakage(place)
    place.write(ROW, b"part and rest")
    assert seal(place).entries[PAYLOAD].stat.size == 13


def test_sealed_sizes_are_forgotten_with_the_run(place: Place) -> None:
    directory = place.write(ROW, b"whole")
    seal(place)
    cut_and_report(place, directory)
    place.runs.drop_unless(lambda key, run_id: False)
    assert not place.runs.damaged()
    assert seal(place).entries[PAYLOAD].stat.size == 1


def test_sealed_sizes_of_a_healed_run_are_forgotten_with_the_run(tmp_path: Path) -> None:
    place = Place(tmp_path / "raw", sealed_bytes=1)
    cut_and_report(place, place.write(ROW, b"whole"))
    place.write(ROW, b"whole")
    seal(place)
    place.runs.drop_unless(lambda key, run_id: False)
    place.write(Row(run=b"r2"))
    seal(place, Row(run=b"r2").partition)  # takes the one place in the cache
    place.write(ROW, b"other size")
    seal(place)


def test_register_is_not_held_up_by_a_hanging_raw_store(place: Place) -> None:
    """The lock is never held during I/O: a sealed run is answered while another one hangs."""
    other = Row(date=JUNE_1 + 1)
    place.write(ROW)
    place.write(other)
    seal(place)
    hanging, release = threading.Event(), threading.Event()

    def hang(operation: str) -> None:
        hanging.set()
        assert release.wait(30)

    place.store.before = hang
    worker = threading.Thread(target=place.runs.view, args=(other.partition,), kwargs={"may_block": True})
    worker.start()
    try:
        assert hanging.wait(30)
        assert isinstance(place.runs.view(RUN, may_block=False), RunView)
        place.runs.report_damage(other.partition, named("x"))
        assert place.runs.damaged()
    finally:
        release.set()
        worker.join(30)


# ---- which files are shown ----------------------------------------------------------------------------------------


def test_hidden_files_are_not_listed_and_directories_stay(tmp_path: Path) -> None:
    place = Place(tmp_path / "raw", files=("*.jsonl",))
    place.write(ROW, sub__y=b"", sub__z_jsonl=b"")
    assert list(seal(place).entries) == [PAYLOAD, b"sub"]
    assert list(seal(place, below=(b"sub",)).entries) == [b"z.jsonl"]


def test_hidden_required_file_must_be_there_all_the_same(tmp_path: Path) -> None:
    """V10: sealed means whole; a broken run shows only what the filter shows."""
    place = Place(tmp_path / "raw", files=("*.jsonl",))
    (place.write(ROW) / "metadata.json").unlink()
    view = place.runs.view(RUN, may_block=True)
    assert isinstance(view, BrokenView)
    assert tuple(view.names) == (PAYLOAD,)


@pytest.mark.parametrize("required", [REQUIRED, ()])
def test_filter_that_would_leave_a_broken_run_nothing_to_show_is_refused(
    place: Place, required: tuple[bytes, ...]
) -> None:
    """V10: an empty directory would be taken for an answer."""
    with pytest.raises(UsageError, match="--required-files"):
        Runs(place.store, required, FileFilter(("*.csv",)))


# ---- want of descriptors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
@pytest.mark.parametrize("operation", ["list", "open"])
def test_run_that_is_not_seen_for_want_of_descriptors_is_not_broken(place: Place, operation: str, number: int) -> None:
    """V10: it says nothing of the run, and the next look finds it whole."""
    place.write(ROW)

    def fail(asked: str) -> None:
        if asked == operation:
            raise OSError(number, os.strerror(number))

    place.store.before = fail
    with pytest.raises(TooManyHandlesError):
        place.runs.view(RUN, may_block=True)
    assert place.runs.look_ahead([RUN], math.inf) == 1
    assert place.runs.damaged() == []
    place.store.before = lambda asked: None
    seal(place)


def test_subdirectory_that_is_not_seen_for_want_of_descriptors_is_not_broken(place: Place) -> None:
    place.write(ROW, sub__f=b"1")
    seal(place)
    place.store.failure = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    with pytest.raises(TooManyHandlesError):
        place.runs.view(RUN, (b"sub",), may_block=True)
    place.store.failure = None
    assert list(seal(place, below=(b"sub",)).entries) == [b"f"]


def test_suspect_that_is_not_tried_for_want_of_descriptors_stays_as_it_is(place: Place) -> None:
    place.write(ROW)
    seal(place)
    place.runs.report_damage(RUN, named("bad place"), Failure((PAYLOAD,), Sealed(EntryKind.FILE, 3), 1))
    opens = iter([False, False, True])

    def fail(asked: str) -> None:
        if asked == "open" and next(opens):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    place.store.before = fail
    with capture_logs() as logs, pytest.raises(TooManyHandlesError):
        place.runs.view(RUN, may_block=True)
    assert logs == []
    assert place.runs.damaged() == [(RUN.key, RUN.run_id)]


# ---- looked at again ----------------------------------------------------------------------------------------------


def look_again(place: Place) -> str | None:
    found = place.runs.look_again(RUN)
    return None if found is None else found[0].text


def test_a_sealed_run_that_is_looked_at_again_is_as_it_was_sealed_or_is_told_how_it_differs(place: Place) -> None:
    run = place.write(ROW, b"abc", sub__y=b"2")
    assert look_again(place) is None, "it is not known to be sealed: whoever views it looks"
    seal(place)
    below = run / "sub" / "y"
    below_stat, payload_stat = below.stat(), (run / "payload.jsonl").stat()
    seal(place, below=(b"sub",))
    assert look_again(place) is None
    (run / "more").write_bytes(b"x")
    assert look_again(place) is None, "names that are more do not count"
    os.utime(below, ns=(0, 0))
    assert "sub/y was modified after it was sealed" in str(look_again(place))
    os.utime(below, ns=(0, below_stat.st_mtime_ns))
    below.unlink()
    assert "sub/y is missing" in str(look_again(place))
    shutil.rmtree(run / "sub")
    assert "sub" in str(look_again(place))
    (run / "sub").mkdir()
    below.write_bytes(b"2")
    os.utime(below, ns=(0, below_stat.st_mtime_ns))
    assert look_again(place) is None
    (run / "payload.jsonl").write_bytes(b"ab")
    assert "payload.jsonl has 2 bytes and was sealed with 3" in str(look_again(place))
    (run / "payload.jsonl").write_bytes(b"abc")
    os.utime(run / "payload.jsonl", ns=(0, payload_stat.st_mtime_ns))
    assert look_again(place) is None
    (run / "metadata.json").unlink()
    assert "metadata.json is missing" in str(look_again(place))


def test_a_look_again_says_nothing_of_a_run_that_begins_anew_meanwhile(place: Place) -> None:
    """What was sealed before is no measure of what is there now."""
    run = place.write(ROW, b"abc")
    seal(place)
    (run / "payload.jsonl").write_bytes(b"other")

    def begin_anew(operation: str) -> None:
        place.runs.begin_anew(RUN)

    place.store.before = begin_anew
    assert look_again(place) is None
