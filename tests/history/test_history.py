"""The history as its users see it: what is kept, where, and what happens when the disk does not do its part."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from readyfs.errors import HistoryError, UnreadableHistoryError, WouldBlockError
from readyfs.history import journal, writer
from readyfs.history.history import History
from readyfs.history.moments import Bounds
from readyfs.history.segment import Segment
from tests.catalog.rows import JUNE_1, NOW_NS, Row, build
from tests.history.kept import BOUNDS, SECOND_NS, catalogs, fingerprints, opened, record_all, segments
from tests.mount.daemon import wait_until


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with opened(tmp_path / "history") as found:
        yield found


def test_moments_are_known_at_once_and_catalogs_are_in_memory(history: History) -> None:
    found = catalogs(3)
    for index, catalog in enumerate(found):
        history.record(catalog, NOW_NS + index)
    assert [(moment.fingerprint, moment.taken_at_ns - NOW_NS) for moment in history.moments()] == [
        (catalog.fingerprint, index) for index, catalog in enumerate(found)
    ]
    for catalog in found:
        assert history.catalog(catalog.fingerprint, may_block=False) is catalog
    assert history.catalog("0" * 32, may_block=True) is None
    assert history.find("~1") == found[1].fingerprint
    assert history.find("~3") is None
    assert history.find("2024-06-02T03:46:40Z") == found[0].fingerprint
    assert history.find("2024-06-02T03:46:39Z") is None


def test_a_restart_knows_the_moments_and_reads_catalogs_when_asked(tmp_path: Path) -> None:
    found = catalogs(3)
    with opened(tmp_path) as history:
        record_all(history, found)
    with opened(tmp_path) as history:
        assert fingerprints(history) == [catalog.fingerprint for catalog in found]
        with pytest.raises(WouldBlockError):
            history.catalog(found[0].fingerprint, may_block=False)
        again = history.catalog(found[0].fingerprint, may_block=True)
        assert again is not None
        assert history.catalog(found[0].fingerprint, may_block=False) is again


def test_the_same_catalog_after_a_restart_is_no_new_moment(tmp_path: Path) -> None:
    found = catalogs(2)
    with opened(tmp_path) as history:
        record_all(history, found)
    size = segments(tmp_path)[0].stat().st_size
    with opened(tmp_path) as history:
        record_all(history, found[-1:], 100)
        assert len(history.moments()) == 2
        assert history.catalog(found[1].fingerprint, may_block=False) is found[1]
    assert segments(tmp_path)[0].stat().st_size == size


def test_another_catalog_after_a_restart_is_written_as_a_difference(tmp_path: Path) -> None:
    found = catalogs(3, rows=2000)
    with opened(tmp_path) as history:
        record_all(history, found[:2])
    size = segments(tmp_path)[0].stat().st_size
    with opened(tmp_path) as history:
        record_all(history, found[2:], 2)
    (segment,) = segments(tmp_path)
    assert 0 < segment.stat().st_size - size < 400


def test_a_catalog_that_comes_back_is_one_catalog_at_two_moments(history: History) -> None:
    one, other = catalogs(2)
    removed: list[str] = []
    history.on_removed = removed.append
    for index, catalog in enumerate([one, other, one]):
        history.record(catalog, NOW_NS + index)
    assert fingerprints(history) == [one.fingerprint, other.fingerprint, one.fingerprint]
    history.flush(one.fingerprint)
    assert removed == []


def test_bounds_remove_and_tell_of_it(tmp_path: Path) -> None:
    found = catalogs(5)
    removed: list[str] = []
    with opened(tmp_path, Bounds(2, 86400.0, 1 << 30)) as history:
        history.on_removed = removed.append
        record_all(history, found)
        assert fingerprints(history) == [catalog.fingerprint for catalog in found[2:]]
        assert removed == [catalog.fingerprint for catalog in found[:2]]
        assert history.catalog(found[0].fingerprint, may_block=True) is None
    with opened(tmp_path, Bounds(2, 86400.0, 1 << 30)) as history:
        history.record(found[-1], NOW_NS)
        assert fingerprints(history) == [catalog.fingerprint for catalog in found[2:]]


def test_what_is_held_outlives_the_bounds_until_it_is_let_go(tmp_path: Path) -> None:
    found = catalogs(6)
    held = {found[1].fingerprint}
    bounds = Bounds(1, 86400.0, 1 << 30)
    with opened(tmp_path, bounds) as history:
        history.held = lambda: held
        record_all(history, found[:4])
        assert fingerprints(history) == [found[index].fingerprint for index in (1, 2, 3)]
    with opened(tmp_path, bounds) as history:
        history.held = lambda: held
        record_all(history, found[4:], 4)
        assert fingerprints(history) == [found[index].fingerprint for index in (1, 4, 5)]
        assert history.catalog(found[1].fingerprint, may_block=True) is not None
        held.clear()
        history.trim()
        assert fingerprints(history) == [found[index].fingerprint for index in (4, 5)]


def test_a_count_of_nothing_keeps_the_one_in_force_and_no_file(tmp_path: Path) -> None:
    found = catalogs(3)
    with opened(tmp_path, Bounds(0, 86400.0, 1 << 30)) as history:
        for index, catalog in enumerate(found):
            history.record(catalog, NOW_NS + index)
            assert fingerprints(history) == [catalog.fingerprint]
    assert segments(tmp_path) == []


def test_a_count_of_nothing_still_keeps_what_is_held(tmp_path: Path) -> None:
    found = catalogs(3)
    held: set[str] = set()
    bounds = Bounds(0, 86400.0, 1 << 30)
    with opened(tmp_path, bounds) as history:
        history.held = lambda: held
        history.record(found[0], NOW_NS)
        held.add(found[0].fingerprint)
        history.flush(found[0].fingerprint)
        history.record(found[1], NOW_NS + 1)
        history.record(found[2], NOW_NS + 2)
        assert fingerprints(history) == [found[0].fingerprint, found[2].fingerprint]
    with opened(tmp_path, bounds) as history:
        history.held = lambda: held
        history.record(found[2], NOW_NS + 3)
        assert history.catalog(found[0].fingerprint, may_block=True) is not None


# ---- on disk ------------------------------------------------------------------------------------------------


def test_flush_returns_when_it_is_on_the_disk(tmp_path: Path) -> None:
    (catalog,) = catalogs(1)
    with opened(tmp_path) as history:
        history.record(catalog, NOW_NS)
        history.flush(catalog.fingerprint)
        # As after a kill: nothing is written behind this.
        with opened(tmp_path) as other:
            assert fingerprints(other) == [catalog.fingerprint]
        with pytest.raises(HistoryError, match="is not kept"):
            history.flush("0" * 32)


def test_the_end_of_a_daemon_writes_what_is_left(tmp_path: Path) -> None:
    found = catalogs(3)
    with opened(tmp_path) as history:
        for index, catalog in enumerate(found):
            history.record(catalog, NOW_NS + index)
    with opened(tmp_path) as history:
        assert fingerprints(history) == [catalog.fingerprint for catalog in found]


def test_segments_begin_anew_when_differences_take_as_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "FLOOR_BYTES", 0)
    found = catalogs(12)
    with opened(tmp_path, Bounds(4, 86400.0, 1 << 30)) as history:
        for index, catalog in enumerate(found):
            history.record(catalog, NOW_NS + index)
            history.flush(catalog.fingerprint)
        wait_until(lambda: len(segments(tmp_path)) < 6, "segments that nothing needs are removed")
    assert segments(tmp_path)[0].name != "0000000001.history"
    with opened(tmp_path) as history:
        assert fingerprints(history)[-5:] == [catalog.fingerprint for catalog in found[-5:]]
        for catalog in found[-5:]:
            assert history.catalog(catalog.fingerprint, may_block=True) is not None


def large(number: int) -> list[Row]:
    """Rows that take some hundreds of bytes on disk, of which all differ from those of another number."""
    return [Row(date=JUNE_1 + index, run=os.urandom(16).hex().encode(), record_count=number) for index in range(20)]


def test_bytes_win(tmp_path: Path) -> None:
    found = [build(large(number)) for number in range(12)]
    limit = 4000
    with opened(tmp_path, Bounds(64, 86400.0, limit)) as history:
        for index, catalog in enumerate(found):
            history.record(catalog, NOW_NS + index)
            history.flush(catalog.fingerprint)
            wait_until(lambda: sum(one.stat().st_size for one in segments(tmp_path)) <= limit, "within the bytes")
        assert 1 < len(history.moments()) < 12
        assert history.problem is None
        assert history.size == sum(one.stat().st_size for one in segments(tmp_path))
        left = fingerprints(history)
    assert left == [catalog.fingerprint for catalog in found[-len(left) :]]
    with opened(tmp_path) as history:
        assert fingerprints(history) == left
        for fingerprint in left:
            assert history.catalog(fingerprint, may_block=True) is not None


def test_what_is_pinned_is_not_removed_for_bytes_and_new_moments_are_not_written(tmp_path: Path) -> None:
    found = [build(large(number)) for number in range(8)]
    held = {found[0].fingerprint}
    with opened(tmp_path, Bounds(64, 86400.0, 3000)) as history, capture_logs() as logs:
        history.held = lambda: held
        history.record(found[0], NOW_NS)
        history.flush(found[0].fingerprint)
        for index, catalog in enumerate(found[1:]):
            history.record(catalog, NOW_NS + index)
        with pytest.raises(HistoryError, match="catalogs that are pinned take all of the 3KiB of --history-bytes"):
            history.flush(found[-1].fingerprint)
        assert history.catalog(found[-2].fingerprint, may_block=False) is found[-2]
        assert [log["event"] for log in logs] == ["the history cannot be written"]
        held.clear()
        history.trim()
        history.flush(found[-1].fingerprint)
        assert history.catalog(found[0].fingerprint, may_block=True) is None or history.size <= 3000


def test_a_catalog_larger_than_the_bytes_is_kept_in_memory_alone(tmp_path: Path) -> None:
    found = [build(large(number)) for number in range(3)]
    with opened(tmp_path, Bounds(64, 86400.0, 500)) as history, capture_logs() as logs:
        for index, catalog in enumerate(found):
            history.record(catalog, NOW_NS + index)
            with pytest.raises(HistoryError, match=r"one catalog takes \d+KiB, more than --history-bytes"):
                history.flush(catalog.fingerprint)
        assert [log["event"] for log in logs] == ["the history cannot be written"]
        assert segments(tmp_path) == []
        assert history.catalog(found[0].fingerprint, may_block=False) is found[0]
        small = build([Row()])
        history.record(small, NOW_NS + 9)
        history.flush(small.fingerprint)


# ---- a disk that fails ----------------------------------------------------------------------------------------


def fail_with(number: int) -> Callable[..., int]:
    def fail(*arguments: object) -> int:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("call", ["pwrite", "fsync", "ftruncate"])
def test_a_full_disk_is_one_warning_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    monkeypatch.setattr(writer, "RETRY_S", 0.01)
    found = catalogs(5)
    with opened(tmp_path) as history, capture_logs() as logs:
        record_all(history, found[:2])
        with monkeypatch.context() as patch:
            patch.setattr(os, call, fail_with(28))
            for index, catalog in enumerate(found[2:], 2):
                history.record(catalog, NOW_NS + index * SECOND_NS)
                with pytest.raises(HistoryError, match="No space left on device"):
                    history.flush(catalog.fingerprint)
            assert history.problem == "No space left on device"
            assert len(history.moments()) == 5
        wait_until(lambda: history.problem is None, "the disk is tried again by itself")
        assert [log["event"] for log in logs] == ["the history cannot be written", "the history can be written again"]
    with opened(tmp_path) as history:
        assert fingerprints(history) == [catalog.fingerprint for catalog in found]
        for catalog in found:
            assert history.catalog(catalog.fingerprint, may_block=True) is not None


def test_a_half_written_record_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk takes a part of it, and even refuses to take it back."""
    found = catalogs(3)
    real = os.pwrite
    with opened(tmp_path) as history:
        record_all(history, found[:2])
        (segment,) = segments(tmp_path)
        good = segment.read_bytes()

        def write_some(descriptor: int, content: bytes, place: int) -> int:
            real(descriptor, bytes(content[:10]) + bytes(5000), place)
            monkeypatch.setattr(os, "ftruncate", fail_with(5))
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "pwrite", write_some)
        history.record(found[2], NOW_NS + 9 * SECOND_NS)
        with pytest.raises(HistoryError):
            history.flush(found[2].fingerprint)
        monkeypatch.undo()
        assert len(segment.read_bytes()) == len(good) + 5010
        history.flush(found[2].fingerprint)
    with capture_logs() as logs, opened(tmp_path) as history:
        assert history.catalog(found[2].fingerprint, may_block=True) is not None
    assert logs == []


