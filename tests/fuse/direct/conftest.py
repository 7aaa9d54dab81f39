"""Fixtures of the direct engine's tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.fuse.direct.served import Served
from tests.mount.daemon import TRAITS, Place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    with closing(found.producer):
        yield found


@pytest.fixture(params=[name for name, traits in TRAITS.items() if "direct" in traits.arguments])
def engine(request: pytest.FixtureRequest) -> str:
    """Each way of reading of the direct engine."""
    return str(request.param)


@pytest.fixture
def served() -> Iterator[Served]:
    one = Served()
    yield one
    one.end()
