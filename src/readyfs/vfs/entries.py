"""Entries and attributes made of nodes: what the kernel is told of a directory or file, and how long that holds.

Never does I/O: above a run they come from the catalog in force, below it from what was read of the run. Used by
`resolver` and `directory_listings`, which say of what an entry is made, and by `filesystem` for getattr. What is made
for each name of a listing is made by `tuple.__new__`: a named tuple's own constructor costs a call of Python more.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Final

from readyfs.catalog.tree import AMBIGUOUS, PartitionEntry
from readyfs.partition import NOT_SET, Partition, run_of
from readyfs.raw.store import EntryKind, RawEntry
from readyfs.vfs.attributes import (
    BROKEN_FILE_BYTES,
    FOREVER_S,
    Attributes,
    Entry,
    Presentation,
    date_time_ns,
)
from readyfs.vfs.catalogs import Catalogs
from readyfs.vfs.file_times import FileTimes
from readyfs.vfs.freshness import Freshness
from readyfs.vfs.inode_number import LIVE, Identity, NodeKind, TreeName
from readyfs.vfs.inode_table import InodeTable
from readyfs.vfs.nodes import (
    AboveNode,
    BrokenNode,
    ControlNode,
    DateNode,
    LinkNode,
    ManifestNode,
    Node,
    RawNode,
    RunNode,
    above_node,
    ambiguous_node,
    broken_node,
    control_directory,
    control_file,
    date_node,
    link_node,
    parent_inode,
    raw_node,
)
from readyfs.vfs.run_view import RunView
from readyfs.vfs.trees import Trees, view_time_ns, view_timeout_s
from readyfs.vfs.views import View

CONTROL_FILE: Final = b"status.json"


class Entries:
    """Makes entries and attributes.

    `status_document` makes the bytes of the hidden status file and is called anew for every entry of it.
    """

    def __init__(
        self,
        catalogs: Catalogs,
        trees: Trees,
        presentation: Presentation,
        freshness: Freshness,
        inodes: InodeTable,
        is_past: Callable[[RawNode], bool],
    ) -> None:
        self.status_document: Callable[[], bytes] = lambda: b"{}\n"
        self._control_serials = count(1)
        self._catalogs = catalogs
        self._trees = trees
        self._presentation = presentation
        self._freshness = freshness
        self._inodes = inodes
        self._is_past = is_past

    def attributes(self, node: Node, may_block: bool) -> tuple[Attributes, float]:
        """Return a node's attributes and for how many seconds they hold.

        Raises as `Trees.view` does for what only a view has.
        """
        match node:
            case AboveNode():
                if node.tree != LIVE:
                    return self._attributes_in_view(node, self._trees.view(node.tree, may_block))
                catalog = self._catalogs.in_force.catalog
                directory = catalog.directory(node.path)
                time_ns = catalog.stamp_ns if directory is None else directory.changed_ns
                return self._presentation.directory(node.inode, time_ns), self._presentation.name_timeout_s
            case DateNode():
                if node.tree != LIVE:
                    return self._attributes_in_view(node, self._trees.view(node.tree, may_block))
                return self._date_attributes(node), self._presentation.name_timeout_s
            case RawNode():
                if node.tree != LIVE:
                    return self._attributes_in_view(node, self._trees.view(node.tree, may_block))
                return self._raw_attributes(node), FOREVER_S
            case BrokenNode():
                if node.tree != LIVE:
                    return self._attributes_in_view(node, self._trees.view(node.tree, may_block))
                return self._broken_attributes(node), 0.0
            case LinkNode():
                return self._presentation.link(node.inode, len(node.target), node.time_ns), FOREVER_S
            case ManifestNode():
                return self._presentation.manifest(node.inode, node.size, node.time_ns), FOREVER_S
            case ControlNode() if not node.is_directory:
                return self._presentation.file(node.inode, len(node.document), node.time_ns), FOREVER_S
            case _:
                return self._presentation.directory(node.inode, 0), self._presentation.name_timeout_s

    def _attributes_in_view(self, node: AboveNode | RunNode, view: View) -> tuple[Attributes, float]:
        if isinstance(node, RawNode):
            return self._raw_attributes(node), view_timeout_s(view)
        if isinstance(node, AboveNode):
            directory = view.catalog.directory(node.path)
            assert directory is not None  # no view changes
            time_ns = view_time_ns(view, directory.newest_ns)
            return self._presentation.directory(node.inode, time_ns), view_timeout_s(view)
        if isinstance(node, DateNode):
            return self._date_attributes(node), view_timeout_s(view)
        return self._broken_attributes(node), 0.0

    def current_row(self, node: RunNode) -> Partition | None:
        """Return the row of a node's run as it stands now if the run is still current, else as it stood last.

        So does a directory of before its run was to be looked at anew. A view has its rows for ever.
        """
        if node.tree != LIVE:
            return node.date_node.partition if isinstance(node, BrokenNode) else node.partition
        if isinstance(node, BrokenNode):
            before = node.date_node.partition
            partition = self.current_row(node.date_node)
            if partition is not before:
                self._inodes.amend(node.inode, BrokenNode, lambda held: _learn_row(held.date_node, partition))
            return partition
        if node.partition is not None and not (isinstance(node, RawNode) and self._is_past(node)):
            now = self._catalogs.in_force.catalog.meaning(node.above, node.partition.key)
            known = (node.partition.key, node.partition.run_id)
            if isinstance(now, Partition) and (now.key, now.run_id) == known and now != node.partition:
                node.partition = now
                self._inodes.amend(node.inode, type(node), lambda held: _learn_row(held, now))
        return node.partition

    def above_entry(self, path: tuple[bytes, ...], time_ns: int, timeout_s: float, tree: TreeName = LIVE) -> Entry:
        """Return the entry of a directory over the dates, or of a tree's root."""
        node = above_node(path, tree)
        return Entry(node, self._presentation.directory(node.inode, time_ns), timeout_s, timeout_s)

    def date_entry(
        self, above: tuple[bytes, ...], found: PartitionEntry, timeout_s: float, tree: TreeName = LIVE
    ) -> Entry:
        """Return the entry of a date directory: of its run, or of a path that two rows claim."""
        if found.meaning is AMBIGUOUS:
            node, updated_at_ns = ambiguous_node(above, found.name, found.date, tree), NOT_SET
        else:
            node, updated_at_ns = date_node(above, found.meaning, tree), found.meaning.updated_at_ns
        time_ns = date_time_ns(updated_at_ns, found.date)
        return Entry(node, self._presentation.directory(node.inode, time_ns), timeout_s, timeout_s)

    def published_ns(self, directory: RunNode) -> int:
        """Return what all times of what lies in a directory show, `NOT_SET` where they are the raw files' (V9)."""
        if self._presentation.file_times is FileTimes.RAW:
            return NOT_SET
        partition = self.current_row(directory)
        return partition.updated_at_ns if partition is not None else NOT_SET

    def raw_entry(
        self, date: DateNode, parent: tuple[bytes, ...], view: RunView, found: RawEntry, published_ns: int
    ) -> Entry:
        """Return the entry of what a sealed run holds in the directory `parent`."""
        entry = self._make_raw_entry(date, parent, view, found, 0, published_ns)
        if self._inodes.agrees(entry.node):
            return entry
        if found.kind is EntryKind.DIRECTORY:
            self._inodes.amend(entry.node.inode, RawNode, partial(_look_anew, entry.node))
            return entry
        generation, known = 0, self._inodes.peek(entry.node.inode)
        while (
            isinstance(known, RawNode)
            and (known.superseded or known.stat != found.stat)
            and known.identity == entry.node.identity
        ):
            # The kernel holds this number for a file that was since replaced: its pages must not be mixed.
            generation += 1
            entry = self._make_raw_entry(date, parent, view, found, generation, published_ns)
            known = self._inodes.peek(entry.node.inode)
        if isinstance(known, RawNode) and known.sealing < view.sealing:
            self._inodes.amend(known.inode, RawNode, partial(_seal_anew, entry.node))
        return entry

    def broken_entry(self, date: DateNode, relpath: tuple[bytes, ...], kind: EntryKind) -> Entry:
        """Return the entry that stands for a place within a run that cannot be served."""
        node_kind = NodeKind.BROKEN_FILE if kind is EntryKind.FILE else NodeKind.BROKEN_DIRECTORY
        node = broken_node(node_kind, date, relpath)
        return Entry(node, self._broken_attributes(node), 0.0, 0.0)

    def link_entry(self, place: Identity, name: bytes, target: bytes, time_ns: int, timeout_s: float = 0.0) -> Entry:
        """Return the entry of a symbolic link."""
        node = link_node(place, name, target, time_ns)
        return Entry(node, self._presentation.link(node.inode, len(target), time_ns), timeout_s, FOREVER_S)

    def control_file_entry(self) -> Entry:
        """Make the status file as it is now: another file each time, so that nothing cached of it ever ages."""
        time_ns = self._freshness.refreshed_at_ns or 0
        node = control_file(CONTROL_FILE, next(self._control_serials), self.status_document(), time_ns)
        return Entry(node, self._presentation.file(node.inode, len(node.document), time_ns), 0.0, FOREVER_S)

    def control_directory_entry(self, name: bytes = b"") -> Entry:
        """Return the entry of the hidden control directory, or of a directory in it; each stands for ever.

        Their names are kept, or every open in a view would ask for both.
        """
        node = control_directory(name)
        attributes, timeout_s = self._presentation.directory(node.inode, 0), self._presentation.name_timeout_s
        return Entry(node, attributes, timeout_s, timeout_s)

    def dot_entry(self, node: Node, index: int) -> Entry:
        """Return the entry of `.` (0) or `..` (1) in a directory; the kernel uses only its inode number."""
        inode = node.inode if index == 0 else parent_inode(node)
        return tuple.__new__(Entry, (node, self._presentation.directory(inode, 0), 0.0, 0.0))

    def _date_attributes(self, node: DateNode) -> Attributes:
        partition = self.current_row(node)
        updated_at_ns = partition.updated_at_ns if partition is not None else NOT_SET
        return self._presentation.directory(node.inode, date_time_ns(updated_at_ns, node.date))

    def _broken_attributes(self, node: BrokenNode) -> Attributes:
        time_ns = self._date_attributes(node.date_node).time_ns
        if node.is_directory:
            return self._presentation.directory(node.inode, time_ns)
        return self._presentation.file(node.inode, BROKEN_FILE_BYTES, time_ns)

    def _make_raw_entry(
        self,
        date: DateNode,
        parent: tuple[bytes, ...],
        view: RunView,
        found: RawEntry,
        generation: int,
        published_ns: int,
    ) -> Entry:
        assert date.partition is not None
        name, kind, stat = found
        relpath = (*parent, name)
        time_ns = stat.mtime_ns if published_ns == NOT_SET else published_ns
        parts = date.partition, date.above, relpath, stat, generation, published_ns, view.sealing
        if kind is EntryKind.FILE:
            node = raw_node(NodeKind.RAW_FILE, *parts, LIVE, view.place)
            attributes = self._presentation.file(node.inode, stat.size, time_ns)
        else:
            node = raw_node(NodeKind.RAW_DIRECTORY, *parts, date.tree, view.place)
            attributes = self._presentation.directory(node.inode, time_ns)
        return tuple.__new__(Entry, (node, attributes, FOREVER_S, FOREVER_S))

    def _raw_attributes(self, node: RawNode) -> Attributes:
        time_ns = node.stat.mtime_ns if node.published_ns == NOT_SET else node.published_ns
        if node.kind is NodeKind.RAW_DIRECTORY:
            return self._presentation.directory(node.inode, time_ns)
        return self._presentation.file(node.inode, node.stat.size, time_ns)


# ---- what becomes of a node that the kernel holds (see `InodeTable.amend`) --------------------------------------


def _learn_row(held: DateNode | RawNode, row: Partition | None) -> None:
    if held.partition is not None and row is not None and run_of(held.partition) == run_of(row):
        held.partition = row


def _look_anew(directory: Node, held: RawNode) -> None:
    """A directory is what it is for whoever holds it, whatever comes to lie in it."""
    if isinstance(directory, RawNode) and directory.identity == held.identity:
        held.stat, held.published_ns, held.sealing = directory.stat, directory.published_ns, directory.sealing


def _seal_anew(file: Node, held: RawNode) -> None:
    if isinstance(file, RawNode) and file.is_same_file(held):
        held.sealing = max(held.sealing, file.sealing)
