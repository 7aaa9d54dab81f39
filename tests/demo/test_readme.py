"""The README shows what the tour prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DIRECTORY = "/tmp/readyfs-demo"

# What differs from run to run: the owner and the time of a file, the id of a run of today, what the status measures.
_OWN = re.compile(
    r"(?<=^-r--r--r-- 1 )\S+ +\S+|\w{3} +\d+ \d\d:\d\d(?= )|(?<=\"run_id\":\")20(?!24)[^\"]*"
    r"|(?<=^  fingerprint )\w+|(?<=^  refreshed   )\S+ m?s|(?<=^  in use      ).*|(?<=^  daemon      ).*"
)


def shown_lines() -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"^## What it looks like\n.*?^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert block is not None
    return [_OWN.sub("", line) for line in block.group(1).splitlines() if line.strip(" .")]


def test_readme_shows_what_the_tour_prints_in_this_order(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "readyfs", "demo", os.fspath(tmp_path), "--no-wait"],
        env={**os.environ, "PYTHONPATH": os.fspath(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    printed = iter([_OWN.sub("", line) for line in done.stdout.replace(os.fspath(tmp_path), DIRECTORY).splitlines()])
    shown = shown_lines()
    assert len(shown) > 60
    # Each search goes on behind the line that was found before.
    assert [line for line in shown if line not in printed] == []
