"""The examples of pages on questions: what is printed there is what the commands print, of one small store.

`python -m tests.docs.examples` writes it anew into the pages.
"""

from __future__ import annotations

import os
import re
import shlex
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Final

from readyfs.demo.producer import LogicalPartition, Producer

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = (ROOT / "docs" / "questions.md", ROOT / "docs" / "coverage.md")
SOURCE: Final = ROOT / "src"
_BLOCK: Final = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NOW_NS: Final = 1_717_599_600_000_000_000  # 2024-06-05 15:00 UTC
_PROGRAM: Final = f"""
import sys, time
time.time_ns = lambda: {_NOW_NS}
from readyfs.__main__ import main
sys.argv[0] = "readyfs"
sys.exit(main())
"""


def fill(directory: Path) -> None:
    """Make the store: one customer of whom all is ready, and one of whom a date failed, one is missing, one is late."""
    with Producer(directory / "state.db", directory / "raw") as producer:
        for day in range(1, 5):
            _deliver(producer, _partition("0012345678", day))
        _deliver(producer, _partition("0135802465", 1))
        producer.fail(_partition("0135802465", 2), "quota exceeded")
        producer.expect(_partition("0135802465", 4))
    with closing(sqlite3.connect(directory / "state.db", isolation_level=None)) as state:
        state.execute("UPDATE partition_state SET updated_at = date(logical_date, '+1 day') || 'T05:00:00+00:00'")
        state.execute("UPDATE partition_state SET attempt_count = 3 WHERE status = 'failed'")


def _partition(customer: str, day: int) -> LogicalPartition:
    return LogicalPartition("google_ads", customer, "campaign_daily", f"2024-06-0{day}")


def _deliver(producer: Producer, partition: LogicalPartition) -> None:
    day = int(partition.logical_date[-1]) + 1
    producer.write_and_publish(partition, f"2024-06-0{day}T04:05:06.789Z", b'{"clicks":1}\n' * (50 + day))


def render(directory: Path, text: str) -> str:
    """Return the page with what its commands print now, each after the one before."""
    return _BLOCK.sub(lambda block: f"```console\n{_run_all(directory, block[1])}```", text)


def commands(text: str) -> list[str]:
    """Return the commands of all examples of a page."""
    return [line for block in _BLOCK.findall(text) for line in block.splitlines() if line.startswith("$ ")]


def _run_all(directory: Path, block: str) -> str:
    return "".join(f"{line}\n{_run(directory, line[2:])}" for line in block.splitlines() if line.startswith("$ "))


def _run(directory: Path, command: str) -> str:
    program, *words = shlex.split(command)
    assert program == "readyfs", command
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM, *words],
        cwd=directory,
        env={
            **os.environ,
            "PYTHONPATH": str(SOURCE),
            "READYFS_STATE": "state.db",
            "READYFS_RAW": "raw",
            "COLUMNS": "80",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    ).stdout


if __name__ == "__main__":
    for page in PAGES:
        with tempfile.TemporaryDirectory() as name:
            fill(Path(name))
            page.write_text(render(Path(name), page.read_text(encoding="utf-8")), encoding="utf-8")
