"""Fixtures of the state tests."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.state.state_files import contract_row, create_table, insert


@pytest.fixture(params=[True, False], ids=["keyed", "keyless"])
def keyed(request: pytest.FixtureRequest) -> bool:
    """Whether the table has a key, without which it cannot be read in chunks."""
    return bool(request.param)


@pytest.fixture
def state_file(tmp_path: Path, keyed: bool) -> Path:
    """A state file in rollback-journal mode with one ready row."""
    path = tmp_path / "state.db"
    create_table(path, keyed=keyed)
    insert(path, contract_row())
    return path


@pytest.fixture
def wal_file(tmp_path: Path, keyed: bool) -> Path:
    """A state file in WAL mode with one ready row that nobody has open."""
    path = tmp_path / "state.db"
    create_table(path, wal=True, keyed=keyed)
    insert(path, contract_row())
    return path


@pytest.fixture
def public_dir() -> Iterator[Path]:
    """A directory that every user may enter and only its owner may write."""
    directory = Path(tempfile.mkdtemp(prefix="readyfs-state-"))
    directory.chmod(0o755)
    yield directory
    directory.chmod(0o755)
    shutil.rmtree(directory)
