"""The benchmark's command line; `make bench` runs it. Leaves no mount and no file behind."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.contenders import Bindfs, RawTree, Readyfs, Site
from benchmarks.measure import LARGE_WORK, TREE_WORKS, TURNS, Measured, measure, measure_in_turns
from benchmarks.report import Report, record
from readyfs.demo.producer import LogicalPartition, Producer
from readyfs.demo.world import WorldSpec, make_world

DOCUMENT: Final = Path(__file__).parent.parent / "docs" / "performance.md"
_MB: Final = 1 << 20


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print the table, and write what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small world and one round, to see that it works")
    parser.add_argument("--rounds", type=int, help="how often each contender is measured (3)")
    parser.add_argument("--record", action="store_true", help=f"write the figures into {DOCUMENT.name} and its JSON")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--directory", type=Path, help="where to make the world (the system's temporary directory)")
    options = parser.parse_args(argv)
    days, large_mb = (1, 4) if options.quick else (100, 512)
    rounds = options.rounds or (1 if options.quick else 3)
    with tempfile.TemporaryDirectory(prefix="readyfs-bench-", dir=options.directory) as name:
        base = Path(name)
        print("making the world", file=sys.stderr)
        tree, partitions = _make_tree(base / "tree", days)
        large = _make_large(base / "large", large_mb)
        results = measure([RawTree(tree), Bindfs(tree), Readyfs(tree)], TREE_WORKS, large=False, rounds=rounds)
        readers: list[Measured] = [RawTree(large), Bindfs(large), Readyfs(large)]
        results |= measure(readers, [LARGE_WORK], large=True, rounds=rounds)
        results |= measure_in_turns(readers, LARGE_WORK, turns=3 if options.quick else TURNS)
    words = [word for word in (argv if argv is not None else sys.argv[1:]) if word != "--record"]
    command = f'make bench ARGS="{" ".join(words)}"' if words else "make bench"
    report = Report(command, partitions, large_mb, rounds, results)
    print(report.as_markdown())
    if options.json:
        options.json.write_bytes(report.as_json())
    if options.record:
        record(report, DOCUMENT)


def _make_tree(base: Path, days: int) -> tuple[Site, int]:
    world = make_world(
        base / "world", WorldSpec(customers=20, queries=5, days=days, records=6, large_bytes=0, uneven=False)
    )
    return Site(base, world.state_file, world.raw_root), len(world.ready)


def _make_large(base: Path, large_mb: int) -> Site:
    base.mkdir()
    site = Site(base, base / "state.db", base / "raw")
    line = b'{"n":"%s"}\n' % (b"x" * 1014)
    with Producer(site.state_file, site.raw_root) as producer:
        run = producer.begin_run(LogicalPartition("s1", "c1", "q1", "2024-06-01"), "r1")
        with (run.directory / "payload.jsonl").open("wb") as file:
            for _ in range(large_mb):
                file.write(line * (_MB // len(line)))
        producer.seal_run(run)
        producer.publish(run)
    return site


if __name__ == "__main__":
    main()
