"""The trees that a client plans over: a pinned view of a mount, or the mount itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final

from tests.mount.daemon import Daemon
from tests.mount.forked import run_forked

_numbers: Final = count()


@contextmanager
def live(daemon: Daemon) -> Iterator[Path]:
    """The mount itself."""
    yield daemon.path


@contextmanager
def pinned(daemon: Daemon) -> Iterator[Path]:
    """A view of what is ready now, as the command line gives it."""
    name = f"job-{next(_numbers)}"
    view = readyfs("pin", str(daemon.path), "--name", name)
    try:
        yield Path(view)
    finally:
        readyfs("unpin", str(daemon.path), name)


def readyfs(*words: str) -> str:
    """Run a command; return what it prints."""
    done = run_forked(list(words), 30)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.rstrip("\n")
