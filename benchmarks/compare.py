"""Measure this build of readyfs beside another; `make bench-compare` runs it. Leaves nothing behind.

The other build is named by the interpreter of its environment. Each round mounts both in every way of reading, the
other twice. Nothing is compared across rounds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import orjson

from benchmarks.comparison import AGAIN, OTHER, THIS, comparison_document, comparison_lines, memory_lines, turn
from benchmarks.contenders import Contender, RawTree, ways_of_reading
from benchmarks.machine import describe_machine, render_machine
from benchmarks.measure import Measurement, say
from benchmarks.private_mounts import enter_private_mounts
from benchmarks.results import Results
from benchmarks.sites import Site, make_large, make_small
from benchmarks.works import WORKS
from benchmarks.workspace import other_build, positive, stoppable, words_of, workspace

WAYS: Final = tuple(way.key for way in ways_of_reading(sys.executable, ""))
GROUPS: Final = (
    ("walk", "small"),
    ("find",),
    ("duckdb",),
    ("large", "large-random", "large-mmap", "large-parallel"),
)
"""Works of one mount, in this order: names are known when files are read, so that each has its own row."""
KEYS: Final = tuple(key for group in GROUPS for key in group)
USUAL: Final = ("walk", "small")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print the tables; return 1 if anything failed."""
    options = _parse(argv)
    began = time.monotonic()
    results = Results()
    compared = [work for work in WORKS if work.key in options.only]
    with stoppable(), workspace(options.directory) as base:
        contenders = _contenders(options, results)
        sites = list(_sites(options, base, {work.site for work in compared}))
        for number in range(options.rounds):
            say(f"round {number + 1} of {options.rounds}")
            measurement = Measurement(turn(contenders, number), rounds=1, quick=True, results=results)
            for site, group in ((site, group) for site in sites for group in GROUPS):
                works = [work for work in compared if work.key in group and work.site == site.key]
                if works:
                    measurement.measure(site, works)
            if results.failures:
                return 1
        machine = describe_machine(base)
    minutes = max(1, round((time.monotonic() - began) / 60))
    worlds = "; ".join(site.title for site in sites)
    print(f"{worlds}, {options.rounds} rounds in {minutes} min, medians. Machine: {render_machine(machine)}.")
    print("\n".join(comparison_lines(results, compared, options.ways)))
    print("\n".join(memory_lines(results, [site.key for site in sites], options.ways)))
    if results.missing:
        print("\nNot measured:\n")
        print("\n".join(f"- {who}: {why}." for who, why in results.missing.items()))
    if options.json:
        options.json.write_bytes(
            orjson.dumps(comparison_document(results, compared, options.ways), option=orjson.OPT_INDENT_2)
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
    parser.add_argument("--only", type=partial(words_of, KEYS), default=USUAL, metavar="WORKS", help=", ".join(KEYS))
    parser.add_argument("--large-mb", type=positive, default=64, metavar="N", help="of the large file; 64")
    parser.add_argument("--loop", choices=("python", "native"), help="the loop of this build (its own choice)")
    parser.add_argument("--directory", type=Path, help="where to make the world (the system's temporary directory)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rounds to this file")
    return parser.parse_args(argv)


def _sites(options: argparse.Namespace, base: Path, wanted: Collection[str]) -> Iterator[Site]:
    if "small" in wanted:
        say(f"making {options.partitions:,} partitions")
        yield make_small(base / "small", options.partitions)
    if "large" in wanted:
        say("making large files")
        yield make_large(base / "large", options.large_mb)


def _contenders(options: argparse.Namespace, results: Results) -> list[Contender]:
    found: list[Contender] = [RawTree()]
    builds = ((options.other, OTHER), (options.other, AGAIN), (sys.executable, THIS))
    by_build = [ways_of_reading(python, suffix) for python, suffix in builds]
    for way, *same_way in zip(WAYS, *by_build, strict=True):
        for contender in same_way if way in options.ways else ():
            if options.loop and contender.key.endswith(THIS) and "pyfuse3" not in contender.options:
                contender = contender.looping(options.loop)
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
