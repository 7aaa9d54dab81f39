"""Programs that copy, in two halves: a list of files is made, and later the files of the list are copied."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from tests.clients.flips import STEPS, Row
from tests.clients.planners import Found, Planner

_FIND: Final = "find . -type f -printf '%P\\n'"


class CopyFailed(Exception):
    """A program that copies did not end well."""


def copied_by(list_files: str, copy: str) -> Callable[[Path], Callable[[], Found]]:
    """Plan by a line of bash that lists the files below $TOP, and read what another one copies by $LIST to $OUT."""

    def plan(top: Path) -> Callable[[], Found]:
        directory = tempfile.TemporaryDirectory()
        out = Path(directory.name) / "out"
        out.mkdir()
        names = Path(directory.name) / "names"
        words = {**os.environ, "TOP": str(top), "LIST": str(names), "OUT": str(out), "RCLONE_CONFIG": "/dev/null"}

        def run(line: str) -> None:
            command = ["bash", "-o", "pipefail", "-c", line]
            done = subprocess.run(command, cwd=top, env=words, capture_output=True, timeout=60, check=False)
            if done.returncode or done.stderr:
                raise CopyFailed(f"{done.returncode}: {done.stderr.decode()}")

        def read() -> Found:
            with directory:
                run(copy)
                return list(records_below(out))

        run(f'{list_files} >"$LIST"')
        return read

    return plan


def records_below(top: Path) -> Iterator[Row]:
    """Yield the records of all payloads; each must be of the same run as the metadata beside it."""
    for payload in sorted(top.glob("*/*/*/payload.jsonl")):
        run = json.loads(payload.with_name("metadata.json").read_bytes())["run_id"]
        for line in payload.read_bytes().splitlines():
            clicks = json.loads(line)["clicks"]
            if run != f"r{clicks // 1000 % STEPS}":
                raise CopyFailed(f"metadata of run {run} beside record {clicks}")
            customer, query, date, _ = payload.relative_to(top).parts
            yield Row(customer, query, date, clicks)


SMALL_TOOLS: Final = (
    Planner("rsync", copied_by(_FIND, 'rsync -aHX --files-from="$LIST" ./ "$OUT/"'), Row._fields),
    Planner("tar", copied_by(_FIND, 'tar -cf - -T "$LIST" | tar -C "$OUT" -xf -'), Row._fields),
)
MORE_TOOLS: Final = (
    Planner(
        "rclone",
        copied_by("rclone -q lsf -R --files-only .", 'rclone -q copy --files-from="$LIST" . "$OUT"'),
        Row._fields,
    ),
)
"""What is to be had only in larger packages."""
