"""A raw root with one run, as the contract lays it out."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from readyfs.layout import RawLayout
from readyfs.partition import NOT_SET, Partition, PartitionKey, SeriesKey, parse_date


@pytest.fixture
def partition() -> Partition:
    date = parse_date(b"2024-06-01")
    assert date is not None
    key = PartitionKey(SeriesKey(b"google_ads", b"0012345678", b"campaign_daily"), date)
    return Partition(key, b"2024-06-02T04:05:06.789Z", NOT_SET, NOT_SET, None)


@pytest.fixture
def layout() -> RawLayout:
    return RawLayout.parse()


@pytest.fixture
def root() -> Iterator[Path]:
    """A directory that other users can enter too, which pytest's `tmp_path` is not."""
    directory = Path(tempfile.mkdtemp(prefix="readyfs-raw-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def run(root: Path, partition: Partition, layout: RawLayout) -> Path:
    directory = root.joinpath(*map(os.fsdecode, layout.directory_of(partition)))
    directory.mkdir(parents=True)
    (directory / "payload.jsonl").write_bytes(b'{"clicks": 1}\n')
    (directory / "metadata.json").write_bytes(b"{}")
    return directory
