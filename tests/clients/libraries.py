"""The query engines as programs of the table: each counts and sums what three payloads hold."""

from __future__ import annotations

import os
from typing import Final

import duckdb
import polars
import pyarrow
import pyarrow.dataset
import pyarrow.json

from tests.clients.programs import Habit, Library


def with_duckdb(files: list[str]) -> object:
    """Return count and sum by DuckDB."""
    return duckdb.connect().execute("SELECT count(*), sum(number) FROM read_json(?)", [files]).fetchone()


def with_polars(files: list[str]) -> object:
    """Return count and sum by Polars, which maps the files."""
    return polars.scan_ndjson(files).select(polars.len(), polars.sum("number")).collect().rows()


def open_with_polars(file: int) -> object:
    """Return the count of an open file by Polars."""
    with os.fdopen(os.dup(file), "rb") as stream:
        return len(polars.read_ndjson(stream))


def with_pyarrow(files: list[str]) -> object:
    """Return the count by pyarrow."""
    return pyarrow.dataset.dataset(files, format="json").to_table().num_rows


def without_invalid_files(files: list[str]) -> object:
    """Return the count by pyarrow, told to leave out what it cannot use."""
    top = os.path.commonpath(files)
    ignored = [".", "_", "metadata"]
    found = pyarrow.dataset.dataset(top, format="json", ignore_prefixes=ignored, exclude_invalid_files=True)
    return found.to_table().num_rows


def open_with_pyarrow(file: int) -> object:
    """Return the count of an open file by pyarrow."""
    with os.fdopen(os.dup(file), "rb") as stream:
        return pyarrow.json.read_json(stream).num_rows


_ARROW: Final = (OSError, pyarrow.ArrowException)
LIBRARIES: Final = (
    Library("DuckDB", with_duckdb, (duckdb.Error,)),
    Library(
        "Polars",
        with_polars,
        (OSError, polars.exceptions.PolarsError),
        open_with_polars,
        frozenset({Habit.MAPS}),
    ),
    Library("pyarrow", with_pyarrow, _ARROW, open_with_pyarrow),
    Library("pyarrow exclude_invalid_files", without_invalid_files, _ARROW, habits=frozenset({Habit.IGNORES_READ})),
)
