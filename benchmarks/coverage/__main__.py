"""Measures the page of `readyfs coverage --html`; `make bench-coverage` runs it.

A page is made of each kind of state: how many bytes it has, and what making it took of the processor and of memory.
Then it is opened in a browser, and that of runs of their own is gone through.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.coverage.browsing import STEADY, measure_opening, measure_panning
from benchmarks.coverage.states import KINDS, make_state
from benchmarks.measure import say
from benchmarks.workspace import positive, stoppable, workspace

ROWS: Final = 1_000_000
BYTES_BAR: Final = 10_000_000
OPENED_BAR_S: Final = 2.0
FRAME_BAR_MS: Final = 16.0
PANNED: Final = "own"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what the command line says; return 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__)
    parser.add_argument("--rows", type=positive, default=ROWS, help="dates of a page (default: %(default)s)")
    parser.add_argument("--rounds", type=positive, default=3, help="how often a page is opened (default: %(default)s)")
    parser.add_argument("--kind", action="append", choices=KINDS, help="only this one; repeatable")
    options = parser.parse_args(argv)
    fits = True
    with stoppable(), workspace(None) as base:
        for kind in options.kind or KINDS:
            fits &= _measure(base, kind, options.rows, options.rounds)
    return 0 if fits else 1


def _measure(base: Path, kind: str, rows: int, rounds: int) -> bool:
    state, page = base / "state.db", base / "page.html"
    make_state(state, kind, rows)
    readyfs = Path(sys.executable).with_name("readyfs")
    child = subprocess.Popen(
        [readyfs, "coverage", "--state", state, "--html", page], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        say(f"{kind}: the page was not made, exit code {child.returncode}")
        return False
    size = page.stat().st_size
    cpu_s = usage.ru_utime + usage.ru_stime
    say(
        f"{kind}, {rows:,} dates: {size:,} bytes (bar {BYTES_BAR:,}), made in {cpu_s:.1f} s of the processor"
        f" and {usage.ru_maxrss // 1024} MiB of memory"
    )
    opened_s = measure_opening(page, rounds)
    say(f"  opened after {opened_s:.2f} s (bar {OPENED_BAR_S})")
    fits = size <= BYTES_BAR and opened_s <= OPENED_BAR_S
    if kind == PANNED:
        for panning in measure_panning(page):
            if not panning.frames.scripts_ms:
                continue  # everything was in sight, so that nothing moved
            say(f"  {panning.describe()} (bar {FRAME_BAR_MS} ms in {STEADY:.0%})")
            fits &= panning.frames.share(STEADY) <= FRAME_BAR_MS
    state.unlink()
    return fits


if __name__ == "__main__":
    sys.exit(main())
