"""One measured piece of work, in a process of its own: `python workload.py KIND PATH` prints seconds and a count.

The count (entries, bytes) is compared between the contenders, so that nobody wins by doing less.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

_CHUNK = 1 << 20


def walk(path: str) -> int:
    """List everything and stat every regular file and directory; return how many files."""
    files = 0
    stack = [path]
    while stack:
        with os.scandir(stack.pop()) as entries:
            for entry in entries:
                # os.stat and not entry.stat: what a tool that goes by path does.
                os.stat(entry.path, follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    stack.append(entry.path)
                else:
                    files += 1
    return files


def read_all(path: str) -> int:
    """Read every file below a directory; return how many bytes."""
    total = 0
    for directory, _, names in os.walk(path, onerror=_fail):
        total += sum(read_file(os.path.join(directory, name)) for name in sorted(names))
    return total


def read_file(path: str) -> int:
    """Read one file from beginning to end; return how many bytes."""
    buffer = bytearray(_CHUNK)
    total = 0
    with open(path, "rb", buffering=0) as file:
        while got := file.readinto(buffer):
            total += got
    return total


def _fail(error: OSError) -> None:
    raise error


WORK: dict[str, Callable[[str], int]] = {"walk": walk, "read-all": read_all, "read-file": read_file}


def main() -> None:
    """Do the work that the command line names."""
    kind, path = sys.argv[1:]
    began = time.perf_counter()
    count = WORK[kind](path)
    print(time.perf_counter() - began, count)


if __name__ == "__main__":
    main()
