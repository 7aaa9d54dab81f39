"""Clients that plan by a manifest: they are given the list of files, and never look for any."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import duckdb
import orjson
import polars
import pyarrow.dataset

from tests.clients.flips import Row
from tests.clients.planners import CLICKS, Found, Planner, tuples
from tests.clients.tool_planners import copied_by
from tests.clients.trees import readyfs


def listed(top: Path) -> list[str]:
    """Return the payloads below a directory, as its manifest has them."""
    rows = map(orjson.loads, (top / ".manifest.jsonl").read_bytes().splitlines())
    return [f"{top}/{file}" for row in rows for file in row["files"] if file.endswith("/payload.jsonl")]


def duckdb_over_a_manifest(top: Path) -> Callable[[], Found]:
    """Read the files of the list."""
    connection, files = duckdb.connect(), listed(top)
    return lambda: connection.execute("SELECT clicks FROM read_json(?)", [files]).fetchall()


def duckdb_by_a_script(columns: str) -> Callable[[Path], Callable[[], Found]]:
    """Run the script that the command makes, and read its views."""

    def plan(top: Path) -> Callable[[], Found]:
        connection = duckdb.connect()
        connection.execute(readyfs("manifest", str(top), "--format", "duckdb"))
        found = connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
        parts = [f'SELECT {columns} FROM "{view}"' for (view,) in found]
        return lambda: connection.execute(" UNION ALL ".join(parts)).fetchall()

    return plan


def polars_over_a_manifest(top: Path) -> Callable[[], Found]:
    """Scan the files of the list."""
    frame = polars.scan_ndjson(listed(top)).select(CLICKS)
    frame.collect_schema()
    return lambda: frame.collect().rows()


def pyarrow_over_a_manifest(top: Path) -> Callable[[], Found]:
    """Make a dataset of the files of the list."""
    data = pyarrow.dataset.dataset(listed(top), format="json")
    return lambda: tuples(data.to_table(columns=list(CLICKS)), CLICKS)


def _copier(name: str, form: str, copy: str) -> Planner:
    plan: Callable[[Path], Any] = copied_by(f"cat .manifest.{form}", copy)
    return Planner(f"{name}, manifest", plan, Row._fields)


FROM_MANIFESTS: Final = (
    Planner("DuckDB, manifest", duckdb_over_a_manifest),
    Planner("DuckDB, script of a manifest", duckdb_by_a_script("clicks")),
    Planner(
        "DuckDB, script of a manifest, Hive",
        duckdb_by_a_script(", ".join(Row._fields)),
        Row._fields,
        "hive",
    ),
    Planner("Polars, manifest", polars_over_a_manifest),
    Planner("pyarrow, manifest", pyarrow_over_a_manifest),
    _copier("rsync", "paths", 'rsync -aHX --files-from="$LIST" ./ "$OUT/"'),
    _copier("rsync -0", "paths0", 'rsync -aHX --from0 --files-from="$LIST" ./ "$OUT/"'),
    _copier("tar", "paths", 'tar -cf - -T "$LIST" | tar -C "$OUT" -xf -'),
    _copier("tar -0", "paths0", 'tar -cf - --null -T "$LIST" | tar -C "$OUT" -xf -'),
    _copier("xargs -0", "paths0", 'xargs -0 cp --parents -t "$OUT" <"$LIST"'),
)
