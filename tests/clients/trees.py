"""The trees that a client may plan over: the mount itself, and a pinned view of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.mount.daemon import Daemon


@contextmanager
def live(daemon: Daemon) -> Iterator[Path]:
    """The mount, which follows the state table."""
    yield daemon.path


@contextmanager
def pinned(daemon: Daemon) -> Iterator[Path]:
    """A view of what is ready now, as the command line gives it."""
    view = readyfs("pin", daemon)
    try:
        yield Path(view)
    finally:
        readyfs("unpin", daemon, Path(view).name)


def readyfs(verb: str, daemon: Daemon, *words: str) -> str:
    """Run a command on a mount; return what it prints."""
    command = [sys.executable, "-m", "readyfs", verb, str(daemon.path), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.rstrip("\n")
