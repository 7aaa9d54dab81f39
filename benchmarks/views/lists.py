"""DuckDB's first count over many files of a view that nobody has looked at: by the list of a manifest, and by globs.

`python -m benchmarks.views.lists` prints one JSON object. Rounds alternate. Each has a daemon of its own, and a process
of its own that asks. What asking costs is measured there: from the path of the view to the answer.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.measure import say
from benchmarks.views.mounted import make_world, mounted
from benchmarks.workspace import positive, stoppable, workspace

WAYS: Final = ("glob", "deep", "list")
_GLOBS: Final = {"glob": "*/*/*/payload.jsonl", "deep": "**/payload.jsonl"}
# Where columns are named DuckDB opens every file twice, and else only those that it guesses them by.
_QUERY: Final = "SELECT count(*) FROM read_json(?, format = 'newline_delimited', hive_partitioning = false)"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what the command line says; return 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.views.lists", description=__doc__)
    parser.add_argument("--files", type=positive, default=10_000, help="partitions, of which each has one payload")
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--ask", nargs=2, metavar=("WAY", "VIEW"), help="ask once, and print seconds and the answer")
    options = parser.parse_args(argv)
    if options.ask is not None:
        print(json.dumps(ask(options.ask[0], Path(options.ask[1]))))
        return 0
    with stoppable(), workspace(None) as base:
        print(json.dumps({"lists": measure(base, options.files, options.rounds)}), flush=True)
    return 0


def measure(base: Path, files: int, rounds: int) -> dict[str, object]:
    """Return the seconds of first counts, wall clock and CPU of daemon and client, and how one way is to the other."""
    say(f"{rounds} first counts over {files} files by each way")
    world = make_world(base / "listed", files, files)
    taken: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    counts = set()
    for number in range(len(WAYS) * rounds):
        way = WAYS[(number + number // len(WAYS)) % len(WAYS)]
        with mounted(world) as mount:
            view = mount.pin()
            daemon_s = mount.cpu_s()
            command = [sys.executable, "-m", "benchmarks.views.lists", "--ask", way, str(view)]
            asked = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
            taken[way].append((asked["wall_s"], asked["cpu_s"] + mount.cpu_s() - daemon_s))
            counts.add(asked["count"])
    assert len(counts) == 1, counts
    result: dict[str, object] = {"files": files, "rounds": rounds, "records": counts.pop()}
    for way, pairs in taken.items():
        result[f"{way}_s"] = round(_middle(pairs, 0), 3)
        result[f"{way}_cpu_s"] = round(_middle(pairs, 1), 3)
        result[f"list_by_{way}"] = round(_middle(taken["list"], 0) / _middle(pairs, 0), 3)
        result[f"list_by_{way}_cpu"] = round(_middle(taken["list"], 1) / _middle(pairs, 1), 3)
    return result


def _middle(pairs: Sequence[tuple[float, float]], place: int) -> float:
    return median(pair[place] for pair in pairs)


def ask(way: str, view: Path) -> dict[str, object]:
    """Count all records of a view; return what that took."""
    import duckdb
    import orjson

    with duckdb.connect() as connection:
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        files: object
        if way in _GLOBS:
            files = f"{view}/{_GLOBS[way]}"
        else:
            rows = map(orjson.loads, (view / ".manifest.jsonl").read_bytes().splitlines())
            files = [f"{view}/{file}" for row in rows for file in row["files"] if file.endswith("/payload.jsonl")]
        row = connection.execute(_QUERY, [files]).fetchone()
        assert row is not None
        return {"count": row[0], "wall_s": time.perf_counter() - wall_s, "cpu_s": time.process_time() - cpu_s}


if __name__ == "__main__":
    sys.exit(main())
