"""Histories with gaps: what a moment answers for is its own, whatever is kept beside it, over restarts and losses."""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from readyfs.catalog.tree import Catalog
from readyfs.history import journal
from readyfs.history.history import History
from readyfs.history.moments import Bounds, Replacement
from tests.catalog.rows import NOW_NS
from tests.history.kept import SECOND_NS, catalogs, fingerprints, opened, read, record_all, segments
from tests.mount.daemon import wait_until

ONE = Bounds(1, 86400.0, 1 << 30)
NONE = Bounds(0, 86400.0, 1 << 30)


def ask(history: History, found: Sequence[Catalog], names: Sequence[str]) -> list[int | None]:
    """Return which of the catalogs each name stands for."""
    index = {catalog.fingerprint: number for number, catalog in enumerate(found)}
    answers = map(history.find, names)
    return [None if answer is None else index[answer] for answer in answers]


def ask_steps(history: History, found: Sequence[Catalog], count: int) -> list[int | None]:
    """Return the answers to `~0`, `~1` and so on."""
    return ask(history, found, [f"~{steps}" for steps in range(count)])


def ask_times(history: History, found: Sequence[Catalog], count: int) -> list[int | None]:
    """Return the answers to the times half a second after each catalog was recorded."""
    begin = datetime.datetime.fromtimestamp(NOW_NS / 1e9, datetime.UTC)
    times = [begin + datetime.timedelta(seconds=index + 0.5) for index in range(count)]
    return ask(history, found, [time.isoformat() for time in times])


@pytest.mark.parametrize("floor", [0, 1 << 20], ids=["many segments", "one segment"])
def test_a_pin_and_the_bounds_leave_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, floor: int) -> None:
    monkeypatch.setattr(journal, "FLOOR_BYTES", floor)
    found = catalogs(6)
    held = {found[0].fingerprint}
    with opened(tmp_path, ONE) as history:
        history.held = lambda: held
        for index in range(5):
            record_all(history, found[index : index + 1], index)
        assert fingerprints(history) == [found[index].fingerprint for index in (0, 3, 4)]
        assert ask_steps(history, found, 6) == [4, 3, None, None, 0, None]
        assert ask_times(history, found, 5) == [0, None, None, 3, 4]
        assert history.steps_back(found[0].fingerprint) == 4
    with opened(tmp_path, ONE) as history:
        history.held = lambda: held
        # Without a daemon, what was in force last was in force.
        record_all(history, found[5:], 9)
        assert ask_steps(history, found, 7) == [5, 4, None, None, None, 0, None]
        assert ask_times(history, found, 10) == [0, None, None, None, 4, 4, 4, 4, 4, 5]


def test_what_was_never_on_the_disk_is_a_gap_after_a_kill(tmp_path: Path) -> None:
    """That there was something is noted, and nobody knows any more how many catalogs there were."""
    found = catalogs(5)
    held = {found[0].fingerprint}
    with opened(tmp_path, NONE) as history:
        history.held = lambda: held
        record_all(history, found[:1])
        for index in (1, 2, 3):
            history.record(found[index], NOW_NS + index * SECOND_NS)
        assert ask_steps(history, found, 4) == [3, None, None, 0]
        (segment,) = segments(tmp_path)
        wait_until(lambda: 1 in read(segment).replaced, "it is noted when the first was replaced")
        # As after a kill: nothing is written behind this.
        with opened(tmp_path, NONE) as after:
            after.held = lambda: held
            assert ask_steps(after, found, 2) == [None, None]
            after.record(found[4], NOW_NS + 9 * SECOND_NS)
            assert ask_times(after, found, 11) == [0, *[None] * 8, 4, 4]
            assert ask_steps(after, found, 6) == [4, *[None] * 5]
            assert after.steps_back(found[0].fingerprint) is None


def test_a_catalog_that_is_back_after_what_is_lost_is_a_new_moment(tmp_path: Path) -> None:
    found = catalogs(2)
    held = {found[0].fingerprint}
    with opened(tmp_path, NONE) as history:
        history.held = lambda: held
        record_all(history, found[:1])
        history.record(found[1], NOW_NS + SECOND_NS)
    with opened(tmp_path, NONE) as history:
        history.held = lambda: held
        history.record(found[0], NOW_NS + 5 * SECOND_NS)
        assert ask_times(history, found, 6) == [0, None, None, None, None, 0]
        assert history.first_taken_at_ns(found[0].fingerprint) == NOW_NS


@pytest.mark.parametrize("which", ["in between", "last", "last, without a note"])
def test_a_segment_that_is_lost_is_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str) -> None:
    monkeypatch.setattr(journal, "FLOOR_BYTES", 0)
    monkeypatch.setattr(journal, "MAX_MOMENTS", 2)
    found = catalogs(7)
    with opened(tmp_path) as history:
        for index in range(6):
            record_all(history, found[index : index + 1], index)
    paths = segments(tmp_path)
    counts = [len(read(path).recorded) for path in paths]
    lost = 1 if which == "in between" else len(paths) - 1
    paths[lost].write_bytes(b"")
    begin = sum(counts[:lost])
    known: list[int | None] = [None if begin <= index < begin + counts[lost] else index for index in range(6)]
    # It is noted when the last one before the gap was replaced, but for a kill right before that.
    timed = list(known)
    if which == "last, without a note":
        before = read(paths[lost - 1])
        os.truncate(before.path, before.recorded[-1].end)
        timed[begin - 1] = None
    for _ in range(2):
        with opened(tmp_path) as history:
            record_all(history, found[6:], 6)
            assert ask_times(history, found, 7) == [*timed, 6]
            assert ask_steps(history, found, 7) == [6, *(reversed(known) if which == "in between" else [None] * 6)]


