"""Programs that run beside a test, with all that they start, and the lines of their logs that are waited for."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.mount.daemon import wait_until

PATIENCE_S: Final = 90.0
"""Large programs start one after the other on a busy machine."""


@contextmanager
def in_background(log: Path, command: Sequence[str], variables: Mapping[str, str] | None = None) -> Iterator[None]:
    """Run a program until the end of the body; what it starts in its session ends with it."""
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command,
            env={**os.environ, **(variables or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            finally:
                _kill_group(process.pid)


def _kill_group(group: int) -> None:
    """Kill what is left of a program and of its children."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass  # nothing is


def wait_for_line(log: Path, pattern: str) -> str:
    """Return the part of a log that the group of a pattern names, once it is there."""
    found: list[str] = []

    def is_there() -> bool:
        found[:] = re.findall(pattern, log.read_text("utf-8", "replace"))
        return bool(found)

    wait_until(is_there, f"{pattern} in {log}", PATIENCE_S)
    return found[0]
