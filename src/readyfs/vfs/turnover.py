"""What a refresh means for runs that are remembered: those that departed, and those to be looked at anew.

A run may have been written again under its id: against the contract, but a scheduler's "clear task" does it. The row
tells: it was touched, or it was not ready for a while. Then what the run was sealed with is forgotten here, without a
look at the raw store, and the kernel is told to ask again for every name below it. What then differs is another inode
(`entries`), so kept pages and open files stay what they were, and are never shown under the new row.

Used by the refresh alone, one at a time, on a thread that serves no request.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass

from readyfs.catalog.delta import Delta
from readyfs.partition import Partition, RunKey, SeriesKey, run_of
from readyfs.vfs.former_runs import FormerDirectory, FormerRun, FormerRuns, mark_stat
from readyfs.vfs.inode_number import date_inode, directory_inode
from readyfs.vfs.inode_table import InodeTable
from readyfs.vfs.invalidation import Invalidation
from readyfs.vfs.relpath import RelPath
from readyfs.vfs.runs import Runs
from readyfs.vfs.trees import Trees


@dataclass(frozen=True, slots=True)
class KnownSeries:
    """The series of which anything is remembered of a run, here or by the kernel."""

    runs: Set[SeriesKey]
    inodes: InodeTable

    def __contains__(self, series: object) -> bool:
        assert isinstance(series, SeriesKey)
        return series in self.runs or self.inodes.holds_run_of(series)


@dataclass(frozen=True, slots=True)
class _Departed:
    """A run that the live tree shows no more, and the fingerprint of a view that does, None where there is none."""

    partition: Partition
    view: str | None


class Turnover:
    """Follows which runs are current. `let_go` is told of which runs no raw file need be kept; it must not block.

    A run that any view shows is current, as one of the live tree is: it did not depart until the last view is gone.
    """

    def __init__(
        self,
        runs: Runs,
        inodes: InodeTable,
        trees: Trees,
        former: FormerRuns,
        let_go: Callable[[frozenset[RunKey]], None],
    ) -> None:
        self._runs = runs
        self._inodes = inodes
        self._trees = trees
        self._former = former
        self._let_go = let_go
        # Runs that departed and that a view shows, or that the kernel may still know.
        self._departed: dict[RunKey, _Departed] = {}

    def is_known(self, partition: Partition) -> bool:
        """Whether anything is remembered of a partition's run, here or by the kernel."""
        return self._runs.is_known(partition) or self._trees.knows(partition)

    def known_series(self) -> KnownSeries:
        """Return the series of all partitions that `is_known` may say so of."""
        return KnownSeries(self._runs.known_series(), self._inodes)

    def _may_be_looked_at(self, partition: Partition) -> bool:
        """Whether the run was looked at: of one that was not, the kernel has nothing below its directory."""
        return self._runs.is_known(partition) or (self._runs.has_pushed_out and self._trees.knows(partition))

    def begin_anew(self, delta: Delta) -> list[Invalidation]:
        """Forget what runs were sealed with whose rows were touched or came back, in a delta of `compare`.

        Returns what the kernel must ask for again below them in the live tree; views show them as they were, or not at
        all (`former_runs`). All are begun before anything is told: told of many names, the kernel asks again for all at
        once, and no answer may then be of before.
        """
        touched = [one for change in delta.directories for one in change.touched if self._may_be_looked_at(one)]
        anew = {run_of(partition): partition for partition in (*touched, *delta.returned)}
        for run in anew:
            self._departed.pop(run, None)
        if anew:
            self._let_go(frozenset(anew))
        keep = self._former.keep if self._trees.views.held() else _keep_nothing
        told: list[Invalidation] = []
        unlisted: dict[RunKey, Partition] = {}
        for partition in anew.values():
            names = self._runs.begin_anew(partition, keep)
            if not names and self._trees.knows(partition):
                unlisted[run_of(partition)] = partition
            if self._inodes.peek(date_inode(partition)) is None:
                continue
            for directory, listed in names.items():
                told.append(Invalidation(directory_inode(partition, directory), listed))
        if unlisted:
            told.extend(self._below_unlisted(unlisted, keep))
        return told

    def _below_unlisted(
        self, runs: dict[RunKey, Partition], keep: Callable[[RunKey, FormerRun], None]
    ) -> Iterator[Invalidation]:
        """Yield the names of runs of which nothing is kept here any more: so the nodes of all runs are gone through."""
        sealed: defaultdict[RunKey, defaultdict[RelPath, dict[bytes, int | None]]]
        sealed = defaultdict(lambda: defaultdict(dict))
        for node in self._inodes.raw_nodes_of(runs):
            *directory, name = node.relpath
            sealed[run_of(node.partition)][*directory,][name] = None if node.is_directory else mark_stat(node.stat)
            yield Invalidation(directory_inode(node.partition, (*directory,)), (name,), listing=False)
        for run, directories in sealed.items():
            keep(run, {relpath: FormerDirectory(names, False) for relpath, names in directories.items()})
        for partition in runs.values():
            yield Invalidation(date_inode(partition), ())

    def let_go_departed(self, delta: Delta) -> None:
        """Let go of what is kept open of departed runs, and of the rest once the kernel forgot their directories.

        Then nobody can ask for anything of them. To be called once the kernel was told of the delta.
        """
        held = frozenset(self._trees.views.held())
        left = [
            *delta.departed,
            *(one.partition for one in self._departed.values() if one.view is not None and one.view not in held),
        ]
        for partition in left:
            self._departed[run_of(partition)] = _Departed(partition, self._trees.showing_view(run_of(partition)))
        if left:
            self._let_go(frozenset(map(run_of, left)))  # a view that shows one opens its files again
        for run, one in list(self._departed.items()):
            if one.view is None and not self._trees.knows(one.partition):
                del self._departed[run]
                self._runs.forget(run)


def _keep_nothing(run: RunKey, former: FormerRun) -> None:
    """No view is there that could ask for it."""
