"""What a refresh means for runs that are remembered: those that departed, and those to be looked at anew.

A run may have been written again under its id: against the contract, but a scheduler's "clear task" does it. The row
tells: it was touched, or it was not ready for a while. Then what the run was sealed with is forgotten here, without a
look at the raw store, and the kernel is told to ask again for every name below it. What then differs is another inode
(`entries`), so kept pages and open files stay what they were, and are never shown under the new row.

Used by the refresh alone, one at a time, on a thread that serves no request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass

from readyfs.catalog.delta import Delta
from readyfs.partition import NOT_SET, Partition, RunKey, SeriesKey, run_of
from readyfs.vfs.inode_number import InodeNumber, NodeKind, date_inode, raw_inode
from readyfs.vfs.inode_table import InodeTable
from readyfs.vfs.invalidation import Invalidation
from readyfs.vfs.nodes import parent_inode
from readyfs.vfs.runs import Runs


@dataclass(frozen=True, slots=True)
class KnownSeries:
    """The series of which anything is remembered of a run, here or by the kernel."""

    runs: Set[SeriesKey]
    inodes: InodeTable

    def __contains__(self, series: object) -> bool:
        assert isinstance(series, SeriesKey)
        return series in self.runs or self.inodes.holds_run_of(series)


class Turnover:
    """Follows which runs are current. `let_go` is told of which runs no raw file need be kept; it must not block."""

    def __init__(self, runs: Runs, inodes: InodeTable, let_go: Callable[[frozenset[RunKey]], None]) -> None:
        self._runs = runs
        self._inodes = inodes
        self._let_go = let_go
        # Runs that departed and that the kernel may still know, with the inode numbers of their date directories.
        self._departed: dict[RunKey, InodeNumber] = {}

    def is_known(self, partition: Partition) -> bool:
        """Whether anything is remembered of a partition's run, here or by the kernel."""
        return self._runs.is_known(partition) or self._inodes.peek(date_inode(partition)) is not None

    def known_series(self) -> KnownSeries:
        """Return the series of all partitions that `is_known` may say so of."""
        return KnownSeries(self._runs.known_series(), self._inodes)

    def _may_be_looked_at(self, partition: Partition) -> bool:
        """Whether the run was looked at: of one that was not, the kernel has nothing below its directory."""
        return self._runs.is_known(partition) or (
            self._runs.has_pushed_out and self._inodes.peek(date_inode(partition)) is not None
        )

    def begin_anew(self, delta: Delta) -> list[Invalidation]:
        """Forget what runs were sealed with whose rows were touched or came back, in a delta of `compare`.

        Returns what the kernel must ask for again below them. All are begun before anything is told: told of many
        names, the kernel asks again for all at once, and no answer may then be of before.
        """
        touched = [one for change in delta.directories for one in change.touched if self._may_be_looked_at(one)]
        anew = {run_of(partition): partition for partition in (*touched, *delta.returned)}
        for run in anew:
            self._departed.pop(run, None)
        if anew:
            self._let_go(frozenset(anew))
        told: list[Invalidation] = []
        unlisted: dict[RunKey, Partition] = {}
        for partition in anew.values():
            names = self._runs.begin_anew(partition)
            if self._inodes.peek(date_inode(partition)) is None:
                continue
            if not names:
                unlisted[run_of(partition)] = partition
            for directory, listed in names.items():
                told.append(Invalidation(_directory_inode(partition, directory), listed))
        if unlisted:
            told.extend(self._below_unlisted(unlisted))
        return told

    def _below_unlisted(self, runs: dict[RunKey, Partition]) -> Iterator[Invalidation]:
        """Yield the names of runs of which nothing is kept here any more: so all its nodes are gone through."""
        for node in self._inodes.raw_nodes():
            if run_of(node.partition) in runs:
                yield Invalidation(parent_inode(node), (node.relpath[-1],), listing=False)
        for partition in runs.values():
            yield Invalidation(date_inode(partition), ())

    def let_go_departed(self, delta: Delta) -> None:
        """Let go of what is kept open of departed runs, and of the rest once the kernel forgot their directories.

        Then nobody can ask for anything of them. To be called once the kernel was told of the delta.
        """
        if delta.departed:
            self._let_go(frozenset(map(run_of, delta.departed)))
        for partition in delta.departed:
            self._departed[run_of(partition)] = date_inode(partition)
        for run, inode in list(self._departed.items()):
            if self._inodes.peek(inode) is None:
                del self._departed[run]
                self._runs.forget(run)


def _directory_inode(partition: Partition, relpath: tuple[bytes, ...]) -> InodeNumber:
    return raw_inode(NodeKind.RAW_DIRECTORY, partition, relpath, 0, NOT_SET) if relpath else date_inode(partition)
