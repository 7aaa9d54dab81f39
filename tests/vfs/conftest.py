"""Fixtures of the filesystem's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vfs.place import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A filesystem over an empty raw root and an empty catalog."""
    return Place(tmp_path / "raw")
