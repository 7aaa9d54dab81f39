"""The program itself, asked at a moment of the test's choosing."""

from __future__ import annotations

import datetime
import subprocess
import sys
from pathlib import Path
from typing import Final

NOW: Final = datetime.datetime(2024, 6, 14, 9, tzinfo=datetime.UTC)

_PROGRAM: Final = """
import sys, time
moment_ns = int(sys.argv.pop(1))
time.time_ns = lambda: moment_ns
from readyfs.__main__ import main
sys.argv[0] = "readyfs"
sys.exit(main())
"""


def ask(*arguments: str | Path, now: datetime.datetime = NOW, codes: tuple[int, ...] = (0,)) -> str:
    """Run a command as if it were now that moment, and return what it prints."""
    moment_ns = str(round(now.timestamp()) * 10**9)
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, moment_ns, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode in codes, (arguments, done.returncode)
    return done.stdout
