"""Measures what the consumer's questions cost beside plain SQL in `sqlite3` and `psql`; `make bench-flows` runs it.

Both have the same table and indexes, write to nowhere, and take turns. What a server does for them counts. Leaves no
process, no server and no file behind.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from benchmarks.daemons import BenchmarkError
from benchmarks.flows.changes import BAR_S as CHANGES_BAR_S
from benchmarks.flows.changes import measure_changes
from benchmarks.flows.contest import run_whole
from benchmarks.flows.questions import BAR, BAR_BYTES, Result, measure, questions
from benchmarks.measure import say
from benchmarks.state.shape import Shape, usual_shape
from benchmarks.state.stores import POSTGRESQL, SQLITE, TITLES, Stores
from benchmarks.workspace import positive, stoppable, workspace

ROWS: Final = 1_000_000
START_BARS_S: Final = {SQLITE: 0.25, POSTGRESQL: 0.6}
"""Seconds of the processor for `latest` of a small table."""
_STARTS: Final = 5


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what the command line says; return 1 if anything failed or a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flows", description=__doc__)
    parser.add_argument("--rows", type=positive, default=ROWS, help="rows of the table (default: %(default)s)")
    parser.add_argument("--rounds", type=positive, default=3, help="how often each is measured (default: %(default)s)")
    parser.add_argument("--store", action="append", choices=[SQLITE, POSTGRESQL], help="only this one; repeatable")
    options = parser.parse_args(argv)
    try:
        with stoppable(), workspace(None) as base, closing(Stores(base)) as stores:
            fits = [
                fit
                for store in options.store or (SQLITE, POSTGRESQL)
                for fit in _measure_store(stores, store, usual_shape(options.rows), options.rounds)
            ]
    except BenchmarkError as error:
        say(f"not measured: {error}")
        return 1
    changes = measure_changes()
    say(f"changes: {changes.changes:,} of {changes.partitions:,} partitions, {changes.cpu_s:.3f} s of CPU")
    return 0 if all(fits) and changes.cpu_s <= CHANGES_BAR_S else 1


def _measure_store(stores: Stores, key: str, shape: Shape, rounds: int) -> Iterator[bool]:
    readyfs = str(Path(sys.executable).with_name("readyfs"))
    with stores.filled(key, shape) as full, stores.filled(key, usual_shape(20)) as small:
        full.warm()
        server = stores.server_pid() if key == POSTGRESQL else None
        say(f"{TITLES[key]}: {shape.title}, primary key over source, customer, query and date")
        start = [readyfs, "latest", "--state", small.url]
        started_s = statistics.median(run_whole(start, None).cpu_s for _ in range(_STARTS))
        say(f"  start of latest: {started_s:.3f} s of CPU (bar {START_BARS_S[key]})")
        yield started_s <= START_BARS_S[key]
        last_day = shape.key(shape.rows - 1).logical_date
        for question in questions(last_day):
            sql = question.postgresql if server is not None else question.sqlite
            program = ["psql", "-X", "-A", "-t", "-v", "FETCH_COUNT=1000", "-c", sql, "-d", full.url]
            plain = program if server is not None else ["sqlite3", full.url, sql]
            ours, empty = ([readyfs, *question.arguments, "--state", store.url] for store in (full, small))
            yield _tell(measure(key, question, (ours, plain, empty), server, rounds))


def _tell(result: Result) -> bool:
    ours, plain = result.ours, result.plain
    say(
        f"  {result.name:16} {ours.cpu_s:6.2f} s of CPU, plain SQL {plain.cpu_s:6.2f}, {result.ratio:.2f} times; "
        f"{ours.memory / 1e6:.0f} MB; first byte {result.first_s:.3f} s, plain {result.plain_first_s:.3f}, "
        f"of an empty table {result.empty_s:.3f}"
    )
    return result.ratio <= BAR and ours.memory <= BAR_BYTES


if __name__ == "__main__":
    sys.exit(main())
