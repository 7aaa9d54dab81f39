"""Which way of reading `--reads auto` takes, decided on plain values and over real mounts."""

from __future__ import annotations

import os
from typing import cast

import pytest

from readyfs.errors import FuseError
from readyfs.fuse.direct.choose_reads import LARGE_BYTES, SAMPLED_RUNS, FileSample, choose_reads
from readyfs.fuse.engine_words import ReadsWord
from readyfs.raw.store import RawFile
from tests.fuse.direct.raw_mounts import behind_two_overlays
from tests.mount.daemon import Place, mounted, partition

A_FILE = cast(RawFile, object())
AUTO = ("--engine", "direct", "--reads", "auto")


def refuse_nothing(file: RawFile) -> str | None:
    return None


@pytest.mark.parametrize(
    ("mean_bytes", "passthrough"), [(0.0, False), (LARGE_BYTES - 1.0, False), (float(LARGE_BYTES), True), (None, True)]
)
def test_mean_size_decides(mean_bytes: float | None, passthrough: bool) -> None:
    choice = choose_reads(ReadsWord.AUTO, None, FileSample(mean_bytes), refuse_nothing)
    assert choice.passthrough is passthrough


@pytest.mark.parametrize("mean_bytes", [None, 0.0, 1e12])
def test_what_was_asked_for_is_taken_whatever_the_files_are(mean_bytes: float | None) -> None:
    sample = FileSample(mean_bytes, A_FILE)
    assert choose_reads(ReadsWord.PASSTHROUGH, None, sample, refuse_nothing).passthrough
    assert not choose_reads(ReadsWord.CACHED, None, sample, refuse_nothing).passthrough


def test_obstacle_is_told_and_is_an_error_for_who_insists() -> None:
    sample = FileSample(1e12, A_FILE)
    choice = choose_reads(ReadsWord.AUTO, "the kernel is old", sample, refuse_nothing)
    assert not choice.passthrough
    assert "the kernel is old" in choice.reason
    assert not choose_reads(ReadsWord.CACHED, "the kernel is old", sample, refuse_nothing).passthrough
    with pytest.raises(FuseError, match="the kernel is old"):
        choose_reads(ReadsWord.PASSTHROUGH, "the kernel is old", sample, refuse_nothing)


def test_store_that_refuses_is_cached_with_the_reason() -> None:
    choice = choose_reads(ReadsWord.AUTO, None, FileSample(1e12, A_FILE), lambda file: "too deep")
    assert not choice.passthrough
    assert "too deep" in choice.reason


@pytest.mark.parametrize(("size", "reads"), [(1000, "cached"), (2 * LARGE_BYTES, "passthrough"), (None, "passthrough")])
def test_mount_takes_what_suits_its_files_and_says_so(place: Place, size: int | None, reads: str) -> None:
    """A run's largest file counts, not its metadata."""
    for day in range(1, 6) if size is not None else ():
        place.producer.write_and_publish(partition(date=f"2024-06-0{day}"), "r1", bytes(size or 0))
    with mounted(place, *AUTO, engine="cached") as daemon:
        status = daemon.status()
        assert status["reads"] == reads
        word = {"cached": "small", "passthrough": "large"}[reads] if size is not None else "no file is there yet"
        assert word in str(status["reads_reason"])
        assert [line["reads"] for line in daemon.events("serving")] == [reads]
        if size is not None:
            assert daemon.of(partition()).read_bytes() == bytes(size)


def test_runs_that_cannot_be_read_do_not_hinder_the_choice(place: Place) -> None:
    """A whole one is found among the broken ones, as long as they are few enough to be looked at."""
    with place.producer.one_transaction():
        for number in range(SAMPLED_RUNS - 1):
            place.producer.set_ready(partition(f"gone{number:03}"), "r1")
    place.producer.write_and_publish(partition("whole"), "r1", b"x")
    with mounted(place, *AUTO, engine="cached") as daemon:
        assert (daemon.status()["reads"], daemon.count("broken")) == ("cached", 0)


def test_store_that_refuses_passthrough_is_read_through_the_daemon(place: Place) -> None:
    part = partition()
    place.producer.write_and_publish(part, "r1", bytes(2 * LARGE_BYTES))
    with behind_two_overlays(place.raw / "s1", place.base), mounted(place, *AUTO, engine="cached") as daemon:
        status = daemon.status()
        assert status["reads"] == "cached"
        assert "refuses" in str(status["reads_reason"])
        assert daemon.of(part).read_bytes() == bytes(2 * LARGE_BYTES)
        assert status["fallbacks"] == {}
        assert not [fd for fd in daemon.held_raw_files() if os.fspath(place.raw) not in fd]
