"""A run that was sealed stays what it was: a file with another size is damage, however little is remembered of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from readyfs.errors import BrokenRunError
from readyfs.layout import RawLayout
from readyfs.partition import NOT_SET, Partition, PartitionKey, SeriesKey
from readyfs.raw.local import LocalRawStore
from readyfs.vfs.runs import BrokenView, FileFilter, Runs, RunView


def make_partition(tmp_path: Path, run_id: str = "r1") -> tuple[Partition, Path]:
    """Write a sealed run with a subdirectory and return its partition and its directory."""
    partition = Partition(PartitionKey(SeriesKey(b"s", b"c", b"q"), 738_000), run_id.encode(), NOT_SET, NOT_SET, None)
    directory = tmp_path.joinpath(*map(os.fsdecode, RawLayout.parse().directory_of(partition)))
    (directory / "parts").mkdir(parents=True)
    (directory / "payload.jsonl").write_bytes(b"0123456789")
    (directory / "metadata.json").write_bytes(b"{}")
    (directory / "parts/p1").write_bytes(b"0123456789")
    return partition, directory


def make_runs(tmp_path: Path, kept: int = 4) -> Runs:
    required = [b"payload.jsonl", b"metadata.json"]
    return Runs(LocalRawStore(tmp_path, RawLayout.parse()), required, FileFilter(()), kept)


def test_a_truncated_file_is_damage_although_its_sealed_run_was_evicted(tmp_path: Path) -> None:
    """V10: the size that the kernel was told is the size that counts."""
    partition, directory = make_partition(tmp_path)
    runs = make_runs(tmp_path, kept=1)
    assert isinstance(runs.view(partition, may_block=True), RunView)
    other, _ = make_partition(tmp_path, "r2")
    runs.view(other, may_block=True)  # pushes the first out
    os.truncate(directory / "payload.jsonl", 4)
    runs.report_damage(partition, "payload.jsonl: not as sealed", ((b"payload.jsonl",), 10))
    assert isinstance(runs.view(partition, may_block=True), BrokenView)
    (directory / "payload.jsonl").write_bytes(b"9876543210")
    assert isinstance(runs.view(partition, may_block=True), RunView)


def test_a_healed_run_is_held_to_the_same_sizes(tmp_path: Path) -> None:
    partition, directory = make_partition(tmp_path)
    runs = make_runs(tmp_path)
    runs.view(partition, may_block=True)
    runs.report_damage(partition, "gone")
    assert isinstance(runs.view(partition, may_block=True), RunView)
    runs.report_damage(partition, "gone again")
    os.truncate(directory / "payload.jsonl", 4)
    assert isinstance(runs.view(partition, may_block=True), BrokenView)


def test_a_truncated_file_in_a_subdirectory_is_damage(tmp_path: Path) -> None:
    partition, directory = make_partition(tmp_path)
    runs = make_runs(tmp_path)
    runs.view(partition, may_block=True)
    assert b"p1" in runs.subdirectory(partition, (b"parts",), may_block=True).entries
    os.truncate(directory / "parts/p1", 4)
    runs.report_damage(partition, "parts/p1: not as sealed", ((b"parts", b"p1"), 10))
    with pytest.raises(BrokenRunError, match="4 bytes and was sealed with 10"):
        runs.subdirectory(partition, (b"parts",), may_block=True)


def test_sizes_of_runs_that_are_not_current_are_forgotten(tmp_path: Path) -> None:
    partition, directory = make_partition(tmp_path)
    runs = make_runs(tmp_path)
    runs.view(partition, may_block=True)
    runs.report_damage(partition, "gone")
    os.truncate(directory / "payload.jsonl", 4)
    runs.forget_unless(lambda key, run_id: False)
    assert runs.damaged() == []
    assert isinstance(runs.view(partition, may_block=True), RunView)


def test_each_cause_of_a_run_is_logged_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    partition, _ = make_partition(tmp_path)
    runs = make_runs(tmp_path)
    for cause in ("gone", "short", "gone", "short"):
        runs.report_damage(partition, cause)
    assert capsys.readouterr().out.count("run is broken") == 2
