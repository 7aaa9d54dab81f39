"""From a name to the node that it stands for, and so to its inode: the answers behind lookup.

Used by `filesystem` alone. Down to and including the date directory there is no I/O in the live tree: the catalog in
force says what there is. Below it the runs are asked, and `may_block` says whether the raw store may be, too.
"""

from __future__ import annotations

from typing import Final

from readyfs.catalog.tree import AMBIGUOUS, Branch, Catalog, DateDirectory, PartitionDirectory
from readyfs.errors import BrokenRunError, NotADirectoryNodeError
from readyfs.layout import CONTROL_NAME
from readyfs.manifest.form import FORMS
from readyfs.partition import NOT_SET
from readyfs.vfs.attributes import Entry, NegativeEntry, Presentation, date_time_ns
from readyfs.vfs.catalogs import Catalogs
from readyfs.vfs.control_directory import ControlDirectory
from readyfs.vfs.entries import Entries
from readyfs.vfs.freshness import Freshness
from readyfs.vfs.inode_number import LIVE
from readyfs.vfs.manifests import Manifests
from readyfs.vfs.nodes import AboveNode, BrokenNode, ControlNode, DateNode, Node, RawNode, RunNode, place_in_run
from readyfs.vfs.run_view import RunView
from readyfs.vfs.tree_runs import TreeRuns
from readyfs.vfs.trees import Trees, view_time_ns, view_timeout_s

LATEST_NAME: Final = b"latest"
"""In a directory of dates, a link to the newest of them."""


class Resolver:
    """Turns directories and names into entries; nothing here changes."""

    def __init__(
        self,
        catalogs: Catalogs,
        trees: Trees,
        runs: TreeRuns,
        control: ControlDirectory,
        manifests: Manifests,
        entries: Entries,
        presentation: Presentation,
        freshness: Freshness,
    ) -> None:
        self._catalogs = catalogs
        self._trees = trees
        self._runs = runs
        self._control = control
        self._manifests = manifests
        self._entries = entries
        self._presentation = presentation
        self._freshness = freshness

    def find(self, parent: Node, name: bytes, may_block: bool) -> Entry | NegativeEntry:
        """Return what a name in a directory stands for; the node in the answer is not counted yet."""
        match parent:
            case AboveNode():
                if parent.tree != LIVE:
                    return self._find_in_view(parent, name, may_block)
                return self._find_above(parent, name, may_block)
            case DateNode() | RawNode() | BrokenNode() if parent.is_directory:
                return self._find_in_run(parent, name, may_block)
            case ControlNode() if parent.is_directory:
                return self._control.find(parent, name, may_block)
            case _:
                raise NotADirectoryNodeError

    def _find_above(self, parent: AboveNode, name: bytes, may_block: bool) -> Entry | NegativeEntry:
        if not parent.path:
            if name == CONTROL_NAME:
                return self._entries.control_directory_entry()
            self._freshness.refuse_if_stale()
        in_force = self._catalogs.in_force
        catalog = in_force.catalog
        directory = catalog.directory(parent.path)
        timeout_s = in_force.timeout_s(parent.path, self._presentation.name_timeout_s)
        match directory:
            case Branch() if name in directory.children:
                changed_ns = directory.children[name].changed_ns
                return self._entries.above_entry((*parent.path, name), changed_ns, timeout_s)
            case DateDirectory() | PartitionDirectory():
                found = directory.entry(name)
                if found is not None:
                    return self._entries.date_entry(parent.path, found, timeout_s)
        # Nothing of these is kept, neither that they are there nor that they are not: so a refresh has nothing to tell.
        if name == LATEST_NAME:
            self._freshness.refuse_if_stale()
            return self._find_latest(catalog, parent, 0.0)
        if name in FORMS:
            self._freshness.refuse_if_stale()
            return self._find_manifest(catalog, parent, name, may_block)
        if not parent.path and self._freshness.can_go_stale:
            # An absence that the kernel remembers cannot be named when it must be forgotten, and must not answer then.
            return NegativeEntry(0.0)
        return NegativeEntry(in_force.timeout_s(parent.path, self._presentation.negative_timeout_s))

    def _find_in_view(self, parent: AboveNode, name: bytes, may_block: bool) -> Entry | NegativeEntry:
        view = self._trees.view(parent.tree, may_block)
        self._trees.views.used(view.fingerprint)
        timeout_s = view_timeout_s(view)
        directory = view.catalog.directory(parent.path)
        match directory:
            case Branch() if name in directory.children:
                time_ns = view_time_ns(view, directory.children[name].newest_ns)
                return self._entries.above_entry((*parent.path, name), time_ns, timeout_s, parent.tree)
            case DateDirectory() | PartitionDirectory():
                found = directory.entry(name)
                if found is not None:
                    return self._entries.date_entry(parent.path, found, timeout_s, parent.tree)
        if name == LATEST_NAME:
            return self._find_latest(view.catalog, parent, timeout_s)
        if name in FORMS:
            return self._find_manifest(view.catalog, parent, name, may_block)
        return NegativeEntry(timeout_s)

    def _find_latest(self, catalog: Catalog, parent: AboveNode, timeout_s: float) -> Entry | NegativeEntry:
        """Return the link to the newest date of a series, whatever its run is like."""
        directory = catalog.directory(parent.path)
        if not isinstance(directory, DateDirectory):
            return NegativeEntry(timeout_s)
        date = directory.dates[-1]
        meaning = directory.find(date)
        updated_at_ns = NOT_SET if meaning is None or meaning is AMBIGUOUS else meaning.updated_at_ns
        place, target = (parent.tree, *parent.path), catalog.layout.date_name(date)
        return self._entries.link_entry(place, LATEST_NAME, target, date_time_ns(updated_at_ns, date), timeout_s)

    def _find_manifest(
        self, catalog: Catalog, parent: AboveNode, name: bytes, may_block: bool
    ) -> Entry | NegativeEntry:
        """Return the manifest of a directory, which names of partitions come before."""
        return self._manifests.find(catalog, parent.path, FORMS[name], may_block) or NegativeEntry(0.0)

    def _find_in_run(self, parent: RunNode, name: bytes, may_block: bool) -> Entry | NegativeEntry:
        date, relpath = place_in_run(parent)
        view = self._runs.view(date, relpath, may_block=may_block)
        if isinstance(view, RunView):
            found = view.entries.get(name)
            if found is None:
                return NegativeEntry(self._presentation.name_timeout_s if view.may_remember_absence(name) else 0.0)
            return self._entries.raw_entry(date, relpath, view, found, self._entries.published_ns(parent))
        if name not in view.names:
            raise BrokenRunError(view.cause)
        return self._entries.broken_entry(date, (*relpath, name), view.names[name])