def test_a_directory_removed_under_it_is_made_again(tmp_path: Path) -> None:
    found = catalogs(3)
    path = tmp_path / "history"
    with opened(path) as history:
        record_all(history, found[:2])
        (segment,) = segments(path)
        segment.unlink()
        path.rmdir()
        record_all(history, found[2:], 2)
    with opened(path) as history:
        assert fingerprints(history) == [catalog.fingerprint for catalog in found]


def test_a_disk_that_cannot_be_read_now_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = catalogs(2)
    with opened(tmp_path) as history:
        record_all(history, found)
    with opened(tmp_path) as history:
        with monkeypatch.context() as patch:
            patch.setattr(os, "pread", fail_with(5))
            with pytest.raises(UnreadableHistoryError, match="Input/output error"):
                history.catalog(found[0].fingerprint, may_block=True)
        assert history.catalog(found[0].fingerprint, may_block=True) is not None


def test_recording_does_not_wait_for_a_disk_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = catalogs(4)
    hangs, entered = threading.Event(), threading.Event()
    real = os.fsync

    def hang(descriptor: int) -> None:
        entered.set()
        assert hangs.wait(20.0)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", hang)
    with opened(tmp_path) as history:
        history.record(found[0], NOW_NS)
        assert entered.wait(20.0)
        for index, catalog in enumerate(found[1:], 1):
            history.record(catalog, NOW_NS + index)
            assert history.catalog(catalog.fingerprint, may_block=False) is catalog
        hangs.set()
        history.flush(found[-1].fingerprint)
    with opened(tmp_path) as history:
        assert len(history.moments()) == 4


