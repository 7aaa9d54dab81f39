"""Which way of reading a mount takes: decided on plain values, and for each file over real mounts."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest

from readyfs.errors import FuseError
from readyfs.fuse.direct.choose_reads import PASSTHROUGH_FROM_BYTES, choose_reads
from readyfs.fuse.engine_words import ReadsWord
from tests.fuse.direct.raw_mounts import behind_two_overlays
from tests.mount.daemon import Place, fails_with, mounted, partition

AUTO = ("--engine", "direct", "--reads", "auto")
SMALL, LARGE = bytes(PASSTHROUGH_FROM_BYTES - 1), bytes(PASSTHROUGH_FROM_BYTES)


def test_left_to_the_files_the_border_decides() -> None:
    choice = choose_reads(ReadsWord.AUTO, None)
    assert (choice.word, choice.passthrough_from) == (ReadsWord.AUTO, PASSTHROUGH_FROM_BYTES)


@pytest.mark.parametrize(
    ("word", "passthrough_from"),
    [(ReadsWord.PASSTHROUGH, 0), (ReadsWord.OPENED, None), (ReadsWord.CACHED, None)],
)
def test_what_was_asked_for_is_taken(word: ReadsWord, passthrough_from: int | None) -> None:
    choice = choose_reads(word, None)
    assert (choice.word, choice.passthrough_from) == (word, passthrough_from)


def test_obstacle_is_told_and_is_an_error_for_who_insists() -> None:
    choice = choose_reads(ReadsWord.AUTO, "the kernel is old")
    assert (choice.word, choice.passthrough_from) == (ReadsWord.OPENED, None)
    assert "the kernel is old" in choice.reason
    assert choose_reads(ReadsWord.CACHED, "the kernel is old").word is ReadsWord.CACHED
    with pytest.raises(FuseError, match="the kernel is old"):
        choose_reads(ReadsWord.PASSTHROUGH, "the kernel is old")


@pytest.mark.parametrize("first", [SMALL, LARGE], ids=["small", "large"])
def test_auto_decides_for_each_file_and_keeps_to_it(place: Place, first: bytes) -> None:
    """V10: whichever file is opened first, a small one is read by us and kept, a large one is not ours to read."""
    second = LARGE if first is SMALL else SMALL
    for customer, content in (("c1", first), ("c2", second)):
        place.producer.write_and_publish(partition(customer), "r1", content)
    with mounted(place, *AUTO, engine="cached") as daemon:
        assert daemon.status()["reads"] == "auto"
        paths = {content: daemon.of(partition(customer)) for customer, content in (("c1", first), ("c2", second))}
        for content, path in paths.items():
            with open(path, "rb") as one, open(path, "rb") as other:
                assert one.read() == other.read() == content
            assert path.read_bytes() == content
        assert daemon.count("pushed_files") == 1, "the small one, whose bytes came with its open"
        assert daemon.requests("read") == 0, "pages are kept over opens"
        with open(paths[SMALL], "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            assert file.read() == SMALL
        reads = daemon.requests("read")
        assert reads > 0
        subprocess.run(["cat", paths[LARGE]], stdout=subprocess.DEVNULL, check=True, timeout=30)
        assert daemon.requests("read") == reads, "the kernel reads large files by itself"
        assert daemon.status()["fallbacks"] == {}


@pytest.mark.parametrize("size", [10, len(LARGE)], ids=["small", "large"])
def test_damage_is_loud_at_open_in_the_default_way(place: Place, size: int) -> None:
    """V10: also for who has read the file before, and for root."""
    part = partition()
    payload = place.producer.write_and_publish(part, "r1", bytes(size)).directory / "payload.jsonl"
    with mounted(place, *AUTO, engine="cached") as daemon:
        assert daemon.of(part).read_bytes() == bytes(size)
        os.truncate(payload, size - 1)
        with fails_with(errno.EIO):
            os.open(daemon.of(part), os.O_RDONLY)


def test_file_that_the_store_refuses_to_pass_through_is_opened(place: Place) -> None:
    part = partition()
    place.producer.write_and_publish(part, "r1", LARGE)
    with behind_two_overlays(place.raw / "s1", place.base), mounted(place, *AUTO, engine="cached") as daemon:
        assert daemon.of(part).read_bytes() == LARGE
        assert daemon.status()["fallbacks"] == {"ELOOP": 1}


def overlay_over(lower: Path, base: Path) -> subprocess.CompletedProcess[str]:
    """Try to mount an overlayfs over a directory, and take it away at once."""
    on = base / "over"
    on.mkdir()
    command = ["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={lower}:{base / 'run'}", os.fspath(on)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode == 0:
        subprocess.run(["umount", on], check=True, timeout=30)
    return done


@pytest.mark.parametrize("reads", ["auto", "passthrough", "opened"])
def test_overlayfs_can_lie_over_a_mount(place: Place, reads: str) -> None:
    """The kernel stacks two levels: files of an ordinary raw root take none but ours."""
    place.producer.write_and_publish(partition(), "r1", LARGE)
    with mounted(place, "--engine", "direct", "--reads", reads, engine="cached") as daemon:
        done = overlay_over(daemon.path, place.base)
        assert (done.returncode, done.stderr) == (0, "")


def test_raw_root_on_an_overlayfs_is_passed_through_all_the_same(place: Place) -> None:
    place.producer.write_and_publish(partition(), "r1", LARGE)
    upper, work = place.base / "upper", place.base / "work"
    upper.mkdir()
    work.mkdir()
    options = f"lowerdir={place.raw},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, place.raw], check=True, timeout=30)
    try:
        with mounted(place, *AUTO, engine="cached") as daemon:
            assert daemon.of(partition()).read_bytes() == LARGE
            assert (daemon.requests("read"), daemon.status()["fallbacks"]) == (0, {})
    finally:
        subprocess.run(["umount", place.raw], check=True, timeout=30)
