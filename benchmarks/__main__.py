"""The benchmark's command line; `make bench` runs it. Leaves no mount, no process and no file behind."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from benchmarks.contenders import CONTROL, Contender, all_contenders, automatic
from benchmarks.daemons import BenchmarkError
from benchmarks.latency import measure_refresh
from benchmarks.machine import describe_machine
from benchmarks.measure import Measurement, say
from benchmarks.private_mounts import enter_private_mounts
from benchmarks.report import Report, record
from benchmarks.results import Results
from benchmarks.sites import Site, make_changing, make_large, make_small
from benchmarks.works import REFRESH, WORKS
from benchmarks.workspace import other_build, positive, stoppable, words_of, workspace

DOCUMENT: Final = Path(__file__).parent.parent / "docs" / "performance.md"
IDLE_S: Final = 1.0
QUICK_IDLE_S: Final = 0.2
_REAL: Final = 2000
_PLACES: Final = {"--other": "PYTHON", "--json": "FILE", "--directory": "DIRECTORY"}
"""The options that name a place, and what a report says instead of it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the report, write what was asked for; return 1 if anything failed."""
    options = _parse(argv)
    began = time.monotonic()
    with stoppable(), workspace(options.directory) as base:
        results, contenders, sites = _measure(options, base)
        machine = describe_machine(base)
    words = shown_words(argv if argv is not None else sys.argv[1:])
    report = Report(
        command=f'make bench ARGS="{" ".join(words)}"' if words else "make bench",
        made_on=datetime.now(UTC).date(),
        machine=machine,
        contenders={contender.key: contender.title for contender in contenders},
        sites=sites,
        rounds=options.rounds,
        is_quick=options.quick,
        elapsed_s=time.monotonic() - began,
        results=results,
    )
    print(report.as_markdown({}))
    if options.json:
        options.json.write_bytes(report.as_json())
    if options.record:
        record(report, DOCUMENT)
    return 1 if results.failures else 0


def shown_words(argv: Sequence[str]) -> list[str]:
    """Return the arguments as a report can tell them: without `--record`, and without the places of this machine."""
    shown: list[str] = []
    for word in argv:
        option, has_value, _ = word.partition("=")
        if shown and shown[-1] in _PLACES:
            shown.append(_PLACES[shown[-1]])
        elif has_value and option in _PLACES:
            shown += [option, _PLACES[option]]
        elif word != "--record":
            shown.append(word)
    return shown


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    contenders = [contender.key for contender in all_contenders(sys.executable)]
    works = [*(work.key for work in WORKS), REFRESH]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small worlds, one round, no Spark: to see that it works")
    parser.add_argument("--record", action="store_true", help=f"write the report into {DOCUMENT.name}, with its plots")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    parser.add_argument("--directory", type=Path, help="where to make the worlds (the system's temporary directory)")
    parser.add_argument("--only", type=partial(words_of, works), default=works, metavar="WORKS", help=", ".join(works))
    parser.add_argument(
        "--contenders",
        type=partial(words_of, contenders),
        default=contenders,
        metavar="NAMES",
        help=", ".join(contenders),
    )
    parser.add_argument(
        "--other", type=other_build, metavar="PYTHON", help="measure another build, too: the interpreter that has it"
    )
    sizes = (("rounds", 3, 1), ("partitions", 10_000, 100), ("large-mb", 512, 8), ("state-rows", 1_000_000, 5000))
    for name, usual, _ in sizes:
        parser.add_argument(f"--{name}", type=positive, metavar="N", help=f"{usual:,}")
    options = parser.parse_args(argv)
    for name, usual, quick in sizes:
        if getattr(options, name.replace("-", "_")) is None:
            setattr(options, name.replace("-", "_"), quick if options.quick else usual)
    return options


def _measure(options: argparse.Namespace, base: Path) -> tuple[Results, Sequence[Contender], dict[str, str]]:
    results = Results()
    contenders = []
    for contender in all_contenders(options.other):
        if contender.key in options.contenders:
            obstacle = contender.obstacle()
            if obstacle is None:
                contenders.append(contender)
            else:
                results.missing[contender.title] = obstacle
    works = [work for work in WORKS if work.key in options.only]
    works = [work for work in works if work.key != "spark" or _has_spark(options, results)]
    measurement = Measurement(contenders, options.rounds, quick=options.quick, results=results)
    sites = {}
    for key, make in (
        ("small", partial(make_small, partitions=options.partitions)),
        ("large", partial(make_large, size_mb=options.large_mb)),
    ):
        chosen = [work for work in works if work.site == key]
        if chosen:
            say(f"making {key}")
            site = make(base / key)
            sites[key] = site.title
            measurement.measure(site, chosen)
            _ask_automatic(site, results)
            shutil.rmtree(site.base)
    if REFRESH in options.only:
        _measure_refreshes(options, base, contenders, results, sites)
    return results, contenders, sites


def _measure_refreshes(
    options: argparse.Namespace, base: Path, contenders: Sequence[Contender], results: Results, sites: dict[str, str]
) -> None:
    for key, rows in (("few", options.partitions), ("many", options.state_rows)):
        say(f"making a state of {rows:,} partitions")
        changing = make_changing(base / key, key, rows, min(rows, _REAL))
        sites[key] = changing.site.title
        for contender in contenders:
            # The raw tree tells how long the same calls take without a daemon.
            if contender.key in (CONTROL, "farm", "bind", "bindfs"):
                continue
            try:
                result = measure_refresh(changing, contender, options.rounds, QUICK_IDLE_S if options.quick else IDLE_S)
                results.refreshes.setdefault(key, {})[contender.key] = result
            except (BenchmarkError, subprocess.SubprocessError, OSError) as error:
                results.failures.append(f"{REFRESH}: {contender.title}: {error}")
                say(f"  {results.failures[-1]}")
        shutil.rmtree(changing.site.base)


def _ask_automatic(site: Site, results: Results) -> None:
    """Note how readyfs serves a site without being told how."""
    try:
        with automatic().mounted(site) as mounted:
            assert mounted.daemon is not None
            status = mounted.daemon.status()
    except BenchmarkError as error:
        results.failures.append(f"auto: {error}")
        return
    if "reads" in status:
        results.choices[site.key] = {name: str(status[name]) for name in ("engine", "reads", "reads_reason")}
        results.choices[site.key]["engine_loop"] = str(status.get("engine_loop", "python"))


def _has_spark(options: argparse.Namespace, results: Results) -> bool:
    reason = None
    if options.quick:
        reason = "left out of the quick form"
    elif find_spec("pyspark") is None:
        reason = "PySpark is not installed"
    elif not shutil.which("java"):
        reason = "there is no Java"
    if reason:
        results.missing["Spark"] = reason
    return reason is None


if __name__ == "__main__":
    enter_private_mounts("benchmarks", sys.argv[1:])
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
