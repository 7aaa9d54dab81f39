"""Reading: every small file, one large file in three ways, and eight readers at once."""

from __future__ import annotations

import mmap
import os
from functools import partial
from random import Random
from typing import Final

from benchmarks.work.names import walk_tree
from benchmarks.work.timing import Timing, timed, timed_in_parallel
from benchmarks.work.view import View

READERS: Final = 8
TAUGHT: Final = 5
"""One query in so many is read, so that a mount knows that reads follow listings here."""
RANDOM_READS: Final = 20_000
RANDOM_SIZE: Final = 4096
_CHUNK: Final = 1 << 20


def small(view: View) -> Timing:
    """List the tree and read every file; count bytes."""
    return timed(lambda: _read_tree(view.top))


def list_to_read(view: View) -> Timing:
    """List and read the first queries, then list the others: what comes before `listed`."""
    queries = view.queries()
    few = -(-len(queries) // TAUGHT)
    return timed(lambda: sum(map(_read_tree, queries[:few])) + sum(map(walk_tree, queries[few:])))


def listed(view: View) -> Timing:
    """Read every file of the queries that `list_to_read` has listed only."""
    queries = view.queries()
    return timed(lambda: sum(map(_read_tree, queries[-(-len(queries) // TAUGHT) :])))


def files(view: View) -> Timing:
    """Read every file of one directory whose name begins with `part-`; names and sizes are looked up before."""
    with os.scandir(view.top) as entries:
        paths = sorted(entry.path for entry in entries if entry.name.startswith("part-") and entry.stat().st_size)
    return timed(lambda: sum(map(_read_file, paths)))


def small_parallel(view: View) -> Timing:
    """The same by eight processes, each with its share of the queries."""
    queries = view.queries()
    return timed_in_parallel([partial(_read_trees, queries[number::READERS]) for number in range(READERS)])


def large(view: View) -> Timing:
    """Read the largest file from beginning to end."""
    path = view.files_by_size()[0]
    return timed(lambda: _read_file(path))


def large_parallel(view: View) -> Timing:
    """Read the next eight files, each by a process of its own."""
    return timed_in_parallel([partial(_read_file, path) for path in view.files_by_size()[1 : 1 + READERS]])


def large_random(view: View) -> Timing:
    """Read 4 KB at random places of the largest file, the same ones every time."""
    path = view.files_by_size()[0]
    random = Random(7)
    pages = os.path.getsize(path) // RANDOM_SIZE
    offsets = [random.randrange(pages) * RANDOM_SIZE for _ in range(min(RANDOM_READS, pages))]
    return timed(lambda: _read_at(path, offsets))


def large_mmap(view: View) -> Timing:
    """Copy the largest file out of a mapping."""
    path = view.files_by_size()[0]
    return timed(lambda: _read_mapping(path))


def _read_trees(tops: list[str]) -> int:
    return sum(_read_tree(top) for top in tops)


def _read_tree(top: str) -> int:
    total = 0
    for directory, _, names in os.walk(top, onerror=_fail, followlinks=True):
        total += sum(_read_file(os.path.join(directory, name)) for name in sorted(names))
    return total


def _fail(error: OSError) -> None:
    raise error


def _read_file(path: str) -> int:
    # Plain descriptors: open() asks besides whether the file is a terminal.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        size = min(_CHUNK, os.fstat(descriptor).st_size + 1)
        buffer = bytearray(size)
        total = 0
        while got := os.readv(descriptor, [buffer]):
            total += got
        return total
    finally:
        os.close(descriptor)


def _read_at(path: str, offsets: list[int]) -> int:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return sum(len(os.pread(descriptor, RANDOM_SIZE, offset)) for offset in offsets)
    finally:
        os.close(descriptor)


def _read_mapping(path: str) -> int:
    with open(path, "rb", buffering=0) as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapping:
        return sum(len(mapping[start : start + _CHUNK]) for start in range(0, len(mapping), _CHUNK))
