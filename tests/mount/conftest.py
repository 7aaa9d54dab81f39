"""Fixtures of the mount tests."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.mount.daemon import ENGINES, Place, partition


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    with closing(found.producer):
        yield found


@pytest.fixture
def open_place() -> Iterator[Place]:
    """A place with one partition that others can walk down to, which they cannot to pytest's own."""
    with tempfile.TemporaryDirectory(prefix="readyfs-") as directory:
        Path(directory).chmod(0o755)
        found = Place(Path(directory))
        with closing(found.producer):
            found.producer.write_and_publish(partition(), "r1", b"first\n")
            yield found


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)
