"""Counts and sums what payloads hold, with an engine that is too large for the tests' environment.

`python count_large.py ENGINE FILE...` prints what it found; it runs in the environment of `make test-clients`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final


def load(name: str) -> Any:
    """Import what is there only in that environment."""
    return import_module(name)


def with_pandas(files: list[str]) -> object:
    """Return the count by pandas."""
    return sum(len(load("pandas").read_json(path, lines=True)) for path in files)


def with_dask(files: list[str]) -> object:
    """Return the sum by dask."""
    return int(load("dask.dataframe").read_json(files, lines=True).number.sum().compute(scheduler="threads"))


def with_datafusion(files: list[str]) -> object:
    """Return counts and sums by DataFusion, file by file, because it looks into no subdirectory of other layouts."""
    found = []
    for path in files:
        context = load("datafusion").SessionContext()
        context.register_json("seen", os.path.abspath(path), file_extension=".jsonl")
        found.append(context.sql("SELECT count(*), sum(number) FROM seen").to_pydict())
    return found


def with_datasets(files: list[str]) -> object:
    """Return the count by Hugging Face datasets, with a cache of its own."""
    datasets = load("datasets")
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as cache:
        return datasets.load_dataset("json", data_files=files, split="train", cache_dir=cache).num_rows


def with_chdb(files: list[str]) -> object:
    """Return count and sum by ClickHouse's engine."""
    common = os.path.commonpath([os.path.abspath(path) for path in files])
    source = f"file('{common}/*/payload.jsonl', 'JSONEachRow', 'number Int64')"
    return str(load("chdb").query(f"SELECT count(), sum(number) FROM {source}", "CSV"))


ENGINES: Final[dict[str, Callable[[list[str]], object]]] = {
    "pandas": with_pandas,
    "dask": with_dask,
    "DataFusion": with_datafusion,
    "Hugging Face datasets": with_datasets,
    "ClickHouse (chdb)": with_chdb,
}


def main() -> None:
    """Count and print."""
    engine, *files = sys.argv[1:]
    print(ENGINES[engine](files))


if __name__ == "__main__":
    main()
