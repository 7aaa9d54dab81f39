"""From a name to the node that it stands for, and so to its inode: the answers behind lookup.

Used by `filesystem` alone. Down to and including the date directory there is no I/O: the catalog in force says what
there is. Below it `runs` is asked, and `may_block` says whether it may go to the raw store.
"""

from __future__ import annotations

from readyfs.catalog.tree import Branch, DateDirectory, PartitionDirectory
from readyfs.errors import BrokenRunError, NotADirectoryNodeError
from readyfs.layout import CONTROL_NAME
from readyfs.vfs.attributes import Entry, NegativeEntry, Presentation
from readyfs.vfs.catalogs import Catalogs
from readyfs.vfs.entries import CONTROL_FILE, Entries
from readyfs.vfs.freshness import Freshness
from readyfs.vfs.nodes import AboveNode, BrokenNode, ControlNode, DateNode, Node, RawNode, RunNode, place_in_run
from readyfs.vfs.run_view import RunView
from readyfs.vfs.runs import Runs


class Resolver:
    """Turns directories and names into entries; nothing here changes."""

    def __init__(
        self, catalogs: Catalogs, runs: Runs, entries: Entries, presentation: Presentation, freshness: Freshness
    ) -> None:
        self._catalogs = catalogs
        self._runs = runs
        self._entries = entries
        self._presentation = presentation
        self._freshness = freshness

    def find(self, parent: Node, name: bytes, may_block: bool) -> Entry | NegativeEntry:
        """Return what a name in a directory stands for; the node in the answer is not counted yet."""
        match parent:
            case AboveNode():
                return self._find_above(parent, name)
            case DateNode() | RawNode() | BrokenNode() if parent.is_directory:
                return self._find_in_run(parent, name, may_block)
            case ControlNode() if not parent.name:
                return self._entries.control_file_entry() if name == CONTROL_FILE else NegativeEntry(0.0)
            case _:
                raise NotADirectoryNodeError

    def _find_above(self, parent: AboveNode, name: bytes) -> Entry | NegativeEntry:
        if not parent.path:
            if name == CONTROL_NAME:
                return self._entries.control_directory_entry()
            self._freshness.refuse_if_stale()
        directory = self._catalogs.in_force.catalog.directory(parent.path)
        match directory:
            case Branch() if name in directory.children:
                changed_ns = directory.children[name].changed_ns
                return self._entries.above_entry((*parent.path, name), changed_ns, self._presentation.name_timeout_s)
            case DateDirectory() | PartitionDirectory():
                found = directory.entry(name)
                if found is not None:
                    return self._entries.date_entry(parent.path, found, self._presentation.name_timeout_s)
        if not parent.path and self._freshness.can_go_stale:
            # An absence that the kernel remembers cannot be named when it must be forgotten, and must not answer then.
            return NegativeEntry(0.0)
        return NegativeEntry(self._presentation.negative_timeout_s)

    def _find_in_run(self, parent: RunNode, name: bytes, may_block: bool) -> Entry | NegativeEntry:
        date, relpath = place_in_run(parent)
        view = self._runs.view(date.partition, relpath, may_block=may_block)
        if isinstance(view, RunView):
            found = view.entries.get(name)
            if found is None:
                return NegativeEntry(self._presentation.name_timeout_s if view.may_remember_absence(name) else 0.0)
            return self._entries.raw_entry(date, relpath, view, found, self._entries.published_ns(parent))
        if name not in view.names:
            raise BrokenRunError(view.cause)
        return self._entries.broken_entry(date, (*relpath, name), view.names[name])
