"""What a name means: the answers behind lookup, getattr and listings, made from the catalog in force and the runs.

Used by `filesystem` alone. Down to and including the date directory there is no I/O; below it `runs` is asked, and
`may_block` says whether it may go to the raw store. The one thing that changes is the catalog in force.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

from readyfs.catalog.tree import AMBIGUOUS, Branch, Catalog, DateDirectory, Meaning
from readyfs.errors import BrokenRunError, NotADirectoryNodeError, StaleCatalogError
from readyfs.layout import CONTROL_NAME
from readyfs.partition import NOT_SET, Partition
from readyfs.raw.store import EntryKind, RawEntry
from readyfs.vfs.attributes import (
    BROKEN_FILE_BYTES,
    FOREVER_S,
    Attributes,
    Entry,
    NegativeEntry,
    Presentation,
    date_time_ns,
)
from readyfs.vfs.freshness import Freshness
from readyfs.vfs.inode_table import InodeTable
from readyfs.vfs.listing import Listing
from readyfs.vfs.nodes import (
    ROOT_INODE,
    AboveNode,
    BrokenFileNode,
    ControlNode,
    DateNode,
    InodeNumber,
    Node,
    NodeKind,
    RawNode,
    above_inode,
    above_node,
    broken_file_node,
    control_node,
    date_node,
    raw_node,
)
from readyfs.vfs.runs import BrokenView, Runs, RunView

CONTROL_FILE = b"status.json"


@dataclass(frozen=True, slots=True)
class InForce:
    """The catalog that answers, and its revision: the number of catalogs published since the start."""

    catalog: Catalog
    revision: int


class Resolver:
    """Turns nodes and names into entries.

    `in_force` is replaced whole by the refresh, in one assignment; every answer reads it once. `status_document`
    makes the bytes of the hidden status file and is called anew for every open.
    """

    def __init__(
        self, catalog: Catalog, runs: Runs, presentation: Presentation, freshness: Freshness, inodes: InodeTable
    ) -> None:
        self.in_force = InForce(catalog, 1)
        self.status_document: Callable[[], bytes] = lambda: b"{}\n"
        self._runs = runs
        self._look = presentation
        self._freshness = freshness
        self._inodes = inodes

    def find(self, parent: Node, name: bytes, may_block: bool) -> Entry | NegativeEntry:
        """Return what a name in a directory stands for; the node in the answer is not counted yet."""
        match parent:
            case AboveNode():
                return self._find_above(parent, name)
            case DateNode():
                return self._find_in_run(parent, name, may_block)
            case RawNode() if parent.kind is NodeKind.RAW_DIRECTORY:
                view = self._runs.subdirectory(parent.partition, parent.relpath, may_block=may_block)
                return self._raw_entry(parent.partition, parent.above, parent.relpath, view.entries.get(name))
            case ControlNode() if not parent.name:
                return self._control_entry(name) if name == CONTROL_FILE else NegativeEntry(0.0)
            case _:
                raise NotADirectoryNodeError

    def _find_above(self, parent: AboveNode, name: bytes) -> Entry | NegativeEntry:
        if not parent.path:
            if name == CONTROL_NAME:
                return self._control_entry(b"")
            self.refuse_if_stale()
        catalog = self.in_force.catalog
        directory = catalog.directory(parent.path)
        match directory:
            case Branch() if name in directory.children:
                return self._above_entry((*parent.path, name), directory.children[name].changed_ns)
            case DateDirectory():
                date = catalog.layout.parse_date_name(name)
                meaning = directory.find(date) if date is not None else None
                if date is not None and meaning is not None:
                    return self._date_entry(parent.path, date, meaning)
        if not parent.path and self._freshness.can_go_stale:
            # An absence that the kernel remembers cannot be named when it must be forgotten, and must not answer then.
            return NegativeEntry(0.0)
        return NegativeEntry(self._look.negative_timeout_s)

    def _find_in_run(self, parent: DateNode, name: bytes, may_block: bool) -> Entry | NegativeEntry:
        view = self._view(parent, may_block)
        if isinstance(view, RunView):
            assert parent.partition is not None
            above = (*parent.above, self.in_force.catalog.layout.date_name(parent.date))
            return self._raw_entry(parent.partition, above, (), view.entries.get(name))
        if name not in view.required:
            raise BrokenRunError(view.cause)
        return self._broken_entry(parent, name)

    def _view(self, node: DateNode, may_block: bool) -> RunView | BrokenView:
        if node.partition is None:
            return BrokenView(self._runs.required_names, "two ready rows claim this path")
        return self._runs.view(node.partition, may_block=may_block)

    def refuse_if_stale(self) -> None:
        """Raise `StaleCatalogError` while the catalog is older than it may be (V11)."""
        if self._freshness.stale:
            raise StaleCatalogError

    def attributes(self, node: Node) -> tuple[Attributes, float]:
        """Return a node's attributes and for how many seconds they hold."""
        match node:
            case AboveNode():
                catalog = self.in_force.catalog
                directory = catalog.directory(node.path)
                time_ns = catalog.stamp_ns if directory is None else directory.changed_ns
                return self._look.directory(node.inode, time_ns), self._look.name_timeout_s
            case DateNode():
                return self._date_attributes(node), self._look.name_timeout_s
            case RawNode() if node.kind is NodeKind.RAW_DIRECTORY:
                return self._look.directory(node.inode, node.stat.mtime_ns), FOREVER_S
            case RawNode():
                return self._look.file(node.inode, node.stat.size, node.stat.mtime_ns), FOREVER_S
            case BrokenFileNode():
                time_ns = self._date_attributes(node.date_node).time_ns
                return self._look.file(node.inode, BROKEN_FILE_BYTES, time_ns), 0.0
            case ControlNode() if node.name:
                size = len(self.status_document())
                return self._look.file(node.inode, size, self._freshness.refreshed_at_ns or 0), 0.0
            case _:
                return self._look.directory(node.inode, self._freshness.refreshed_at_ns or 0), 0.0

    def _date_attributes(self, node: DateNode) -> Attributes:
        partition = self.current_row(node)
        updated_at_ns = partition.updated_at_ns if partition is not None else NOT_SET
        return self._look.directory(node.inode, date_time_ns(updated_at_ns, node.date))

    def current_row(self, node: DateNode) -> Partition | None:
        """Return the node's row as it stands now if its run is still current, else as it stood last."""
        if node.partition is not None:
            now = self.in_force.catalog.partition(node.above, node.date)
            if isinstance(now, Partition) and now.run_id == node.partition.run_id and now.key == node.partition.key:
                node.partition = now
        return node.partition

    def _above_entry(self, path: tuple[bytes, ...], changed_ns: int) -> Entry:
        node = above_node(path)
        timeout_s = self._look.name_timeout_s
        return Entry(node, self._look.directory(node.inode, changed_ns), timeout_s, timeout_s)

    def _date_entry(self, above: tuple[bytes, ...], date: int, meaning: Meaning) -> Entry:
        partition = None if meaning is AMBIGUOUS else meaning
        node = date_node(above, date, partition)
        time_ns = date_time_ns(partition.updated_at_ns if partition is not None else NOT_SET, date)
        timeout_s = self._look.name_timeout_s
        return Entry(node, self._look.directory(node.inode, time_ns), timeout_s, timeout_s)

    def _raw_entry(
        self, partition: Partition, above: tuple[bytes, ...], parent: tuple[bytes, ...], found: RawEntry | None
    ) -> Entry | NegativeEntry:
        if found is None:
            return NegativeEntry(self._look.name_timeout_s)
        kind = NodeKind.RAW_FILE if found.kind is EntryKind.FILE else NodeKind.RAW_DIRECTORY
        node = raw_node(kind, partition, above, (*parent, found.name), found.stat)
        while self._holds_other_bytes(node):
            node = raw_node(kind, partition, above, node.relpath, found.stat, node.generation + 1)
        attributes, timeout_s = self.attributes(node)
        return Entry(node, attributes, timeout_s, timeout_s)

    def _holds_other_bytes(self, node: RawNode) -> bool:
        """Whether the kernel holds this number for a file that was since replaced: its pages must not be mixed."""
        known = self._inodes.peek(node.inode)
        return isinstance(known, RawNode) and known.identity == node.identity and known.stat != node.stat

    def _broken_entry(self, parent: DateNode, name: bytes) -> Entry:
        node = broken_file_node(parent, name)
        return Entry(node, self.attributes(node)[0], 0.0, 0.0)

    def _control_entry(self, name: bytes) -> Entry:
        node = control_node(name)
        return Entry(node, self.attributes(node)[0], 0.0, 0.0)

    def dot_entry(self, node: Node, index: int) -> Entry:
        """Return the entry of `.` (0) or `..` (1) in a directory; the kernel uses only its inode number."""
        inode = node.inode if index == 0 else self.parent_inode(node)
        return Entry(node, self._look.directory(inode, 0), 0.0, 0.0)

    def parent_inode(self, node: Node) -> InodeNumber:
        """Return the inode number of the directory that holds a node."""
        match node:
            case AboveNode():
                return above_inode(node.path[:-1])
            case DateNode():
                return above_inode(node.above)
            case RawNode():
                if len(node.relpath) == 1:
                    return date_node(node.above[:-1], node.partition.key.date, node.partition).inode
                holder = NodeKind.RAW_DIRECTORY
                return raw_node(holder, node.partition, node.above, node.relpath[:-1], node.stat).inode
            case _:
                return ROOT_INODE

    def list_entries(self, node: Node, may_block: bool) -> Listing:
        """Return the entries of a directory as of now."""
        in_force = self.in_force
        match node:
            case AboveNode():
                return self._list_above(node, in_force)
            case DateNode():
                return self._list_run(node, in_force.revision, may_block)
            case RawNode():
                view = self._runs.subdirectory(node.partition, node.relpath, may_block=may_block)
                return self._list_view(node.partition, node.above, node.relpath, view, in_force.revision)
            case ControlNode():
                return Listing(in_force.revision, 1, lambda _: (CONTROL_FILE, self._control_entry(CONTROL_FILE)))
            case _:
                raise NotADirectoryNodeError

    def _list_above(self, node: AboveNode, in_force: InForce) -> Listing:
        directory = in_force.catalog.directory(node.path)
        match directory:
            case None:
                return Listing(in_force.revision, 0, _no_entry)
            case Branch():
                names = tuple(directory.children)
                children = directory.children

                def branch_entry(index: int) -> tuple[bytes, Entry]:
                    name = names[index]
                    return name, self._above_entry((*node.path, name), children[name].changed_ns)

                return Listing(in_force.revision, len(names), branch_entry)
            case DateDirectory():
                dates, layout = directory.dates(), in_force.catalog.layout

                def date_entry(index: int) -> tuple[bytes, Entry]:
                    date = dates[index]
                    meaning = directory.find(date)
                    assert meaning is not None
                    return layout.date_name(date), self._date_entry(node.path, date, meaning)

                return Listing(in_force.revision, len(dates), date_entry)
            case _:
                assert_never(directory)

    def _list_run(self, node: DateNode, revision: int, may_block: bool) -> Listing:
        view = self._view(node, may_block)
        if isinstance(view, BrokenView):
            names = view.required
            return Listing(revision, len(names), lambda index: (names[index], self._broken_entry(node, names[index])))
        assert node.partition is not None
        above = (*node.above, self.in_force.catalog.layout.date_name(node.date))
        return self._list_view(node.partition, above, (), view, revision)

    def _list_view(
        self, partition: Partition, above: tuple[bytes, ...], relpath: tuple[bytes, ...], view: RunView, revision: int
    ) -> Listing:
        names = tuple(view.entries)

        def entry_at(index: int) -> tuple[bytes, Entry]:
            entry = self._raw_entry(partition, above, relpath, view.entries[names[index]])
            assert isinstance(entry, Entry)
            return names[index], entry

        return Listing(revision, len(names), entry_at)


def _no_entry(index: int) -> tuple[bytes, Entry]:
    raise IndexError(index)