def test_a_bug_ends_no_thread_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = catalogs(2)
    with opened(tmp_path) as history:
        with monkeypatch.context() as patch, capture_logs() as logs:
            patch.setattr(Segment, "create", fail_with_bug)
            history.record(found[0], NOW_NS)
            with pytest.raises(HistoryError, match="ZeroDivisionError"):
                history.flush(found[0].fingerprint)
        assert "writing the history failed unexpectedly" in [log["event"] for log in logs]
        history.flush(found[0].fingerprint)


def fail_with_bug(*arguments: object) -> Segment:
    raise ZeroDivisionError


def test_many_threads_read_and_record(tmp_path: Path) -> None:
    found = catalogs(40)
    errors: list[BaseException] = []

    def ask(history: History) -> None:
        try:
            for _ in range(200):
                for moment in history.moments():
                    catalog = history.catalog(moment.fingerprint, may_block=True)
                    assert catalog is None or catalog.fingerprint == moment.fingerprint
        except BaseException as error:  # noqa: BLE001 - of another thread, and raised here
            errors.append(error)

    with opened(tmp_path, Bounds(5, BOUNDS.age_s, BOUNDS.max_bytes)) as history:
        threads = [threading.Thread(target=ask, args=(history,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        record_all(history, found)
        for thread in threads:
            thread.join(20.0)
        assert not errors
        assert len(history.moments()) == 6
