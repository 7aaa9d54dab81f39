"""Listings of directories: of the catalog in force or one shortly before, and of runs.

`filesystem` makes passes over them (`listing`). As for names, there is no I/O down to and including the dates, and
below them `may_block` says whether the raw store may be asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from operator import attrgetter
from typing import assert_never

from readyfs.catalog.tree import NOTHING, Branch, DateDirectory, Directory, PartitionDirectory, PartitionNames
from readyfs.errors import BrokenRunError, NotADirectoryNodeError, StaleHandleError, WouldBlockError
from readyfs.vfs.attributes import Entry
from readyfs.vfs.catalogs import Catalogs
from readyfs.vfs.control_directory import ControlDirectory
from readyfs.vfs.entries import Entries
from readyfs.vfs.inode_number import LIVE
from readyfs.vfs.listing import Listing
from readyfs.vfs.look_ahead import BUDGET_S, LookAhead
from readyfs.vfs.nodes import AboveNode, BrokenNode, ControlNode, DateNode, Node, RawNode, RunNode, place_in_run
from readyfs.vfs.run_view import BrokenView, RunView
from readyfs.vfs.runs import Runs
from readyfs.vfs.tree_runs import TreeRuns
from readyfs.vfs.trees import Trees, view_time_ns, view_timeout_s


class DirectoryListings:
    """Makes listings. A position in one outlives a refresh, because old catalogs are kept for a while (V7)."""

    def __init__(
        self,
        catalogs: Catalogs,
        trees: Trees,
        runs: Runs,
        tree_runs: TreeRuns,
        control: ControlDirectory,
        entries: Entries,
        name_timeout_s: float,
        look_ahead: LookAhead | None,
    ) -> None:
        self._catalogs = catalogs
        self._trees = trees
        self._runs = runs
        self._tree_runs = tree_runs
        self._control = control
        self._entries = entries
        self._name_timeout_s = name_timeout_s
        self._ahead = look_ahead

    def listing(self, node: Node, stamp: int | None, may_block: bool) -> Listing:
        """Return the listing with a stamp, or without one the listing as of now.

        Raises `StaleHandleError` if there is none, or none any more, with that stamp.
        """
        match node:
            case AboveNode():
                if node.tree != LIVE:
                    return self._list_in_view(node, stamp, may_block)
                return self._list_above(node, stamp)
            case DateNode() | RawNode() | BrokenNode() if node.is_directory:
                listing = self._list_run(node, may_block)
            case ControlNode() if node.is_directory:
                listing = self._control.listing(node, stamp)
            case _:
                raise NotADirectoryNodeError
        if stamp is not None and listing.stamp != stamp:
            raise StaleHandleError("the directory has other names by now")
        return listing

    def _list_above(self, node: AboveNode, stamp: int | None) -> Listing:
        in_force = self._catalogs.in_force
        current = in_force.catalog.directory(node.path) or NOTHING
        directory: Directory | None = current
        if stamp is not None and current.stamp != stamp:
            directory = self._catalogs.history.find(node.path, stamp)
        if directory is None:
            raise StaleHandleError("the listing is no longer kept")

        def timeout_s() -> float:
            # The kernel is told to forget the names and times of older catalogs: it must not learn them again.
            if directory is not current or self._catalogs.in_force is not in_force:
                return 0.0
            return in_force.timeout_s(node.path, self._name_timeout_s)

        return self._list(node, directory, attrgetter("changed_ns"), timeout_s)

    def _list_in_view(self, node: AboveNode, stamp: int | None, may_block: bool) -> Listing:
        view = self._trees.view(node.tree, may_block)
        self._trees.views.used(view.fingerprint)
        directory = view.catalog.directory(node.path)
        assert directory is not None  # no view changes
        if stamp is not None and directory.stamp != stamp:
            raise StaleHandleError("no listing of the view has this position")
        return self._list(
            node, directory, lambda child: view_time_ns(view, child.newest_ns), partial(view_timeout_s, view)
        )

    def _list(
        self,
        node: AboveNode,
        directory: Directory,
        time_ns: Callable[[Branch | DateDirectory | PartitionNames], int],
        timeout_s: Callable[[], float],
    ) -> Listing:
        path, tree = node.path, node.tree
        match directory:
            case Branch():
                children, names, above_entry = directory.children, directory.names, self._entries.above_entry

                def branches_from(start: int) -> Iterator[tuple[bytes, Entry]]:
                    for index in range(start, len(names)):
                        name = names[index]
                        yield name, above_entry((*path, name), time_ns(children[name]), timeout_s(), tree)

                return Listing(directory.stamp, lambda: children, branches_from)
            case DateDirectory() | PartitionDirectory():
                listed, date_entry = directory, self._entries.date_entry

                def dates_from(start: int) -> Iterator[tuple[bytes, Entry]]:
                    for found in listed.entries_from(start):
                        yield found.name, date_entry(path, found, timeout_s(), tree)

                return Listing(directory.stamp, directory.names, dates_from)
            case _:
                assert_never(directory)

    def _list_run(self, node: RunNode, may_block: bool) -> Listing:
        date, relpath = place_in_run(node)
        if self._ahead is None or relpath:
            view = self._tree_runs.view(date, relpath, may_block=may_block)
        else:
            view = self._view_and_look_ahead(date, self._ahead, may_block)
        if isinstance(view, BrokenView):
            return self._list_broken(date, relpath, view)

        published_ns = self._entries.published_ns(node)

        def entries_from(start: int) -> Iterator[tuple[bytes, Entry]]:
            for name, found in islice(view.entries.items(), start, None):
                yield name, self._entries.raw_entry(date, relpath, view, found, published_ns)

        return Listing(view.stamp, lambda: view.entries, entries_from)

    def _list_broken(self, date: DateNode, relpath: tuple[bytes, ...], view: BrokenView) -> Listing:
        if not view.names:
            raise BrokenRunError(view.cause)
        names = view.names

        def entries_from(start: int) -> Iterator[tuple[bytes, Entry]]:
            for name, kind in islice(names.items(), start, None):
                yield name, self._entries.broken_entry(date, (*relpath, name), kind)

        return Listing(view.stamp, lambda: names, entries_from, cacheable=False)

    def _view_and_look_ahead(self, date: DateNode, look_ahead: LookAhead, may_block: bool) -> RunView | BrokenView:
        try:
            return self._tree_runs.view(date, (), may_block=False)
        except WouldBlockError:
            if not may_block:
                raise
        view = self._tree_runs.view(date, (), may_block=True)
        self._look_at_next(date, look_ahead)
        return view

    def _look_at_next(self, date: DateNode, look_ahead: LookAhead) -> None:
        """Look at the runs of the next dates too, if listings of unknown runs come one after the other."""
        directory = self._trees.catalog(date.tree, may_block=True).directory(date.above)
        if date.partition is None or not isinstance(directory, DateDirectory | PartitionDirectory):
            return
        index = directory.index_of(date.partition.key)
        window = look_ahead.window(date.above, index)
        found = (entry.meaning for entry in islice(directory.entries_from(index + 1), window))
        until_s = time.monotonic() + BUDGET_S
        look_ahead.advance(self._runs.look_ahead(found, until_s))
