"""What is on disk survives what happens to it: cut anywhere, damaged anywhere, of another version, of other settings.

What can be proven is kept, and never another catalog than the one that was recorded.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from readyfs.catalog.tree import Catalog
from readyfs.history.changes import find_changes
from readyfs.history.directory import ASIDE
from readyfs.history.history import History
from readyfs.history.moments import Moment
from readyfs.history.packing import DamagedError, pack_pieces
from readyfs.history.segment import VERSION, OtherVersionError, Segment
from tests.catalog.rows import NOW_NS, contents
from tests.history.kept import (
    SECOND_NS,
    SETTINGS,
    catalogs,
    change_fingerprint_version,
    fingerprints,
    opened,
    read,
    record_all,
    segments,
)

COUNT = 5


@pytest.fixture(scope="module")
def found() -> list[Catalog]:
    return catalogs(COUNT)


@pytest.fixture(scope="module")
def whole(found: list[Catalog], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with one segment of all catalogs but the last; not to be changed."""
    path = tmp_path_factory.mktemp("whole")
    with opened(path) as history:
        record_all(history, found[:-1])
    return path


@pytest.fixture
def path(whole: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(whole, tmp_path / "history"))


def assert_good(history: History, found: list[Catalog]) -> int:
    """Tell how many catalogs are kept, each of which must be the very one that was recorded."""
    by_fingerprint = {catalog.fingerprint: catalog for catalog in found}
    good = 0
    for moment in history.moments():
        catalog = history.catalog(moment.fingerprint, may_block=True)
        if catalog is not None:
            assert catalog.fingerprint == moment.fingerprint
            assert contents(catalog) == contents(by_fingerprint[moment.fingerprint])
            good += 1
    return good


def assert_goes_on(path: Path, found: list[Catalog]) -> None:
    """Record the last catalog behind whatever is there; a restart must find it."""
    with opened(path) as history:
        record_all(history, found[-1:], COUNT - 1)
    with opened(path) as history:
        assert fingerprints(history)[-1] == found[-1].fingerprint
        again = history.catalog(found[-1].fingerprint, may_block=True)
        assert again is not None
        assert contents(again) == contents(found[-1])


def test_a_segment_cut_anywhere_has_the_moments_before_the_cut(path: Path, found: list[Catalog]) -> None:
    """At every byte: a kill, or a disk that lost what was not synced."""
    (segment,) = segments(path)
    content = segment.read_bytes()
    ends = [recorded.end for recorded in read(segment).recorded]
    assert ends[-1] == len(content)
    for cut in range(len(content), -1, -1):
        os.truncate(segment, cut)
        whole = sum(end <= cut for end in ends)
        if whole:
            assert [r.moment.fingerprint for r in read(segment).recorded] == [c.fingerprint for c in found[:whole]]
            assert read(segment).damage is None
        else:
            with pytest.raises(DamagedError):
                read(segment)


@pytest.mark.parametrize("seed", range(12))
def test_a_cut_history_goes_on(path: Path, found: list[Catalog], seed: int) -> None:
    (segment,) = segments(path)
    ends = [recorded.end for recorded in read(segment).recorded]
    size = segment.stat().st_size
    cuts = [*ends, *(end - 1 for end in ends), *(end + 1 for end in ends[:-1])]
    cut = cuts[seed] if seed < len(cuts) else random.Random(seed).randrange(size)
    os.truncate(segment, cut)
    with opened(path) as history:
        assert assert_good(history, found) == sum(end <= cut for end in ends)
    assert_goes_on(path, found)


@pytest.mark.parametrize("seed", range(25))
def test_a_damaged_history_has_no_wrong_catalog_and_goes_on(path: Path, found: list[Catalog], seed: int) -> None:
    """A byte is another one, a stretch is zeros, or a stretch is missing, anywhere."""
    (segment,) = segments(path)
    content = bytearray(segment.read_bytes())
    chance = random.Random(seed)
    place = chance.randrange(len(content))
    stretch = slice(place, place + chance.choice([1, 8, 100]))
    match seed % 3:
        case 0:
            content[place] ^= 1 << chance.randrange(8)
        case 1:
            content[stretch] = bytes(len(content[stretch]))
        case 2:
            del content[stretch]
    segment.write_bytes(content)
    with opened(path) as history:
        assert assert_good(history, found) <= COUNT - 1
        left = assert_good(history, found)
        assert len(history.moments()) == left  # what is lost is not named any more
    assert_goes_on(path, found)


