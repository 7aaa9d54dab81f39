"""Counts the records below a mount point with one of the query engines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import duckdb
import polars
import pyarrow.dataset


def count_with_duckdb(path: Path) -> int:
    """Return how many records DuckDB finds by a glob."""
    found = duckdb.connect().execute(f"SELECT count(*) FROM read_json('{path}/*/*/*/payload.jsonl')").fetchone()
    assert found is not None
    return int(found[0])


def count_with_polars(path: Path) -> int:
    """Return how many records Polars finds by a glob; it maps the files."""
    return int(polars.scan_ndjson(f"{path}/*/*/*/payload.jsonl").select(polars.len()).collect().item())


def dataset(path: Path, **options: Any) -> Any:
    """Return all payloads below a directory as pyarrow finds them."""
    return pyarrow.dataset.dataset(path, format="json", ignore_prefixes=[".", "_", "metadata"], **options)


def count_with_pyarrow(path: Path) -> int:
    """Return how many records pyarrow finds by walking."""
    return int(dataset(path).to_table().num_rows)


READERS: Final[dict[str, Callable[[Path], int]]] = {
    "duckdb": count_with_duckdb,
    "polars": count_with_polars,
    "pyarrow": count_with_pyarrow,
}
