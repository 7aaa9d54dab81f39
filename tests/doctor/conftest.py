"""Fixtures of the doctor's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.state.state_files import CONTRACT_COLUMNS, contract_row, create_table, insert


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A sound state file with one ready row."""
    path = tmp_path / "state.db"
    create_table(path, columns=(*CONTRACT_COLUMNS, "PRIMARY KEY (source, customer_id, query_name, logical_date)"))
    insert(path, contract_row())
    return path
