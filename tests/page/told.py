"""What a page says of each date, told by its own script outside of a browser."""

from __future__ import annotations

import datetime
import json
import subprocess
from pathlib import Path
from typing import Any, Final

from tests.page.script import ASSETS

Told = tuple[dict[str, Any], list[dict[str, Any]]]
"""The head of a page, and all that it says of each series."""

_READER: Final = Path(__file__).with_name("ask_block.js")


def read_page(page: Path) -> Told:
    """Return what a page says, told by its own script."""
    done = subprocess.run(
        ["node", _READER, page, ASSETS / "block.js"], capture_output=True, encoding="utf-8", timeout=60
    )
    assert done.returncode == 0, done.stderr
    head, *series = map(json.loads, done.stdout.rstrip("\n").split("\n"))
    return head, series


def iso(day: int) -> str:
    """Return a day as YYYY-MM-DD."""
    return (datetime.date(1970, 1, 1) + datetime.timedelta(day)).isoformat()
