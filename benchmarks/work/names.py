"""Names and attributes: a walk that stats everything, and the tools that people walk with."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import replace

from benchmarks.work.timing import Timing, timed
from benchmarks.work.view import View


def walk(view: View) -> Timing:
    """List every directory and stat every entry by its path; count the files."""
    return timed(lambda: walk_tree(view.top))


def ls(view: View) -> Timing:
    """`ls -lR`, links followed where there are any."""
    return _tool(["ls", "-lRL" if view.has_links else "-lR", view.top], b"-", b"")


def find(view: View) -> Timing:
    """`find -type f` with the size of every file."""
    follow = ["-L"] if view.has_links else []
    return _tool(["find", *follow, view.top, "-type", "f", "-printf", "f %s %p\\n"], b"f ", b"")


def du(view: View) -> Timing:
    """`du -a`, links followed where there are any."""
    return _tool(["du", "-aL" if view.has_links else "-a", view.top], b"", b".jsonl")


def partitions(view: View) -> Timing:
    """`find -maxdepth 3` over a view of customers, queries and dates; count the dates."""
    return _tool(["find", view.top, "-mindepth", "3", "-maxdepth", "3", "-printf", "\\n"], b"", b"")


def list_top(view: View) -> Timing:
    """`ls` of the top directory."""
    return _tool(["ls", view.top], b"", b"")


def list_top_long(view: View) -> Timing:
    """`ls -l` of the top directory."""
    return _tool(["ls", "-l", view.top], b"d", b"")


def walk_tree(top: str) -> int:
    """List every directory of a tree and stat every entry by its path; return how many files there are."""
    files = 0
    stack = [top]
    while stack:
        with os.scandir(stack.pop()) as entries:
            for entry in entries:
                # os.stat and not entry.stat: what a tool that goes by path does.
                os.stat(entry.path)
                if entry.is_dir():
                    stack.append(entry.path)
                else:
                    files += 1
    return files


def _tool(command: Sequence[str], prefix: bytes, suffix: bytes) -> Timing:
    """Time a tool; count the lines of its output that begin and end so."""
    with tempfile.TemporaryFile() as output:

        def run() -> int:
            return subprocess.run(command, stdout=output, env={**os.environ, "LC_ALL": "C"}, check=True).returncode

        timing = timed(run)
        output.seek(0)
        lines = output.read().splitlines()
    return replace(timing, count=sum(line.startswith(prefix) and line.endswith(suffix) for line in lines))
