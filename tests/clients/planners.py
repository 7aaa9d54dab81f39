"""Clients in two halves: what is known of a tree at planning, and what is read later.

Each takes the top of a tree and plans over it. What it returns reads, and gives every record that was found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import polars
import pyarrow
import pyarrow.dataset

from tests.clients.flips import Row

Found = Iterable[Sequence[object]]
"""Records as a client gives them: the values of its columns."""
CLICKS: Final = ("clicks",)


@dataclass(frozen=True, slots=True)
class Planner:
    """One client: `plan` returns what reads; `columns` says what of each record it finds."""

    name: str
    plan: Callable[[Path], Callable[[], Found]]
    columns: tuple[str, ...] = CLICKS
    layout: str = "plain"

    def choose(self, rows: Iterable[Row]) -> list[tuple[object, ...]]:
        """Return what it should find of these records, in order."""
        return sorted(tuple(getattr(row, column) for column in self.columns) for row in rows)


HIVE_TYPES: Final = (
    "hive_partitioning = true, hive_types = {customer_id: VARCHAR, query_name: VARCHAR, logical_date: VARCHAR}"
)
PATH_COLUMNS: Final = Row._fields[:3]


def duckdb_over(pattern: str, reader: str, columns: str = "clicks", options: str = "") -> Callable[[Path], Any]:
    """Plan a relation of DuckDB over a glob."""

    def plan(top: Path) -> Callable[[], Found]:
        connection = duckdb.connect()
        more = f", {options}" if options else ""
        relation = connection.sql(f"SELECT {columns} FROM {reader}('{top}/{pattern}'{more})")
        return relation.fetchall

    return plan


def duckdb_over_a_list(top: Path) -> Callable[[], Found]:
    """Glob first, and read what was listed."""
    connection = duckdb.connect()
    files = [file for (file,) in connection.execute(f"SELECT file FROM glob('{top}/*/*/*/payload.jsonl')").fetchall()]
    return lambda: connection.execute("SELECT clicks FROM read_json(?)", [files]).fetchall()


def polars_over(
    scan: Callable[..., Any], pattern: str, columns: Sequence[str], **options: Any
) -> Callable[[Path], Any]:
    """Plan a lazy frame of Polars."""

    def plan(top: Path) -> Callable[[], Found]:
        frame = scan(f"{top}/{pattern}", **options).select(columns)
        frame.collect_schema()
        return lambda: frame.collect().rows()

    return plan


def pyarrow_over(format: str, ignored: str, columns: Sequence[str], **options: Any) -> Callable[[Path], Any]:
    """Plan a dataset of pyarrow over a directory."""

    def plan(top: Path) -> Callable[[], Found]:
        prefixes = [".", "_", "metadata", ignored]
        data = pyarrow.dataset.dataset(top, format=format, ignore_prefixes=prefixes, **options)
        return lambda: tuples(data.to_table(columns=list(columns)), columns)

    return plan


def tuples(table: Any, columns: Sequence[str]) -> Iterator[tuple[object, ...]]:
    """Return the rows of a table of Arrow."""
    return zip(*(table[column].to_pylist() for column in columns), strict=True)


_STRINGS: Final = pyarrow.schema([(name, pyarrow.string()) for name in PATH_COLUMNS])
_HIVE: Final = pyarrow.dataset.partitioning(_STRINGS, flavor="hive")
_POLARS_HIVE: Final = {"hive_schema": dict.fromkeys(PATH_COLUMNS, polars.String)}
SMALL: Final = (
    Planner("DuckDB", duckdb_over("*/*/*/payload.jsonl", "read_json")),
    Planner("DuckDB, **", duckdb_over("**/payload.jsonl", "read_json")),
    Planner("DuckDB, list of files", duckdb_over_a_list),
    Planner("DuckDB, Parquet", duckdb_over("*/*/*/rows.parquet", "read_parquet")),
    Planner(
        "DuckDB, Hive",
        duckdb_over("*/*/*/payload.jsonl", "read_json", ", ".join(Row._fields), HIVE_TYPES),
        Row._fields,
        "hive",
    ),
    Planner("Polars", polars_over(polars.scan_ndjson, "*/*/*/payload.jsonl", CLICKS)),
    Planner("Polars, Parquet", polars_over(polars.scan_parquet, "*/*/*/rows.parquet", CLICKS)),
    Planner(
        "Polars, Parquet, Hive",
        polars_over(polars.scan_parquet, "*/*/*/rows.parquet", Row._fields, hive_partitioning=True, **_POLARS_HIVE),
        Row._fields,
        "hive",
    ),
    Planner("pyarrow", pyarrow_over("json", "rows", CLICKS)),
    Planner("pyarrow, Parquet", pyarrow_over("parquet", "payload", CLICKS)),
    Planner(
        "pyarrow, Parquet, Hive",
        pyarrow_over("parquet", "payload", Row._fields, partitioning=_HIVE),
        Row._fields,
        "hive",
    ),
)
"""What the tests' own environment has."""
