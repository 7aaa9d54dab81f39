"""Fixtures of the mount tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mount.daemon import ENGINES, Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)
