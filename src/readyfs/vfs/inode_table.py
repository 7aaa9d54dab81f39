"""The inode table: which nodes the kernel holds, and how often.

The kernel counts: every entry that we hand out raises a node's lookup count, FORGET lowers it, and at zero the node
is gone. Used by request handlers on any thread, under one lock; the root is always there. The kinds of which there are
millions are kept as rows (`packed_nodes`) and made anew when they are asked for, so a node is known by its identity
and not by its object, and what becomes of it is told to `amend`; control nodes and links are kept as they are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, TypeVar

import structlog

from readyfs.errors import BrokenRunError, StaleHandleError
from readyfs.partition import RunKey, SeriesKey, run_of
from readyfs.text import escape_text
from readyfs.vfs.inode_number import ROOT_INODE, InodeNumber, TreeName
from readyfs.vfs.nodes import AboveNode, BrokenNode, DateNode, Node, RawNode, root_node
from readyfs.vfs.packed_directories import AboveNodes, BrokenNodes, DateNodes
from readyfs.vfs.packed_nodes import PackedNodes
from readyfs.vfs.packed_raw import RawNodes
from readyfs.vfs.packed_rows import SHARDS, MakeRows, PackedRows, compiled_rows

log = structlog.get_logger("readyfs.inodes")

N = TypeVar("N", bound=Node)


class InodeCollisionError(BrokenRunError):
    """Two different things hash to one inode number: the newcomer is refused, never merged."""


class InodeTable:
    """Nodes by inode number, with lookup counts."""

    def __init__(self, make_rows: MakeRows = compiled_rows or PackedRows) -> None:
        self._lock = threading.Lock()
        self._dates = DateNodes(make_rows)
        self._above = AboveNodes(make_rows)
        self._raw = RawNodes(make_rows)
        # Those of which there are the most come first.
        self._packed: dict[type[Node], PackedNodes[Any]] = {
            RawNode: self._raw,
            DateNode: self._dates,
            AboveNode: self._above,
            BrokenNode: BrokenNodes(make_rows),
        }
        self._by_number = tuple(self._packed.values())
        self._nodes: dict[InodeNumber, Node] = {ROOT_INODE: root_node()}
        # Lookups beyond the first of the nodes that are kept as they are.
        self._further: dict[InodeNumber, int] = {}

    def __len__(self) -> int:
        return len(self._nodes) + sum(len(packed.rows) for packed in self._by_number)

    def get(self, inode: InodeNumber) -> Node:
        """Return a node that the kernel holds; raise `StaleHandleError` if it should not hold it."""
        node = self.peek(inode)
        if node is None:
            raise StaleHandleError(f"inode {inode} is not known")
        return node

    def peek(self, inode: InodeNumber) -> Node | None:
        """Return a node if the kernel holds it."""
        node = self._nodes.get(inode)
        if node is not None:
            return node
        with self._lock:
            return self._find(inode)

    def holds_run_of(self, series: SeriesKey) -> bool:
        """Whether the kernel holds the date directory of any run of a series."""
        return self._dates.holds_run_of(series)

    def agrees(self, node: Node) -> bool:
        """Whether a node would be new, or what the kernel holds by its number is the same in all that is kept."""
        packed = self._packed.get(type(node))
        if packed is None or node.inode in self._nodes:
            return False
        with self._lock:
            return packed.holds(node) is not False

    def live_run(self, inode: InodeNumber) -> RunKey | None:
        """Return the run of a date directory of the live tree that the kernel holds, None for all else."""
        with self._lock:
            return self._dates.live_run(inode)

    def is_raw(self, inode: InodeNumber) -> bool:
        """Whether the kernel holds a file or directory below a run by a number."""
        with self._lock:
            return inode in self._raw.rows or isinstance(self._nodes.get(inode), RawNode)

    @property
    def raw_rows(self) -> object:
        """The table in which the rows of files below runs are: see `RawNodes`."""
        return self._raw.rows

    def sealed_size(self, inode: InodeNumber) -> int | None:
        """Return the size in bytes of a file below a run that the kernel holds, None for all else."""
        with self._lock:
            size = self._raw.sealed_size(inode)
        if size is None and isinstance(node := self._nodes.get(inode), RawNode) and not node.is_directory:
            return node.stat.size
        return size

    def note_pushed(self, inode: InodeNumber) -> None:
        """Note that the kernel was given the bytes of a file below a run, for as long as it holds that."""
        with self._lock:
            node = self._nodes.get(inode)
            if isinstance(node, RawNode):
                node.pushed = True
            else:
                self._raw.note_pushed(inode)

    def raw_nodes_of(self, runs: Collection[RunKey]) -> list[RawNode]:
        """Return every file and directory below some runs that the kernel holds, in whatever tree."""
        if not runs:
            return []
        run_ids = {run_id for _, run_id in runs}
        with self._lock:
            nodes = [node for node in self._nodes.values() if isinstance(node, RawNode)]
        for shard in range(SHARDS):
            with self._lock:  # anew for each, so that requests go on meanwhile
                nodes.extend(self._raw.nodes_in(shard, run_ids))
        return [node for node in nodes if run_of(node.partition) in runs]

    def nodes_of(self, tree: TreeName) -> list[AboveNode | DateNode | RawNode]:
        """Return every directory of a view that the kernel holds, those for broken ones left out."""
        with self._lock:
            nodes = list(self._nodes.values())
            above, dates, raw = (packed.nodes_of(tree) for packed in (self._above, self._dates, self._raw))
        unpacked = (one for one in nodes if isinstance(one, RawNode) and one.is_directory and one.tree == tree)
        return [*above, *dates, *raw, *unpacked]

    def lookups(self, inode: InodeNumber) -> int:
        """Return how often the kernel looked a node up and did not forget it; the root counts once."""
        with self._lock:
            if inode in self._nodes:
                return 1 + self._further.get(inode, 0)
            return max(packed.rows.lookups(inode) for packed in self._by_number)

    def remember(self, node: N) -> N:
        """Count one lookup; return the node that stands for this identity.

        Raises `InodeCollisionError` if the number belongs to something else.
        """
        return self.remember_all((node,))[0]

    def remember_all(self, nodes: Sequence[N]) -> list[N]:
        """Count one lookup for each node, or for none of them if any collides."""
        held: list[N] = []
        try:
            with self._lock:
                try:
                    held.extend(map(self._count, nodes))
                except InodeCollisionError:
                    for node in held:
                        self._lower(node.inode, 1)
                    raise
        except InodeCollisionError as error:
            log.error("two things hash to one inode number, refusing the second", error=str(error))
            raise
        return held

    def amend(self, inode: InodeNumber, kind: type[N], change: Callable[[N], None]) -> None:
        """Change a node beside its identity, in one step, if the kernel holds one of this type.

        `change` runs under the lock.
        """
        with self._lock:
            node = self._find(inode)
            if not isinstance(node, kind):
                return
            change(node)
            if inode not in self._nodes:
                try:
                    self._packed[kind].update(node)
                except OverflowError:
                    self._unpack(node)

    def forget(self, counts: Iterable[tuple[InodeNumber, int]]) -> int:
        """Lower lookup counts as the kernel asks; forgetting the unknown is harmless. Returns how many were named."""
        named = 0
        with self._lock:
            for inode, count in counts:
                self._lower(inode, count)
                named += 1
        return named

    # ---- the caller of what follows holds the lock --------------------------------------------------------------

    def _find(self, inode: InodeNumber) -> Node | None:
        node = self._nodes.get(inode)
        if node is None:
            for packed in self._by_number:
                if inode in packed.rows:
                    return packed.get(inode)
        return node

    def _count(self, node: N) -> N:
        packed = self._packed.get(type(node))
        if packed is not None:
            try:
                if packed.count(node, self._is_free):
                    return node
            except OverflowError:  # a raw file whose time no row can hold
                self._nodes[node.inode] = node
                return node
        elif self._is_free(node.inode):
            self._nodes[node.inode] = node
            return node
        return self._count_known(node)

    def _unpack(self, node: Node) -> None:
        """Keep a node as it is from now on."""
        packed = self._packed[type(node)]
        lookups = packed.rows.lookups(node.inode)
        packed.lower(node.inode, lookups)
        self._nodes[node.inode] = node
        if lookups > 1:
            self._further[node.inode] = lookups - 1

    def _is_free(self, inode: InodeNumber, own: PackedNodes[Any] | None = None) -> bool:
        if inode in self._nodes:
            return False
        # A loop, which costs half of what a generator would for each of a million entries.
        for packed in self._by_number:  # noqa: SIM110
            if packed is not own and inode in packed.rows:
                return False
        return True

    def _count_known(self, node: N) -> N:
        known = self._find(node.inode)
        assert known is not None
        if known is not node and (type(known) is not type(node) or known.identity != node.identity):
            holder, newcomer = (escape_text(b"/".join(one.identity)) for one in (known, node))
            raise InodeCollisionError(f"inode {node.inode} is held by {holder}, wanted by {newcomer}")
        self._further[node.inode] = self._further.get(node.inode, 0) + 1
        return known

    def _lower(self, inode: InodeNumber, count: int) -> None:
        if inode not in self._nodes:
            for packed in self._by_number:
                if packed.lower(inode, count):
                    return
        elif inode != ROOT_INODE:
            left = self._further.pop(inode, 0) - count
            if left < 0:
                del self._nodes[inode]
            elif left:
                self._further[inode] = left
