"""Fixtures of the model tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.mount.daemon import ENGINES, SHADOW, Place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    with closing(found.producer):
        yield found


@pytest.fixture(params=[*ENGINES, SHADOW])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)
