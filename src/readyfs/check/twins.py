"""Partitions of which two runs cannot be told apart by size and second of mtime, as rsync and many caches tell files.

Counted beside the findings, because nothing is wrong with such a run: it is those who copy that keep old bytes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from readyfs.layout import RawLayout
from readyfs.partition import Partition
from readyfs.raw.store import EntryKind, RawEntry, RawStat, RawStore

RUNS_COMPARED: Final = 16
"""With so many other runs of a partition is the current one compared, the newest first."""

_SECOND_NS: Final = 1_000_000_000


class Twins:
    """Counts partitions; several threads call it.

    `above_runs` lists the directories in which the runs of `layout` lie.
    """

    def __init__(self, above_runs: RawStore, layout: RawLayout) -> None:
        self._above_runs = above_runs
        self._layout = layout
        self._lock = threading.Lock()
        self.partitions = 0

    def compare(self, partition: Partition, files: Mapping[bytes, RawStat], on_progress: Callable[[], None]) -> None:
        """Count the partition if a file of its run has a twin of the same name in another of its runs.

        `files` are those at the run's top. What cannot be looked at is left out.
        """
        here = self._layout.directory_of(partition)[-1]
        with suppress(OSError):
            others = [
                one
                for one in self._above_runs.list_directory(partition)
                if one.kind is EntryKind.DIRECTORY and one.name != here
            ]
            on_progress()
            others.sort(key=lambda one: one.stat.mtime_ns, reverse=True)
            for other in others[:RUNS_COMPARED]:
                entries = self._above_runs.list_directory(partition, (other.name,))
                on_progress()
                if any(_is_twin(files.get(entry.name), entry) for entry in entries):
                    with self._lock:
                        self.partitions += 1
                    return


def _is_twin(stat: RawStat | None, other: RawEntry) -> bool:
    """Whether two files look the same by size and second; empty ones are the same."""
    if stat is None or other.kind is not EntryKind.FILE or not stat.size:
        return False
    return stat.size == other.stat.size and stat.mtime_ns // _SECOND_NS == other.stat.mtime_ns // _SECOND_NS
