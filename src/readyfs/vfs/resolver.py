"""What a name means: the answers behind lookup, getattr and listings, made from the catalog in force and the runs.

Used by `filesystem` alone. Down to and including the date directory there is no I/O; below it `runs` is asked, and
`may_block` says whether it may go to the raw store. The one thing that changes is the catalog in force.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, assert_never

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
    BrokenNode,
    ControlNode,
    DateNode,
    InodeNumber,
    Node,
    NodeKind,
    RawNode,
    above_inode,
    above_node,
    broken_node,
    control_node,
    date_node,
    raw_node,
)
from readyfs.vfs.read_ahead import BUDGET_S, ReadAhead
from readyfs.vfs.runs import BrokenView, Runs, RunView

CONTROL_FILE = b"status.json"

RunNode: TypeAlias = DateNode | RawNode | BrokenNode
"""A node of one run: its directory, or what lies below that."""


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
        self._read_ahead = ReadAhead()
        self._look = presentation
        self._freshness = freshness
        self._inodes = inodes

    def find(self, parent: Node, name: bytes, may_block: bool) -> Entry | NegativeEntry:
        """Return what a name in a directory stands for; the node in the answer is not counted yet."""
        match parent:
            case AboveNode():
                return self._find_above(parent, name)
            case DateNode() | RawNode() | BrokenNode() if parent.is_directory:
                return self._find_in_run(parent, name, may_block)
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

    def _find_in_run(self, parent: RunNode, name: bytes, may_block: bool) -> Entry | NegativeEntry:
        date, relpath = self._place_in_run(parent)
        view = self._view(date, relpath, may_block)
        if isinstance(view, RunView):
            return self._raw_entry(date, relpath, view.entries.get(name))
        if name not in view.names:
            raise BrokenRunError(view.cause)
        return self._broken_entry(date, (*relpath, name), view.names[name])

    def _place_in_run(self, node: RunNode) -> tuple[DateNode, tuple[bytes, ...]]:
        """Return the date directory over a node, and the node's path below it."""
        match node:
            case DateNode():
                return node, ()
            case RawNode():
                return date_node(node.above[:-1], node.partition.key.date, node.partition), node.relpath
            case BrokenNode():
                return node.date_node, node.relpath
            case _:
                assert_never(node)

    def _view(self, date: DateNode, relpath: tuple[bytes, ...], may_block: bool) -> RunView | BrokenView:
        if date.partition is None:
            names = dict.fromkeys(self._runs.required_names, EntryKind.FILE)
            return BrokenView(names, "two ready rows claim this path")
        return self._runs.view(date.partition, relpath, may_block=may_block)

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
            case BrokenNode():
                time_ns = self._date_attributes(node.date_node).time_ns
                if node.is_directory:
                    return self._look.directory(node.inode, time_ns), 0.0
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

    def current_row(self, node: RunNode) -> Partition | None:
        """Return the row of a node's run as it stands now if the run is still current, else as it stood last."""
        if isinstance(node, BrokenNode):
            return self.current_row(node.date_node)
        if node.partition is not None:
            above = node.above if isinstance(node, DateNode) else node.above[:-1]
            now = self.in_force.catalog.partition(above, node.partition.key.date)
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

    def _raw_entry(self, date: DateNode, parent: tuple[bytes, ...], found: RawEntry | None) -> Entry | NegativeEntry:
        if found is None:
            return NegativeEntry(self._look.name_timeout_s)
        assert date.partition is not None
        partition, above = date.partition, (*date.above, self.in_force.catalog.layout.date_name(date.date))
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

    def _broken_entry(self, date: DateNode, relpath: tuple[bytes, ...], kind: EntryKind) -> Entry:
        node_kind = NodeKind.BROKEN_FILE if kind is EntryKind.FILE else NodeKind.BROKEN_DIRECTORY
        node = broken_node(node_kind, date, relpath)
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
            case BrokenNode():
                if len(node.relpath) == 1:
                    return node.date_node.inode
                return broken_node(NodeKind.BROKEN_DIRECTORY, node.date_node, node.relpath[:-1]).inode
            case _:
                return ROOT_INODE

    def list_entries(self, node: Node, may_block: bool) -> Listing:
        """Return the entries of a directory as of now."""
        in_force = self.in_force
        match node:
            case AboveNode():
                return self._list_above(node, in_force)
            case DateNode() | RawNode() | BrokenNode():
                return self._list_run(node, in_force.revision, may_block)
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

    def _look_ahead(self, date: DateNode) -> None:
        """Look at the runs of the next dates too, if listings of unknown runs come one after the other."""
        directory = self.in_force.catalog.directory(date.above)
        if not isinstance(directory, DateDirectory):
            return
        dates = directory.dates()
        index = bisect_left(dates, date.date)
        ahead = dates[index + 1 : index + 1 + self._read_ahead.window(date.above, index)]
        found = (directory.find(one) for one in ahead)
        until_s = time.monotonic() + BUDGET_S
        self._read_ahead.advance(self._runs.look_ahead(found, until_s))

    def _list_run(self, node: RunNode, revision: int, may_block: bool) -> Listing:
        date, relpath = self._place_in_run(node)
        view = self._view(date, relpath, may_block)
        if may_block and not relpath:
            self._look_ahead(date)
        if isinstance(view, BrokenView):
            return self._list_broken(date, relpath, view, revision)
        entries = view.entries
        names = tuple(entries)

        def entry_at(index: int) -> tuple[bytes, Entry]:
            entry = self._raw_entry(date, relpath, entries[names[index]])
            assert isinstance(entry, Entry)
            return names[index], entry

        return Listing(revision, len(names), entry_at)

    def _list_broken(self, date: DateNode, relpath: tuple[bytes, ...], view: BrokenView, revision: int) -> Listing:
        if not view.names:
            raise BrokenRunError(view.cause)
        names = tuple(view.names.items())

        def entry_at(index: int) -> tuple[bytes, Entry]:
            name, kind = names[index]
            return name, self._broken_entry(date, (*relpath, name), kind)

        return Listing(revision, len(names), entry_at)


def _no_entry(index: int) -> tuple[bytes, Entry]:
    raise IndexError(index)
