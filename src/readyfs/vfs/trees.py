"""The trees of a mount: the live one, which follows the state, and the views, of which each shows one kept catalog.

Whoever answers for a node asks here what its tree shows. Everything that a kernel may hold of a run lies in the trees
that `seen` names, so what must reach every tree that shows a run goes through them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from readyfs.catalog.tree import Catalog
from readyfs.errors import BrokenRunError, FilesystemError, StaleHandleError
from readyfs.partition import NOT_SET, Partition, PartitionKey, RunKey, run_of
from readyfs.vfs.attributes import FOREVER_S
from readyfs.vfs.catalogs import Catalogs
from readyfs.vfs.inode_number import LIVE, InodeNumber, TreeName, above_inode, date_inode, directory_inode
from readyfs.vfs.inode_table import InodeTable
from readyfs.vfs.invalidation import Invalidation
from readyfs.vfs.relpath import RelPath
from readyfs.vfs.views import View, ViewSource

USED_FOR_S: Final = 10.0
"""For so long a view counts as used by an open without being asked about again."""
MOST_ASKED: Final = 16
"""How many views an open asks about in vain."""


class Trees:
    """Finds the catalog behind a tree, and the trees that show a run. Used on any thread."""

    def __init__(
        self,
        catalogs: Catalogs,
        views: ViewSource,
        inodes: InodeTable,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalogs = catalogs
        self._inodes = inodes
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._used_s: dict[TreeName, float] = {}
        self.views = views
        self.seen: tuple[TreeName, ...] = (LIVE,)
        """The live tree, and every view of which the kernel may hold something."""
        self.on_seen: Callable[[bool], None] = lambda alone: None
        """Is told whether the live tree is alone, before the kernel learns of another: then opens are to be noted."""
        self.expiries = 0
        """How often the kernel was told that a view has expired."""

    # ---- what a tree shows -----------------------------------------------------------------------------------

    def view(self, tree: TreeName, may_block: bool) -> View:
        """Return the view that a tree other than the live one is; raise `StaleHandleError` if it is gone."""
        view = self.views.find(tree.decode(), may_block=may_block)
        if view is None:
            raise StaleHandleError("the view is gone")
        return view

    def catalog(self, tree: TreeName, may_block: bool) -> Catalog:
        """Return the catalog that a tree shows now; raise as `view` does."""
        return self._catalogs.in_force.catalog if tree == LIVE else self.view(tree, may_block).catalog

    def shows(self, key: PartitionKey, run_id: bytes) -> bool:
        """Whether a run is that of its partition in any tree; one that must be read first counts as such."""
        return is_run_of(self._catalogs.in_force.catalog, key, run_id) or self.showing_view((key, run_id)) is not None

    def showing_view(self, run: RunKey) -> str | None:
        """Return the fingerprint of a view that shows a run, None if none does; one that cannot be asked counts."""
        for fingerprint in self.views.held():
            try:
                view = self.views.find(fingerprint, may_block=False)
            except BrokenRunError:
                continue  # nothing is left of it
            except FilesystemError:
                return fingerprint
            if view is not None and is_run_of(view.catalog, *run):
                return fingerprint
        return None

    def note_open(self, partition: Partition) -> None:
        """Note that a file of a run is opened, for each view in which the kernel holds the run's directory.

        A file does not tell by which tree it was reached, and names that the kernel keeps are not asked for. Where it
        may be the live tree the open does not count: reading that must not keep the pin of a dead job alive.
        """
        if len(self.seen) == 1 or self._may_be_live(partition):
            return
        now_s, asked = self._monotonic(), 0
        for tree in self.seen:
            if tree == LIVE or now_s - self._used_s.get(tree, -USED_FOR_S) < USED_FOR_S:
                continue
            if self._inodes.peek(date_inode(partition, tree)) is not None:
                self._used_s[tree] = now_s
                self.views.used(tree.decode())
            elif (asked := asked + 1) >= MOST_ASKED:
                with self._lock:  # of very many views, others come first the next time
                    self._see((LIVE, *self.seen[MOST_ASKED:], *self.seen[1:MOST_ASKED]))
                break

    def _may_be_live(self, partition: Partition) -> bool:
        """Whether the live tree shows a run now, and the kernel holds its directory there."""
        if self._inodes.peek(date_inode(partition)) is None:
            return False
        return is_run_of(self._catalogs.in_force.catalog, *run_of(partition))

    # ---- what the kernel may hold ----------------------------------------------------------------------------

    def note_seen(self, tree: TreeName) -> None:
        """Note that the kernel is about to learn of a view."""
        if tree not in self.seen:
            with self._lock:
                if tree not in self.seen:
                    self._see((*self.seen, tree))

    def begin_expiry(self) -> None:
        """Note that the kernel is about to be told of a view that has expired, before its nodes are gone through.

        An answer during which that happened may let the kernel keep a name that is not among them for ever. So whoever
        counts a node looks at `expiries` afterwards, and answers anew if it is not what it was before.
        """
        with self._lock:
            self.expiries += 1

    def drop_unseen(self) -> None:
        """Let go of views that are gone and of which the kernel holds nothing: not their root, so nothing below it."""
        held = {fingerprint.encode() for fingerprint in self.views.held()}
        with self._lock:
            self._see(
                tuple(
                    tree
                    for tree in self.seen
                    if tree == LIVE or tree in held or self._inodes.peek(above_inode((), tree)) is not None
                )
            )
            self._used_s = {tree: used_s for tree, used_s in self._used_s.items() if tree in self.seen}

    def _see(self, seen: tuple[TreeName, ...]) -> None:
        self.seen = seen
        self.on_seen(len(seen) == 1)

    def date_inodes(self, partition: Partition) -> Iterator[InodeNumber]:
        """Yield the number of a run's directory in each tree in which the kernel holds it."""
        for tree in self.seen:
            inode = date_inode(partition, tree)
            if self._inodes.peek(inode) is not None:
                yield inode

    def knows(self, partition: Partition) -> bool:
        """Whether the kernel holds the directory of a run in any tree."""
        return next(self.date_inodes(partition), None) is not None

    def in_every_tree(
        self, partition: Partition, relpath: RelPath, names: tuple[bytes, ...], *, listing: bool = True
    ) -> Iterator[Invalidation]:
        """Yield what makes the kernel ask again for names in a directory of a run, wherever it holds that directory."""
        for tree in self.seen:
            inode = directory_inode(partition, relpath, tree)
            if self._inodes.peek(inode) is not None:
                yield Invalidation(inode, names, listing=listing)


def is_run_of(catalog: Catalog, key: PartitionKey, run_id: bytes) -> bool:
    """Whether a run is the one that a catalog shows of its partition."""
    series = catalog.by_key.get(key.series)
    partition = series.find(key.date) if series is not None else None
    return partition is not None and partition.run_id == run_id


def view_time_ns(view: View, newest_ns: int) -> int:
    """Return the time of a directory over runs in a view: the newest row's below it, so the same after a restart."""
    return newest_ns if newest_ns != NOT_SET else view.taken_at_ns


def view_timeout_s(view: View) -> float:
    """Return for how many seconds the kernel may keep a name of a view: for ever, until the view expires."""
    return 0.0 if view.expired else FOREVER_S
