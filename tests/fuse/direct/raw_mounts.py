"""Filesystems below a raw root, for what depends on where a raw file lies."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.fuse.live_mount import clear, foreign_mount


@contextmanager
def on_tmpfs(directory: Path) -> Iterator[None]:
    """Have a directory that may not exist yet lie on a filesystem of its own."""
    directory.mkdir(parents=True, exist_ok=True)
    with foreign_mount(directory):
        yield


@contextmanager
def behind_two_overlays(directory: Path, work: Path) -> Iterator[None]:
    """Show a directory in its place through overlayfs over overlayfs, a stack that the kernel passes nothing through.

    `work` is a directory for what that needs.
    """
    lower, empty, once = work / "lower", work / "empty", work / "once"
    for made in (lower, empty, once):
        made.mkdir(parents=True)
    with ExitStack() as stack:
        stack.enter_context(on_tmpfs(lower))  # so that only these two overlays count, whatever the directory lies on
        shutil.copytree(directory, lower, dirs_exist_ok=True)
        for below, place in ((lower, once), (once, directory)):
            layers = f"lowerdir={below}:{empty}"
            subprocess.run(["mount", "-t", "overlay", "none", "-o", layers, place], check=True, timeout=10)
            stack.callback(clear, place)
        yield