def damage_changes(segment: Path, index: int) -> None:
    """Damage the changes of one moment, behind heads that are whole."""
    recorded = read(segment).recorded[index]
    with segment.open("r+b") as file:
        file.seek(recorded.begin + 40)
        byte = file.read(1)
        file.seek(recorded.begin + 40)
        file.write(bytes([byte[0] ^ 0xFF]))


@pytest.mark.parametrize("byte", range(20, 20 + 16 + 4 * 8 + 4))
def test_a_moment_that_is_damaged_is_none(path: Path, found: list[Catalog], byte: int) -> None:
    """Neither at another time, nor with another fingerprint: no catalog could prove the time."""
    (segment,) = segments(path)
    content = bytearray(segment.read_bytes())
    place = read(segment).recorded[2].end - 72 + byte
    content[place] ^= 1
    segment.write_bytes(content)
    assert [r.moment[:2] for r in read(segment).recorded] == [
        (catalog.fingerprint, NOW_NS + index * SECOND_NS) for index, catalog in enumerate(found[:2])
    ]


def test_damage_in_the_middle_costs_what_follows_and_one_warning(path: Path, found: list[Catalog]) -> None:
    damage_changes(segments(path)[0], 2)
    with opened(path) as history, capture_logs() as logs:
        assert len(history.moments()) == COUNT - 1  # heads alone were read
        assert history.catalog(found[2].fingerprint, may_block=True) is None
        assert [log["event"] for log in logs if log["log_level"] == "warning"] == [
            "the history on disk is not what was written"
        ]
        assert history.catalog(found[1].fingerprint, may_block=True) is not None
        assert found[2].fingerprint not in fingerprints(history)


def test_damage_found_while_mounted_has_what_is_in_memory_written_anew(path: Path, found: list[Catalog]) -> None:
    with opened(path) as history:
        record_all(history, found[-1:], COUNT - 1)
        damage_changes(segments(path)[0], 1)
        assert history.catalog(found[2].fingerprint, may_block=True) is None
        history.flush(found[-1].fingerprint)
        assert len(segments(path)) == 2
    with opened(path) as history:
        again = history.catalog(found[-1].fingerprint, may_block=True)
        assert again is not None


def test_a_last_catalog_that_is_damaged_is_not_gone_on_with(path: Path, found: list[Catalog]) -> None:
    damage_changes(segments(path)[0], COUNT - 2)
    assert_goes_on(path, found)
    assert len(segments(path)) == 2


def test_records_of_another_place_do_not_count(path: Path, found: list[Catalog]) -> None:
    """Whole records, moved: a block that a file system gave back from elsewhere."""
    (segment,) = segments(path)
    first, second, third, _ = read(segment).recorded
    content = segment.read_bytes()
    assert second.end - second.begin == third.end - third.begin
    segment.write_bytes(content[: first.end] + content[third.begin : third.end] + content[third.begin :])
    assert [r.moment for r in read(segment).recorded] == [first.moment]


def test_a_catalog_without_its_fingerprint_is_dropped(tmp_path: Path, found: list[Catalog]) -> None:
    """All checksums are right, and yet it is not what was recorded: a fault of ours, or of another machine."""
    pieces = [list(pack_pieces(find_changes(None, catalog))) for catalog in found]
    segment = Segment.create(
        tmp_path / "0000000001.history", 1, SETTINGS, Moment(found[0].fingerprint, NOW_NS, 1), pieces[0]
    )
    segment.append(Moment(found[1].fingerprint, NOW_NS + 1, 2), pieces[2])
    with capture_logs() as logs, opened(tmp_path) as history:
        assert fingerprints(history) == [catalog.fingerprint for catalog in found[:2]]
        assert history.catalog(found[1].fingerprint, may_block=True) is None
        assert fingerprints(history) == [found[0].fingerprint]
        assert history.catalog(found[0].fingerprint, may_block=True) is not None
    assert [log["error"] for log in logs] == [
        f"it leads to the catalog {found[2].fingerprint}, not to {found[1].fingerprint}"
    ]