def test_what_is_damaged_behind_the_last_moment_is_a_gap(tmp_path: Path) -> None:
    """What was there took its place, nobody knows when."""
    found = catalogs(4)
    with opened(tmp_path) as history:
        record_all(history, found[:3])
    (segment,) = segments(tmp_path)
    spoil_head(segment, 1)
    with opened(tmp_path) as history:
        record_all(history, found[3:], 3)
        assert ask_times(history, found, 4) == [None, None, None, 3]
        assert ask_steps(history, found, 4) == [3, None, None, None]
        assert fingerprints(history) == [found[0].fingerprint, found[3].fingerprint]


def spoil_head(segment: Path, index: int) -> None:
    content = bytearray(segment.read_bytes())
    content[read(segment).recorded[index].begin] ^= 1
    segment.write_bytes(content)


# ---- catalogs that come back ------------------------------------------------------------------------------------


def test_the_first_time_of_a_catalog_stays_as_long_as_it_is_kept(tmp_path: Path) -> None:
    one, other, third = catalogs(3)
    with opened(tmp_path, ONE) as history:
        for index, catalog in enumerate([one, other, one]):
            record_all(history, [catalog], index)
            assert history.first_taken_at_ns(one.fingerprint) == NOW_NS
        assert [moment.taken_at_ns for moment in history.moments()] == [NOW_NS + SECOND_NS, NOW_NS + 2 * SECOND_NS]
    with opened(tmp_path, ONE) as history:
        history.record(one, NOW_NS + 9 * SECOND_NS)
        assert history.first_taken_at_ns(one.fingerprint) == NOW_NS
        for index, catalog in enumerate([other, third, one], 3):
            record_all(history, [catalog], index)
        # It was gone in between, and nobody could see it.
        assert history.first_taken_at_ns(one.fingerprint) == NOW_NS + 5 * SECOND_NS
        assert history.first_taken_at_ns("0" * 32) is None
    with opened(tmp_path, ONE) as history:
        assert history.first_taken_at_ns(one.fingerprint) == NOW_NS + 5 * SECOND_NS


def test_the_newest_moment_of_each_catalog_is_told(tmp_path: Path) -> None:
    one, other = catalogs(2)
    with opened(tmp_path) as history:
        for index, catalog in enumerate([one, other, one, other]):
            history.record(catalog, NOW_NS + index)
        newest = history.newest_moments()
        assert {name: moment.taken_at_ns - NOW_NS for name, moment in newest.items()} == {
            one.fingerprint: 2,
            other.fingerprint: 3,
        }
        assert newest[one.fingerprint].steps_to(history.moments()[-1]) == 1
        assert history.steps_back(one.fingerprint) == 1


# ---- ages -------------------------------------------------------------------------------------------------------


def test_a_clock_that_is_set_deletes_nothing(tmp_path: Path) -> None:
    """Ages are those of the clock of ages, while a daemon runs; the time without one counts for nothing."""
    found = catalogs(8)
    bounds = Bounds(64, 10.0, 1 << 30)
    year_ns = 365 * 86400 * SECOND_NS
    seconds = 0.0
    with opened(tmp_path, bounds, now_s=lambda: seconds) as history:
        for index, catalog in enumerate(found[:5]):
            seconds = index * 2.0
            history.record(catalog, NOW_NS + (year_ns if index >= 3 else 0))
        assert len(history.moments()) == 5
    # The machine was off, and has another clock.
    with opened(tmp_path, bounds, now_s=lambda: seconds) as history:
        history.record(found[5], NOW_NS + 3 * year_ns)
        assert len(history.moments()) == 6
        # Begun at 0, replaced at 2, and now it is 13.
        seconds += 5.0
        history.record(found[6], NOW_NS)
        assert fingerprints(history) == [catalog.fingerprint for catalog in found[1:7]]
        seconds += 100.0
        history.record(found[7], NOW_NS)
        assert fingerprints(history) == [catalog.fingerprint for catalog in found[6:]]


def test_a_note_of_a_replacement_is_no_part_of_a_catalog(tmp_path: Path) -> None:
    found = catalogs(4)
    with opened(tmp_path) as history:
        record_all(history, found[:2])
    (path,) = segments(tmp_path)
    segment = read(path)
    segment.note_replaced(2, Replacement(NOW_NS + 9, 5))
    assert read(path).replaced[2] == (NOW_NS + 9, 5)
    assert (read(path).damage, read(path).size) == (None, path.stat().st_size)
    os.truncate(path, path.stat().st_size - 1)  # torn
    assert 2 not in read(path).replaced
    assert (read(path).damage, read(path).size) == (None, segment.recorded[-1].end)
    read(path).note_replaced(2, Replacement(NOW_NS + 9, 5))
    assert read(path).replaced[2] == (NOW_NS + 9, 5)
    with opened(tmp_path) as history:
        record_all(history, found[2:], 2)
    assert read(path).damage is None
    with opened(tmp_path) as history:
        for catalog in found:
            assert history.catalog(catalog.fingerprint, may_block=True) is not None
