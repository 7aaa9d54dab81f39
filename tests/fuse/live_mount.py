"""Mounts for tests, that are gone afterwards whatever happened."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.fuse import tiny_daemon

COMMAND_S = 10
NOBODY = 65534
AS_NOBODY = (
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    # Reading everywhere, because the tests and their interpreter may lie where only root can go.
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--"),
)


def table_lines(place: Path) -> list[str]:
    """Return the lines of the mount table for a place, read in another way than the product does."""
    command = ["findmnt", "--noheadings", "--list", "--mountpoint", str(place), "--output", "FSTYPE"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S, check=False)
    return done.stdout.split()


def clear(place: Path) -> None:
    """Detach everything that is mounted there."""
    while subprocess.run(["umount", "-l", place], capture_output=True, timeout=COMMAND_S, check=False).returncode == 0:
        pass


@contextmanager
def readyfs_mount(place: Path, *words: str, prefix: Sequence[str] = ()) -> Iterator[subprocess.Popen[str]]:
    """Mount the tiny daemon, by way of the command `prefix`; see its module for the words."""
    with daemon([*prefix, sys.executable, tiny_daemon.__file__, str(place), *words]) as process:
        try:
            yield process
        finally:
            process.kill()
            clear(place)


@contextmanager
def foreign_mount(place: Path, *arguments: str) -> Iterator[None]:
    """Mount something that is not ours, a tmpfs unless the arguments of mount(8) say otherwise."""
    command = ["mount", *(arguments or ("-t", "tmpfs", "none")), os.fspath(place)]
    subprocess.run(command, check=True, timeout=COMMAND_S)
    try:
        yield
    finally:
        clear(place)


@contextmanager
def daemon(command: Sequence[str | Path], cwd: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    """Run a program that says "ready" and then waits for its input to end; kill it afterwards."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=cwd) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()