def make_newer(segment: Path) -> None:
    content = segment.read_bytes()
    segment.write_bytes(content[:16] + struct.pack("<I", VERSION + 1) + b"another form")


def make_foreign(segment: Path) -> None:
    segment.write_bytes(b"something else")


def make_empty(segment: Path) -> None:
    segment.write_bytes(b"")


def make_directory(segment: Path) -> None:
    segment.unlink()
    segment.mkdir()


def make_fifo(segment: Path) -> None:
    segment.unlink()
    os.mkfifo(segment)


def make_link(segment: Path) -> None:
    segment.rename(segment.with_name("elsewhere"))
    segment.symlink_to("elsewhere")


@pytest.mark.parametrize(
    "spoil",
    [make_newer, make_foreign, make_empty, make_directory, make_fifo, make_link],
    ids=lambda spoil: spoil.__name__,
)
def test_what_cannot_be_read_is_set_aside(path: Path, found: list[Catalog], spoil: Callable[[Path], None]) -> None:
    (segment,) = segments(path)
    spoil(segment)
    with capture_logs() as logs, opened(path) as history:
        assert history.moments() == ()
    assert [(log["log_level"], log["event"]) for log in logs] == [
        ("warning", "a part of the history cannot be read and is set aside")
    ]
    assert os.path.lexists(path / ASIDE / segment.name)
    assert_goes_on(path, found)
    assert os.path.lexists(path / ASIDE / segment.name)


def test_another_version_says_which_it_is(path: Path) -> None:
    make_newer(segments(path)[0])
    with pytest.raises(OtherVersionError, match=f"version {VERSION + 1}, and this readyfs reads {VERSION}"):
        read(segments(path)[0])


def test_other_settings_begin_anew_with_one_line(path: Path, found: list[Catalog]) -> None:
    other = {**SETTINGS, "layout": "y", "files": "*.csv"}
    with capture_logs() as logs, opened(path, settings=other) as history:
        assert history.moments() == ()
    assert [(log["log_level"], log["event"], log["settings"]) for log in logs] == [
        ("info", "the history is of other settings and begins anew", ["files", "layout"])
    ]
    assert segments(path) == []


@pytest.mark.parametrize("version", [None, "2"])
def test_fingerprints_of_another_version_begin_anew_with_one_line(
    path: Path, found: list[Catalog], version: str | None
) -> None:
    """Nothing could be found there by a fingerprint of ours, nor be proven by one."""
    change_fingerprint_version(segments(path)[0], version)
    with capture_logs() as logs, opened(path) as history:
        assert history.moments() == ()
    assert [(log["log_level"], log["event"], log["settings"]) for log in logs] == [
        ("info", "the history is of other settings and begins anew", ["fingerprint-version"])
    ]
    assert segments(path) == []
    assert_goes_on(path, found)


def test_what_a_kill_left_of_a_whole_catalog_is_removed(path: Path, found: list[Catalog]) -> None:
    left = path / "0000000002.new"
    left.write_bytes(b"readyfs his")
    with opened(path) as history:
        assert len(history.moments()) == COUNT - 1
    assert not left.exists()


def test_a_directory_that_is_a_file_is_gone_without(tmp_path: Path, found: list[Catalog]) -> None:
    (tmp_path / "history").write_bytes(b"")
    with capture_logs() as logs, opened(tmp_path / "history") as history:
        history.record(found[0], NOW_NS)
        history.record(found[1], NOW_NS + SECOND_NS)
        assert history.catalog(found[0].fingerprint, may_block=False) is found[0]
    assert [log["event"] for log in logs] == ["the history cannot be written"]


def test_segments_are_written_once_and_then_only_at_the_end(path: Path, found: list[Catalog]) -> None:
    (segment,) = segments(path)
    before = segment.read_bytes()
    with opened(path) as history:
        record_all(history, found[-1:], COUNT - 1)
    after = segment.read_bytes()
    assert after.startswith(before)
    assert len(after) > len(before)
    assert isinstance(read(segment), Segment)
