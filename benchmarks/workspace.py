"""What every benchmark command needs: a place that is gone afterwards, an orderly end, and its arguments checked."""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

import readyfs
from benchmarks.daemons import unmount
from benchmarks.measure import say
from readyfs.fuse.mount_table import read_mount_table

_PATIENCE_S: Final = 60.0


@contextmanager
def workspace(parent: Path | None) -> Iterator[Path]:
    """Yield a directory for the worlds that all users may enter; afterwards nothing is mounted there and it is gone."""
    base = Path(tempfile.mkdtemp(prefix="readyfs-bench-", dir=parent)).resolve()
    try:
        base.chmod(0o755)
        yield base
    finally:
        for mount in reversed(read_mount_table()):
            if base in mount.mount_point.parents:
                unmount(mount.mount_point)
        say("removing what is left of the worlds")
        shutil.rmtree(base)


@contextmanager
def stoppable() -> Iterator[None]:
    """Let Ctrl-C and the signals that ask to end unwind everything, once; a second one does not disturb that."""
    asked = False

    def stop(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            say("cleaning up; one moment")
            return
        asked = True
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def words_of(known: Sequence[str], text: str) -> list[str]:
    """Return those of the known words that a list separated by commas names, in their own order."""
    words = text.split(",")
    unknown = [word for word in words if word not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    return [word for word in known if word in words]


def positive(text: str) -> int:
    """Return a number of at least one."""
    number = int(text.replace("_", ""))
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def other_build(text: str) -> str:
    """Return an interpreter that has another readyfs than ours, for a parser of arguments."""
    command = [text, "-c", "import readyfs; print(readyfs.__file__)"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PATIENCE_S)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error.strerror}") from None
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:]
        raise argparse.ArgumentTypeError(f"{text} has no readyfs: {' '.join(reason)}")
    if done.stdout.strip() == readyfs.__file__:
        raise argparse.ArgumentTypeError(f"{text} has the same readyfs as this one")
    return text
