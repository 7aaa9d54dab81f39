"""Rows are shown the same series by series, which is the quick way, and one by one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from readyfs.cli.rows_text import render_rows, render_states
from readyfs.state.filters import Filters
from readyfs.state.open import open_reader
from readyfs.state.store import StateTable
from tests.state.sqlite.test_reader import DECLARED, fill_strangely
from tests.state.state_files import UPDATED_NS, create_table

HOUR_NS = 3_600_000_000_000


@pytest.mark.parametrize("age_ns", [-HOUR_NS, 59_000_000_000, HOUR_NS - 1, HOUR_NS, 24 * HOUR_NS, 900 * HOUR_NS])
def test_cells_of_a_series_are_those_of_its_rows(tmp_path: Path, age_ns: int) -> None:
    path = tmp_path / "state.db"
    create_table(path, columns=DECLARED["contract"])
    fill_strangely(path, 11)
    reader = open_reader(os.fspath(path), StateTable(), Filters(), 5)
    now_ns = UPDATED_NS + age_ns
    cells = list(render_rows(reader.rows(), now_ns))
    assert list(render_states(reader.by_series(), now_ns)) == cells
    assert len(cells) == 120
