"""What readyfs writes stays out of what it reads, however the path is spelled."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from readyfs.config import build_config, resolve_settings
from readyfs.config.config import Config
from readyfs.errors import UsageError


@pytest.fixture
def world(tmp_path: Path) -> Path:
    (tmp_path / "raw" / "run").mkdir(parents=True)
    (tmp_path / "raw" / "run" / "payload.jsonl").write_text("{}\n")
    for name in ("state.db", "state.db-wal", "readyfs.toml"):
        (tmp_path / name).write_text("")
    (tmp_path / "url").write_text("state.db\n")
    return tmp_path


def build(world: Path, **flags: str) -> Config:
    given = {"state": str(world / "state.db"), "raw": str(world / "raw"), **flags}
    words = {name.replace("_", "-"): (word,) for name, word in given.items() if word}
    resolution = resolve_settings(words, environ={"HOME": str(world)}, config_file=world / "readyfs.toml")
    return build_config(resolution, Path("/mnt/ready"))


def listing(world: Path) -> list[str]:
    return sorted(str(path) for path in world.rglob("*"))


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("state.db", "state database"),
        ("state.db-wal", "state database's"),
        ("state.db-shm", "state database's"),
        ("state.db-journal", "state database's"),
        ("readyfs.toml", "config file"),
        ("raw/x.log", "lies in the raw root"),
        ("raw/run/payload.jsonl", "lies in the raw root"),
    ],
)
def test_log_file_that_is_read_or_lies_among_the_runs_is_refused(world: Path, name: str, what: str) -> None:
    """V8: nothing that we read is written to."""
    before = listing(world)
    with pytest.raises(UsageError, match=f"log file {re.escape(str(world / name))} .*{what}.*--log-file"):
        build(world, log_file=str(world / name))
    assert listing(world) == before


@pytest.mark.parametrize("name", ["state.db", "state.db-wal", "readyfs.toml", "raw/x.prom"])
def test_metrics_file_that_is_read_or_lies_among_the_runs_is_refused(world: Path, name: str) -> None:
    """V8: nothing that we read is written to."""
    with pytest.raises(UsageError, match=f"metrics file {re.escape(str(world / name))} .*--metrics-file"):
        build(world, metrics_file=str(world / name))


def test_metrics_file_that_is_the_log_file_is_refused(world: Path) -> None:
    with pytest.raises(UsageError, match="is the log file"):
        build(world, metrics_file=str(world / "x.log"), log_file=str(world / "x.log"))


def test_log_file_that_is_the_file_of_the_state_url_is_refused(world: Path) -> None:
    with pytest.raises(UsageError, match="--state-file"):
        build(world, state="", state_file=str(world / "url"), log_file=str(world / "url"))


@pytest.mark.parametrize("target", ["state.db", "state.db-wal", "readyfs.toml", "raw/run/payload.jsonl"])
def test_link_to_what_is_read_is_refused_as_log_file(world: Path, target: str) -> None:
    (world / "x.log").symlink_to(world / target)
    with pytest.raises(UsageError, match="log file"):
        build(world, log_file=str(world / "x.log"))


@pytest.mark.parametrize("target", ["state.db", "state.db-wal", "readyfs.toml"])
def test_hard_link_to_what_is_read_is_refused_as_log_file(world: Path, target: str) -> None:
    os.link(world / target, world / "x.log")
    with pytest.raises(UsageError, match="log file"):
        build(world, log_file=str(world / "x.log"))


def test_log_beside_the_file_that_a_linked_database_leads_to_is_refused(world: Path) -> None:
    (world / "link.db").symlink_to(world / "state.db")
    with pytest.raises(UsageError, match="log file"):
        build(world, state=str(world / "link.db"), log_file=str(world / "state.db-journal"))


@pytest.mark.parametrize("flag", ["state_dir", "runtime_dir"])
@pytest.mark.parametrize("place", ["raw", "raw/mine", "raw/mine/deep", "link/mine", "elsewhere/../raw"])
def test_own_directory_in_the_raw_root_is_refused_and_not_made(world: Path, flag: str, place: str) -> None:
    (world / "link").symlink_to("raw")
    before = listing(world)
    with pytest.raises(UsageError, match=f"lies in the raw root .*--{flag.replace('_', '-')}"):
        build(world, **{flag: f"{world}/{place}"})
    assert listing(world) == before


def test_own_directory_in_a_bind_mount_of_the_raw_root_is_refused(world: Path) -> None:
    other = world / "other"
    other.mkdir()
    subprocess.run(["mount", "--bind", str(world / "raw"), str(other)], check=True, timeout=20)
    try:
        with pytest.raises(UsageError, match="lies in the raw root"):
            build(world, state_dir=str(other / "mine"))
    finally:
        subprocess.run(["umount", str(other)], check=True, timeout=20)


def test_places_of_their_own_are_accepted(world: Path) -> None:
    config = build(
        world, log_file=str(world / "raw.log"), state_dir=str(world / "raw2"), runtime_dir=str(world / "run")
    )
    assert config.log_file == world / "raw.log"


def test_stores_without_a_path_are_no_obstacle(world: Path) -> None:
    assert build(world, state="postgresql://db/x", raw="s3://bucket/raw", log_file=str(world / "x.log")).raw
