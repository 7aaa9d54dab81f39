"""Generates large state tables, and measures what they cost; `make bench-state` runs `measure`.

Another build can be measured beside this one: it is named by the interpreter of its environment. Leaves no mount, no
process, no server and no file behind.
"""

from __future__ import annotations

import argparse
import shutil
import sqlite3
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import psycopg

from benchmarks.daemons import BenchmarkError
from benchmarks.machine import describe_machine
from benchmarks.measure import say
from benchmarks.private_mounts import enter_private_mounts
from benchmarks.report import record
from benchmarks.state.changes import CHANGES
from benchmarks.state.generate import RefusalError, generate
from benchmarks.state.measure import LIST, WORKS, Build, StateMeasurement, state_measurement
from benchmarks.state.report import StateReport
from benchmarks.state.results import StateResults
from benchmarks.state.shape import DATES, QUERIES, UNREADY_PERCENT, Shape, usual_shape
from benchmarks.state.stores import SQLITE, TITLES, Stores
from benchmarks.workspace import other_build, positive, stoppable, words_of, workspace

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "performance-state.md"
SIZES: Final = (10_000, 100_000, 1_000_000)
QUICK_SIZES: Final = (1000, 3000)
NAMES: Final = (1000, 10_000, 100_000)
QUICK_NAMES: Final = (300,)
_ROUNDS: Final = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says; return 1 if anything failed, 2 if it was refused."""
    options = _parser().parse_args(argv)
    if options.command == "generate":
        try:
            _generate(options)
        except (RefusalError, ValueError, OSError, sqlite3.Error, psycopg.Error) as error:
            say(f"not generated: {error}")
            return 2
        return 0
    return _measure(options, argv if argv is not None else sys.argv[1:])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.state", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    made = commands.add_parser("generate", help="write a state table, the same one for the same arguments")
    made.add_argument("--rows", type=positive, required=True, metavar="N", help="how many rows")
    made.add_argument("--to", required=True, metavar="TARGET", help="sqlite:PATH or postgresql://...")
    made.add_argument("--customers", type=positive, metavar="N", help="as many as the rows need")
    made.add_argument("--queries", type=positive, default=QUERIES, metavar="N", help=f"{QUERIES} for each customer")
    made.add_argument("--dates", type=positive, default=DATES, metavar="N", help=f"at most {DATES} for each query")
    made.add_argument(
        "--unready", type=int, choices=range(100), default=UNREADY_PERCENT, metavar="PERCENT", help=f"{UNREADY_PERCENT}"
    )
    made.add_argument("--seed", type=int, default=0, metavar="N", help="0")
    made.add_argument("--raw", type=Path, metavar="DIR", help="write raw files below this new raw root")
    made.add_argument(
        "--raw-partitions", type=positive, default=1000, metavar="N", help="for the first 1,000 ready ones"
    )

    measured = commands.add_parser("measure", help="measure time, memory and latency by size of the state")
    measured.add_argument("--quick", action="store_true", help="small tables, one round: to see that it works")
    measured.add_argument(
        "--record", action="store_true", help=f"write the report into {DOCUMENT.name}, with its plots"
    )
    measured.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    measured.add_argument("--directory", type=Path, help="where to make the tables (the system's temporary directory)")
    measured.add_argument(
        "--only", type=partial(words_of, WORKS), default=list(WORKS), metavar="WORKS", help=", ".join(WORKS)
    )
    measured.add_argument(
        "--stores", type=partial(words_of, list(TITLES)), default=list(TITLES), metavar="STORES", help=", ".join(TITLES)
    )
    kinds = [change.key for change in CHANGES]
    measured.add_argument(
        "--changes", type=partial(words_of, kinds), default=kinds, metavar="KINDS", help=", ".join(kinds)
    )
    measured.add_argument(
        "--sizes", type=_sizes, metavar="N,...", help="ready partitions; 10,000,000 need 10 GB of disk"
    )
    measured.add_argument("--rounds", type=positive, metavar="N", help=f"{_ROUNDS}")
    beside = measured.add_mutually_exclusive_group()
    beside.add_argument(
        "--other", type=other_build, metavar="PYTHON", help="measure this interpreter's build beside this one, in turns"
    )
    beside.add_argument("--layout", metavar="LAYOUT", help="measure this layout beside the layout plain, in turns")
    return parser


def _sizes(text: str) -> list[int]:
    return sorted({positive(word) for word in text.split(",")})


def _generate(options: argparse.Namespace) -> None:
    customers = options.customers or -(-options.rows // (options.queries * options.dates))
    shape = Shape(options.rows, customers, options.queries, options.dates, options.unready, options.seed)
    began = time.monotonic()
    generate(shape, options.to, options.raw, options.raw_partitions)
    say(f"{shape.title} in {time.monotonic() - began:.1f} s")


def _measure(options: argparse.Namespace, argv: Sequence[str]) -> int:
    sizes = options.sizes or (QUICK_SIZES if options.quick else SIZES)
    rounds = options.rounds or (1 if options.quick else _ROUNDS)
    builds = [Build(sys.executable, results := StateResults(), options.layout)]
    if options.other or options.layout:
        builds.append(Build(options.other or sys.executable, StateResults()))
    began = time.monotonic()
    words = [word for word in argv if word not in ("measure", "--record")]
    report = StateReport(
        command=f'make bench-state ARGS="{" ".join(words)}"' if words else "make bench-state",
        made_on=datetime.now(UTC).date(),
        machine={"sqlite": sqlite3.sqlite_version},
        rounds=rounds,
        is_quick=options.quick,
        elapsed_s=0.0,
        results=results,
        other=builds[1].results if builds[1:] else None,
    )

    def keep() -> None:
        # After each table: who interrupts the rest has what there is.
        report.elapsed_s = time.monotonic() - began
        if options.json:
            options.json.write_bytes(report.as_json())

    with (
        stoppable(),
        workspace(options.directory) as base,
        closing(Stores(base)) as stores,
        state_measurement(builds, base, options.only, options.changes, rounds, is_quick=options.quick) as measurement,
    ):
        report.machine.update(describe_machine(base))
        for size in sizes if set(options.only) - {LIST} else ():
            # So many more rows that as many as asked for are ready.
            shape = usual_shape(-(-size * 100 // (100 - UNREADY_PERCENT)))
            for store in options.stores:
                _measure_one(measurement, stores, store, size, shape)
                report.machine.update(stores.versions())
                keep()
        if LIST in options.only:
            for names in QUICK_NAMES if options.quick else NAMES:
                wide = Shape(names, names, queries=1, dates=1, unready_percent=0)
                _measure_one(measurement, stores, SQLITE, None, wide)
                keep()
    print(report.as_markdown({}))
    if options.record:
        record(report, DOCUMENT)
    return 1 if results.failures else 0


def _measure_one(measurement: StateMeasurement, stores: Stores, key: str, size: int | None, shape: Shape) -> None:
    """Fill a store and measure it; `size` None measures the listing of its top directory."""
    say(f"{TITLES[key]}: {shape.title}")
    try:
        with stores.filled(key, shape) as store:
            if size is None:
                measurement.measure_names(key, shape, store)
            else:
                measurement.measure(key, size, shape, store)
    except (BenchmarkError, OSError, sqlite3.Error, psycopg.Error) as error:
        measurement.results.failures.append(f"{TITLES[key]}, {shape.rows:,}: {error}")
        say(f"  {measurement.results.failures[-1]}")
    for raw in measurement.base.glob("raw-*"):
        shutil.rmtree(raw)


if __name__ == "__main__":
    enter_private_mounts("benchmarks.state", sys.argv[1:])
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
