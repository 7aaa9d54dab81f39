"""Measure this build of readyfs beside another; `make bench-compare` runs it. Leaves nothing behind.

The other build is named by the interpreter of its environment. Each round mounts both in every way of reading, the
other twice. Nothing is compared across rounds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import orjson

from benchmarks.comparison import AGAIN, OTHER, THIS, comparison_document, comparison_lines, turn
from benchmarks.contenders import Contender, RawTree, ways_of_reading
from benchmarks.machine import describe_machine, render_machine
from benchmarks.measure import Measurement, say
from benchmarks.private_mounts import enter_private_mounts
from benchmarks.results import Results
from benchmarks.sites import make_small
from benchmarks.works import WORKS
from benchmarks.workspace import other_build, positive, stoppable, words_of, workspace

WAYS: Final = tuple(way.key for way in ways_of_reading(sys.executable, ""))
COMPARED: Final = tuple(work for work in WORKS if work.key in ("walk", "small"))
"""In this order on one mount: names are known when files are read, so that each has its own row."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print the tables; return 1 if anything failed."""
    options = _parse(argv)
    began = time.monotonic()
    results = Results()
    with stoppable(), workspace(options.directory) as base:
        contenders = _contenders(options, results)
        say(f"making {options.partitions:,} partitions")
        site = make_small(base / "small", options.partitions)
        for number in range(options.rounds):
            say(f"round {number + 1} of {options.rounds}")
            # All works on one mount, in the order of the table.
            Measurement(turn(contenders, number), rounds=1, quick=True, results=results).measure(site, COMPARED)
            if results.failures:
                return 1
        machine = describe_machine(base)
    print(
        f"{site.title}, {options.rounds} rounds in {max(1, round((time.monotonic() - began) / 60))} min, medians. "
        f"Machine: {render_machine(machine)}."
    )
    print("\n".join(comparison_lines(results, COMPARED, options.ways)))
    if results.missing:
        print("\nNot measured:\n")
        print("\n".join(f"- {who}: {why}." for who, why in results.missing.items()))
    if options.json:
        options.json.write_bytes(
            orjson.dumps(comparison_document(results, COMPARED, options.ways), option=orjson.OPT_INDENT_2)
        )
    return 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument(
        "--other", type=other_build, required=True, metavar="PYTHON", help="the interpreter of the other build"
    )
    parser.add_argument("--rounds", type=positive, default=9, metavar="N", help="9")
    parser.add_argument("--partitions", type=positive, default=3000, metavar="N", help="of two files each; 3,000")
    parser.add_argument("--ways", type=partial(words_of, WAYS), default=WAYS, metavar="WAYS", help=", ".join(WAYS))
    parser.add_argument("--directory", type=Path, help="where to make the world (the system's temporary directory)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rounds to this file")
    return parser.parse_args(argv)


def _contenders(options: argparse.Namespace, results: Results) -> list[Contender]:
    found: list[Contender] = [RawTree()]
    builds = ((options.other, OTHER), (options.other, AGAIN), (sys.executable, THIS))
    by_build = [ways_of_reading(python, suffix) for python, suffix in builds]
    for way, *same_way in zip(WAYS, *by_build, strict=True):
        for contender in same_way if way in options.ways else ():
            obstacle = contender.obstacle()
            if obstacle is None:
                found.append(contender)
            else:
                results.missing[contender.title] = obstacle
    return found


if __name__ == "__main__":
    enter_private_mounts("benchmarks.compare", sys.argv[1:])
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
