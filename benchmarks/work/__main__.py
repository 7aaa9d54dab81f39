"""The entry of a process that works for the benchmark."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import orjson

from benchmarks.work import duck, names, probe, reading, spark
from benchmarks.work.timing import Timing
from benchmarks.work.view import View, parse_view

WORK: Final[dict[str, Callable[[View], Timing]]] = {
    "walk": names.walk,
    "ls": names.ls,
    "find": names.find,
    "du": names.du,
    "partitions": names.partitions,
    "list": names.list_top,
    "list-long": names.list_top_long,
    "small": reading.small,
    "files": reading.files,
    "list-to-read": reading.list_to_read,
    "listed": reading.listed,
    "small-parallel": reading.small_parallel,
    "large": reading.large,
    "large-random": reading.large_random,
    "large-mmap": reading.large_mmap,
    "large-parallel": reading.large_parallel,
    "duckdb": duck.duckdb,
}


def main() -> None:
    """Do what the command line names."""
    kind, *arguments = sys.argv[1:]
    match kind:
        case "spark":
            spark.serve()
        case "probe":
            probe.probe(Path(arguments[0]), *arguments[1:])
        case "watch":
            probe.watch(arguments[0])
        case _:
            timing = WORK[kind](parse_view(arguments[0]))
            sys.stdout.write(orjson.dumps(timing).decode())


if __name__ == "__main__":
    main()
