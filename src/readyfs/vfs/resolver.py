"""What a name means: the answers behind lookup, getattr and listings, made from the catalog in force and the runs.

Used by `filesystem` alone. Down to and including the date directory there is no I/O; below it `runs` is asked, and
`may_block` says whether it may go to the raw store. The one thing that changes is the catalog in force.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import TypeAlias, assert_never

from readyfs.catalog.history import CatalogHistory
from readyfs.catalog.tree import AMBIGUOUS, NOTHING, Branch, Catalog, DateDirectory, Directory, Meaning
from readyfs.errors import (
    BrokenRunError,
    NotADirectoryNodeError,
    StaleCatalogError,
    StaleHandleError,
    WouldBlockError,
)
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
from readyfs.vfs.inode_number import ROOT_INODE, InodeNumber, NodeKind, above_inode, date_inode, raw_inode
from readyfs.vfs.inode_table import InodeTable
from readyfs.vfs.listing import Listing
from readyfs.vfs.look_ahead import BUDGET_S, ReadAhead
from readyfs.vfs.nodes import (
    AboveNode,
    BrokenNode,
    ControlNode,
    DateNode,
    Node,
    RawNode,
    above_node,
    broken_node,
    control_directory,
    control_file,
    date_node,
    raw_node,
)
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
    makes the bytes of the hidden status file and is called anew for every lookup of it.
    """

    def __init__(
        self,
        catalog: Catalog,
        history: CatalogHistory,
        runs: Runs,
        presentation: Presentation,
        freshness: Freshness,
        inodes: InodeTable,
        read_ahead: ReadAhead | None,
    ) -> None:
        self.in_force = InForce(catalog, 1)
        self._history = history
        self._control_serials = count(1)
        self.status_document: Callable[[], bytes] = lambda: b"{}\n"
        self._runs = runs
        self._read_ahead = read_ahead
        self._look = presentation
        self._freshness = freshness
        self._inodes = inodes

    def publish(self, catalog: Catalog) -> None:
        """Put a catalog into force; the one before is kept for the passes that are under way in it."""
        before = self.in_force
        self._history.add(before.catalog)
        self.in_force = InForce(catalog, before.revision + 1)

    def find(self, parent: Node, name: bytes, may_block: bool) -> Entry | NegativeEntry:
        """Return what a name in a directory stands for; the node in the answer is not counted yet."""
        match parent:
            case AboveNode():
                return self._find_above(parent, name)
            case DateNode() | RawNode() | BrokenNode() if parent.is_directory:
                return self._find_in_run(parent, name, may_block)
            case ControlNode() if not parent.name:
                return self._control_file_entry() if name == CONTROL_FILE else NegativeEntry(0.0)
            case _:
                raise NotADirectoryNodeError

    def _find_above(self, parent: AboveNode, name: bytes) -> Entry | NegativeEntry:
        if not parent.path:
            if name == CONTROL_NAME:
                node = control_directory()
                return Entry(node, self.attributes(node)[0], 0.0, 0.0)
            self.refuse_if_stale()
        catalog = self.in_force.catalog
        directory = catalog.directory(parent.path)
        match directory:
            case Branch() if name in directory.children:
                changed_ns = directory.children[name].changed_ns
                return self._above_entry((*parent.path, name), changed_ns, self._look.name_timeout_s)
            case DateDirectory():
                date = catalog.layout.parse_date_name(name)
                meaning = directory.find(date) if date is not None else None
                if date is not None and meaning is not None:
                    return self._date_entry(parent.path, date, meaning, self._look.name_timeout_s)
        if not parent.path and self._freshness.can_go_stale:
            # An absence that the kernel remembers cannot be named when it must be forgotten, and must not answer then.
            return NegativeEntry(0.0)
        return NegativeEntry(self._look.negative_timeout_s)

    def _find_in_run(self, parent: RunNode, name: bytes, may_block: bool) -> Entry | NegativeEntry:
        date, relpath = self._place_in_run(parent)
        view = self._view(date, relpath, may_block)
        if isinstance(view, RunView):
            found = view.entries.get(name)
            if found is None:
                return NegativeEntry(self._look.name_timeout_s)
            return self._raw_entry(date, relpath, view, found)
        if name not in view.names:
            raise BrokenRunError(view.cause)
        return self._broken_entry(date, (*relpath, name), view.names[name])

    def _place_in_run(self, node: RunNode) -> tuple[DateNode, tuple[bytes, ...]]:
        """Return the date directory over a node, and the node's path below it."""
        match node:
            case DateNode():
                return node, ()
            case RawNode():
                return date_node(node.above, node.partition.key.date, node.partition), node.relpath
            case BrokenNode():
                return node.date_node, node.relpath
            case _:
                assert_never(node)

    def _view(self, date: DateNode, relpath: tuple[bytes, ...], may_block: bool) -> RunView | BrokenView:
        if date.partition is None:
            names = dict.fromkeys(sorted(self._runs.required_names), EntryKind.FILE)
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
            case RawNode():
                return self._raw_attributes(node), FOREVER_S
            case BrokenNode():
                time_ns = self._date_attributes(node.date_node).time_ns
                if node.is_directory:
                    return self._look.directory(node.inode, time_ns), 0.0
                return self._look.file(node.inode, BROKEN_FILE_BYTES, time_ns), 0.0
            case ControlNode() if node.name:
                return self._look.file(node.inode, len(node.document), node.time_ns), FOREVER_S
            case _:
                return self._look.directory(node.inode, self._freshness.refreshed_at_ns or 0), 0.0

    def _date_attributes(self, node: DateNode) -> Attributes:
        partition = self.current_row(node)
        updated_at_ns = partition.updated_at_ns if partition is not None else NOT_SET
        return self._look.directory(node.inode, date_time_ns(updated_at_ns, node.date))

    def current_row(self, node: RunNode) -> Partition | None:
        """Return the row of a node's run as it stands now if the run is still current, else as it stood last."""
        if isinstance(node, BrokenNode):
            before = node.date_node.partition
            partition = self.current_row(node.date_node)
            if partition is not before:
                self._inodes.update(node)
            return partition
        if node.partition is not None:
            now = self.in_force.catalog.partition(node.above, node.partition.key.date)
            known = (node.partition.key, node.partition.run_id)
            if isinstance(now, Partition) and (now.key, now.run_id) == known and now != node.partition:
                node.partition = now
                self._inodes.update(node)
        return node.partition

    def _above_entry(self, path: tuple[bytes, ...], changed_ns: int, timeout_s: float) -> Entry:
        node = above_node(path)
        return Entry(node, self._look.directory(node.inode, changed_ns), timeout_s, timeout_s)

    def _date_entry(self, above: tuple[bytes, ...], date: int, meaning: Meaning, timeout_s: float) -> Entry:
        partition = None if meaning is AMBIGUOUS else meaning
        node = date_node(above, date, partition)
        time_ns = date_time_ns(partition.updated_at_ns if partition is not None else NOT_SET, date)
        return Entry(node, self._look.directory(node.inode, time_ns), timeout_s, timeout_s)

    def _raw_entry(self, date: DateNode, parent: tuple[bytes, ...], view: RunView, found: RawEntry) -> Entry:
        entry = view.answers.get(found.name)
        if entry is None:
            entry = view.answers.setdefault(found.name, self._make_raw_entry(date, parent, found, 0))
        known = self._inodes.peek(entry.node.inode)
        generation = 0
        while (
            isinstance(known, RawNode)
            and (known.superseded or known.stat != found.stat)
            and known.identity == entry.node.identity
        ):
            # The kernel holds this number for a file that was since replaced: its pages must not be mixed.
            generation += 1
            entry = self._make_raw_entry(date, parent, found, generation)
            known = self._inodes.peek(entry.node.inode)
        return entry

    def _make_raw_entry(self, date: DateNode, parent: tuple[bytes, ...], found: RawEntry, generation: int) -> Entry:
        assert date.partition is not None
        kind = NodeKind.RAW_FILE if found.kind is EntryKind.FILE else NodeKind.RAW_DIRECTORY
        node = raw_node(kind, date.partition, date.above, (*parent, found.name), found.stat, generation)
        return Entry(node, self._raw_attributes(node), FOREVER_S, FOREVER_S)

    def _raw_attributes(self, node: RawNode) -> Attributes:
        if node.kind is NodeKind.RAW_DIRECTORY:
            return self._look.directory(node.inode, node.stat.mtime_ns)
        return self._look.file(node.inode, node.stat.size, node.stat.mtime_ns)

    def _broken_entry(self, date: DateNode, relpath: tuple[bytes, ...], kind: EntryKind) -> Entry:
        node_kind = NodeKind.BROKEN_FILE if kind is EntryKind.FILE else NodeKind.BROKEN_DIRECTORY
        node = broken_node(node_kind, date, relpath)
        return Entry(node, self.attributes(node)[0], 0.0, 0.0)

    def _control_file_entry(self) -> Entry:
        """Make the status file as it is now: another file each time, so that nothing cached of it ever ages."""
        time_ns = self._freshness.refreshed_at_ns or 0
        node = control_file(CONTROL_FILE, next(self._control_serials), self.status_document(), time_ns)
        attributes, timeout_s = self.attributes(node)
        return Entry(node, attributes, 0.0, timeout_s)

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
                    return date_inode(node.partition)
                return raw_inode(NodeKind.RAW_DIRECTORY, node.partition, node.relpath[:-1])
            case BrokenNode():
                if len(node.relpath) == 1:
                    return node.date_node.inode
                return broken_node(NodeKind.BROKEN_DIRECTORY, node.date_node, node.relpath[:-1]).inode
            case _:
                return ROOT_INODE

    def list_directory(self, node: Node, stamp: int | None, may_block: bool) -> Listing:
        """Return the listing with a stamp, or without one the listing as of now.

        Raises `StaleHandleError` if there is none, or none any more, with that stamp.
        """
        match node:
            case AboveNode():
                return self._list_above(node, stamp)
            case DateNode() | RawNode() | BrokenNode() if node.is_directory:
                listing = self._list_run(node, may_block)
            case ControlNode() if not node.name:
                names = (CONTROL_FILE,)
                listing = Listing(
                    0, lambda: names, lambda start: ((n, self._control_file_entry()) for n in names[start:])
                )
            case _:
                raise NotADirectoryNodeError
        if stamp is not None and listing.stamp != stamp:
            raise StaleHandleError("the directory has other names by now")
        return listing

    def _list_above(self, node: AboveNode, stamp: int | None) -> Listing:
        in_force = self.in_force
        layout = in_force.catalog.layout
        current = in_force.catalog.directory(node.path) or NOTHING
        directory: Directory | None = current
        if stamp is not None and current.stamp != stamp:
            directory = self._history.find(node.path, stamp)
        if directory is None:
            raise StaleHandleError("the listing is no longer kept")

        def timeout_s() -> float:
            # The kernel was told to forget the names and times of older catalogs: it must not learn them again.
            return self._look.name_timeout_s if directory is current and self.in_force is in_force else 0.0

        match directory:
            case Branch():
                children, names = directory.children, directory.names

                def branches_from(start: int) -> Iterator[tuple[bytes, Entry]]:
                    for index in range(start, len(names)):
                        name = names[index]
                        yield name, self._above_entry((*node.path, name), children[name].changed_ns, timeout_s())

                return Listing(directory.stamp, lambda: children, branches_from)
            case DateDirectory():
                dates = directory

                def dates_from(start: int) -> Iterator[tuple[bytes, Entry]]:
                    for date, meaning in dates.meanings_from(start):
                        yield layout.date_name(date), self._date_entry(node.path, date, meaning, timeout_s())

                return Listing(directory.stamp, lambda: map(layout.date_name, dates.dates), dates_from)
            case _:
                assert_never(directory)

    def _look_ahead(self, date: DateNode, read_ahead: ReadAhead) -> None:
        """Look at the runs of the next dates too, if listings of unknown runs come one after the other."""
        directory = self.in_force.catalog.directory(date.above)
        if not isinstance(directory, DateDirectory):
            return
        dates = directory.dates
        index = bisect_left(dates, date.date)
        ahead = dates[index + 1 : index + 1 + read_ahead.window(date.above, index)]
        found = (directory.find(one) for one in ahead)
        until_s = time.monotonic() + BUDGET_S
        read_ahead.advance(self._runs.look_ahead(found, until_s))

    def _list_run(self, node: RunNode, may_block: bool) -> Listing:
        date, relpath = self._place_in_run(node)
        try:
            view = self._view(date, relpath, may_block=False)
        except WouldBlockError:
            if not may_block:
                raise
            view = self._view(date, relpath, may_block=True)
            if not relpath and self._read_ahead is not None:
                self._look_ahead(date, self._read_ahead)
        if isinstance(view, BrokenView):
            return self._list_broken(date, relpath, view)

        def entries_from(start: int) -> Iterator[tuple[bytes, Entry]]:
            for name, found in islice(view.entries.items(), start, None):
                yield name, self._raw_entry(date, relpath, view, found)

        return Listing(view.stamp, lambda: view.entries, entries_from)

    def _list_broken(self, date: DateNode, relpath: tuple[bytes, ...], view: BrokenView) -> Listing:
        if not view.names:
            raise BrokenRunError(view.cause)
        names = view.names

        def entries_from(start: int) -> Iterator[tuple[bytes, Entry]]:
            for name, kind in islice(names.items(), start, None):
                yield name, self._broken_entry(date, (*relpath, name), kind)

        return Listing(view.stamp, lambda: names, entries_from, cacheable=False)
