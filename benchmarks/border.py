"""From which size on passthrough is worth its price: what it costs to open, read and close a file, by its size.

`make bench-border` runs it. Each way of reading is mounted afresh in every round, in an order that turns. On each
mount every size has a directory of its own. Names are looked up first; then the files are read once, and then again.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.comparison import turn
from benchmarks.contenders import Contender, Mounted, all_contenders
from benchmarks.machine import describe_machine, render_machine
from benchmarks.measure import say
from benchmarks.private_mounts import enter_private_mounts
from benchmarks.results import RAW
from benchmarks.sites import SOURCE, Site
from benchmarks.tables import markdown_table
from benchmarks.work.view import View
from benchmarks.workers import Workers
from benchmarks.works import WORKS, Phase, Work
from benchmarks.workspace import positive, stoppable, words_of, workspace
from readyfs.demo.producer import LogicalPartition, Producer

KIB: Final = 1024
SIZES: Final = tuple(KIB << power for power in range(13))
"""1 KiB to 4 MiB."""
WAYS: Final = (RAW, "opened", "passthrough", "cached")
AGAINS: Final = 3
_FEWEST, _MOST = 16, 2000
"""Of small files there are more than passthrough keeps registered after their last use (1,024)."""
_WALK: Final = next(work for work in WORKS if work.key == "walk")
_FILES: Final = Work("files", "read the files of a directory", "small", "border")

Cell = tuple[str, Phase, int]
"""Contender, phase and size."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Seconds a file, round by round: of the clock, and of the daemon's processor."""

    wall: dict[Cell, list[float]] = field(default_factory=lambda: defaultdict(list))
    cpu: dict[Cell, list[float]] = field(default_factory=lambda: defaultdict(list))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print the tables and the borders."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.border", description=__doc__)
    parser.add_argument("--rounds", type=positive, default=5, metavar="N", help="5")
    parser.add_argument(
        "--mb", type=positive, default=128, metavar="N", help=f"of each size, {_MOST} files at most; 128"
    )
    parser.add_argument("--ways", type=partial(words_of, WAYS), default=WAYS, metavar="WAYS", help=", ".join(WAYS))
    parser.add_argument("--directory", type=Path, help="where to make the world (the system's temporary directory)")
    options = parser.parse_args(argv)
    contenders = []
    for contender in all_contenders():
        if contender.key in options.ways:
            obstacle = contender.obstacle()
            if obstacle is None:
                contenders.append(contender)
            else:
                say(f"{contender.title}: {obstacle}")
    with stoppable(), workspace(options.directory) as base:
        say("making files")
        site = make_sizes(base / "border", options.mb)
        figures = _measure(site, options.mb, contenders, options.rounds)
        print(f"Medians of {options.rounds} rounds. Machine: {render_machine(describe_machine(base))}.\n")
    titles = {contender.key: contender.title for contender in contenders}
    medians = {cell: median(seconds) for cell, seconds in figures.wall.items()}
    print("\n".join(border_table("microseconds", medians, titles)))
    print()
    cpu_medians = {cell: median(seconds) for cell, seconds in figures.cpu.items()}
    print("\n".join(border_table("microseconds of the daemon's CPU", cpu_medians, titles)))
    for phase in (Phase.FIRST, Phase.AGAIN):
        found = border(medians, phase)
        where = "at no size" if found is None else f"from {found // KIB:,} KiB on"
        print(f"\nRead {phase.value}: passthrough is no slower than opened {where}.")
    return 0


def files_of(size: int, mb: int) -> int:
    """Return how many files of a size make so many MiB, within bounds."""
    return min(max(mb * KIB * KIB // size, _FEWEST), _MOST)


def make_sizes(base: Path, mb: int) -> Site:
    """Make one partition for each size, with its files."""
    base.mkdir()
    with Producer(base / "state.db", base / "raw") as producer:
        for size in SIZES:
            run = producer.begin_run(_partition(size), "r1", b"{}\n")
            for number in range(files_of(size, mb)):
                (run.directory / f"part-{number:05d}").write_bytes(b"x" * size)
            producer.seal_run(run)
            producer.publish(run)
    return Site("border", "files of 1 KiB to 4 MiB", base, len(SIZES))


def border(medians: Mapping[Cell, float], phase: Phase) -> int | None:
    """Return the size from which on passthrough is at no size slower than opened."""
    found = None
    for size in reversed(SIZES):
        opened, passthrough = (medians.get((way, phase, size)) for way in ("opened", "passthrough"))
        if opened is None or passthrough is None or passthrough > opened:
            break
        found = size
    return found


def border_table(name: str, medians: Mapping[Cell, float], titles: Mapping[str, str]) -> list[str]:
    """Return microseconds a file by size, of the contenders that have any."""
    measured = {key for key, _, _ in medians}
    columns = [(key, phase) for key in titles if key in measured for phase in (Phase.FIRST, Phase.AGAIN)]
    rows = [
        (f"{size // KIB:,} KiB", *(f"{medians[key, phase, size] * 1e6:,.0f}" for key, phase in columns))
        for size in SIZES
    ]
    return markdown_table((name, *(f"{titles[key]}, {phase.value}" for key, phase in columns)), rows)


def _measure(site: Site, mb: int, contenders: Sequence[Contender], rounds: int) -> Figures:
    figures = Figures()
    with closing(Workers()) as workers:
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            site.warm()
            for contender in turn(contenders, number):
                with contender.mounted(site) as mounted:
                    workers.run(_WALK, mounted)
                    for size in SIZES:
                        for phase, times in ((Phase.FIRST, 1), (Phase.AGAIN, AGAINS)):
                            cell = (contender.key, phase, size)
                            cpu_s = mounted.daemon.cpu_s() if mounted.daemon else 0.0
                            walls = [_read(site, mounted, size, workers) for _ in range(times)]
                            figures.wall[cell].append(median(walls))
                            if mounted.daemon:
                                spent_s = mounted.daemon.cpu_s() - cpu_s
                                figures.cpu[cell].append(spent_s / times / files_of(size, mb))
    return figures


def _read(site: Site, mounted: Mounted, size: int, workers: Workers) -> float:
    partition = _partition(size)
    with Producer(site.state_file, site.raw_root) as producer:
        raw = producer.run_directory(partition, "r1")
    top = raw if mounted.daemon is None else Path(mounted.view.top, partition.path)
    timing = workers.run(_FILES, Mounted(View(str(top)), mounted.daemon))
    return timing.seconds / (timing.count // size)


def _partition(size: int) -> LogicalPartition:
    return LogicalPartition(SOURCE, f"{size:010d}", "by_size", "2024-01-01")


if __name__ == "__main__":
    enter_private_mounts("benchmarks.border", sys.argv[1:])
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
