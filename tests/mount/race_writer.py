"""A producer that flips the runs of one query every 50 ms: a program of its own.

`python race_writer.py STATE RAW QUERY SECONDS` prints a JSON object with the number of flips.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Final

from readyfs.demo.producer import LogicalPartition, Producer

PERIOD_S: Final = 0.05
LINES: Final = (1, 700, 40, 3000, 7)
"""How many lines the payloads of successive runs have: shorter and longer ones follow each other."""


def payload(part: LogicalPartition, run_id: str, lines: int) -> bytes:
    """Return bytes that say on every line which run and partition they are, and how many lines there must be."""
    return f"{part.path} {run_id} {lines}\n".encode() * lines


def main() -> None:
    """Write whole runs and publish them until the time is over."""
    state, raw, query, seconds = sys.argv[1:]
    parts = [LogicalPartition("s1", "c1", query, f"2024-06-{day:02}") for day in (1, 2, 3)]
    flips = 0
    deadline = time.monotonic() + float(seconds)
    with Producer(Path(state), Path(raw)) as producer:
        while time.monotonic() < deadline:
            part = parts[flips % len(parts)]
            run_id = f"{os.getpid()}-{flips:05}"
            run = producer.begin_run(part, run_id, payload(part, run_id, LINES[flips % len(LINES)]))
            (run.directory / "seal.txt").write_text(run_id)
            producer.seal_run(run)
            producer.publish(run)
            flips += 1
            time.sleep(PERIOD_S)
    print(json.dumps({"flips": flips}))


if __name__ == "__main__":
    main()
