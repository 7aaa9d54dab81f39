"""What a run shows in a tree: in the live one as it is now, in a view as the view was sealed, or not at all.

Used by `resolver` and `directory_listings`, which need not know in which tree they are.
"""

from __future__ import annotations

from typing import Final

from readyfs.partition import run_of
from readyfs.raw.store import EntryKind
from readyfs.vfs.former_runs import FormerRun, FormerRuns
from readyfs.vfs.inode_number import LIVE
from readyfs.vfs.nodes import DateNode
from readyfs.vfs.relpath import RelPath
from readyfs.vfs.run_view import BrokenView, RunView
from readyfs.vfs.runs import Runs
from readyfs.vfs.trees import Trees

EXPIRED: Final = "the view has expired"
WRITTEN_AGAIN: Final = "the run was written again since this view was taken"


class TreeRuns:
    """Shows runs. Raises as `Runs.view` does, and `StaleHandleError` for a view that is gone."""

    def __init__(self, trees: Trees, runs: Runs, former: FormerRuns) -> None:
        self._trees = trees
        self._runs = runs
        self._former = former

    def view(self, date: DateNode, relpath: RelPath, *, may_block: bool) -> RunView | BrokenView:
        """Return what the run of a date directory holds at a place."""
        if date.tree == LIVE:
            return self._runs.view(date.partition, relpath, may_block=may_block)
        kept = self._trees.view(date.tree, may_block)
        self._trees.views.used(kept.fingerprint)
        found = self._as_sealed(date, relpath, may_block)
        if kept.expired and isinstance(found, RunView):
            return BrokenView({name: entry.kind for name, entry in found.entries.items()}, EXPIRED)
        return found

    def look(self, date: DateNode, relpath: RelPath) -> tuple[str | None, bool]:
        """Return why a place in a run cannot be served, None if it can, and whether there is such a place.

        For whoever only wants to know: a view does not count as used. May block, and looks at no directory that is not
        listed in the one above: a name that was made up must not make a run broken.
        """
        for depth in range(max(len(relpath), 1)):
            found = self._as_sealed(date, relpath[:depth], may_block=True)
            if isinstance(found, BrokenView):
                return found.cause, True
            if not relpath:
                break
            entry = found.entries.get(relpath[depth])
            if entry is None or (depth + 1 < len(relpath) and entry.kind is not EntryKind.DIRECTORY):
                return None, False
        return None, True

    def _as_sealed(self, date: DateNode, relpath: RelPath, may_block: bool) -> RunView | BrokenView:
        found = self._runs.view(date.partition, relpath, may_block=may_block)
        # Asked for afterwards: what a run was is kept before anybody can see what it became.
        former = None if date.partition is None else self._former.of(date.tree, run_of(date.partition))
        if former is None:
            return found
        directory = former.get(relpath)
        if directory is None:
            return found if self._is_as_before(date, former, may_block) else BrokenView({}, WRITTEN_AGAIN)
        if isinstance(found, BrokenView):
            return BrokenView({**found.names, **directory.kinds()}, found.cause)
        if not directory.is_in(found.entries):
            return BrokenView(directory.kinds(), WRITTEN_AGAIN)
        if not directory.is_complete or len(directory.names) == len(found.entries):
            return found
        return RunView({name: found.entries[name] for name in directory.names}, found.sealing, found.place)

    def _is_as_before(self, date: DateNode, former: FormerRun, may_block: bool) -> bool:
        """Whether all that is known of a run is as it was, where the directory that is asked for was never seen."""
        views = ((self._runs.view(date.partition, one, may_block=may_block), was) for one, was in former.items())
        return all(isinstance(view, RunView) and was.is_in(view.entries) for view, was in views)
