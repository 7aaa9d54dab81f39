"""Places to mount at."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that other users can enter too, which pytest's `tmp_path` is not."""
    made = Path(tempfile.mkdtemp(prefix="readyfs-mount-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def place(directory: Path) -> Path:
    made = directory / "m"
    made.mkdir()
    return made
