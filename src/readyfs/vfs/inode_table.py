"""The inode table: which nodes the kernel holds, and how often.

The kernel counts: every entry that we hand out raises a node's lookup count, FORGET lowers it, and at zero the node
is gone. Used by request handlers on any thread, under one lock; the root is always there. The kinds of which there are
millions are kept as rows (`packed_nodes`) and made anew when they are asked for, so a node is known by its identity
and not by its object; raw and control nodes are kept as they are.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import structlog

from readyfs.errors import BrokenRunError, StaleHandleError
from readyfs.partition import SeriesKey
from readyfs.text import escape_text
from readyfs.vfs.inode_number import ROOT_INODE, InodeNumber, TreeName
from readyfs.vfs.nodes import AboveNode, BrokenNode, DateNode, Node, RawNode, root_node
from readyfs.vfs.packed_nodes import AboveNodes, BrokenNodes, DateNodes, PackedNodes
from readyfs.vfs.packed_rows import MakeRows, PackedRows, compiled_rows

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
        # Those of which there are the most come first.
        self._packed: dict[type[Node], PackedNodes[Any]] = {
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

    def raw_nodes(self) -> list[RawNode]:
        """Return every file and directory below runs that the kernel holds."""
        with self._lock:
            nodes = list(self._nodes.values())
        return [node for node in nodes if isinstance(node, RawNode)]

    def nodes_of(self, tree: TreeName) -> list[AboveNode | DateNode | RawNode]:
        """Return every directory of a view that the kernel holds, those for broken ones left out."""
        with self._lock:
            nodes = list(self._nodes.values())
            above, dates = self._above.nodes_of(tree), self._dates.nodes_of(tree)
        raw = (node for node in nodes if isinstance(node, RawNode) and node.is_directory and node.tree == tree)
        return [*above, *dates, *raw]

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

    def update(self, node: Node) -> None:
        """Keep what became of a node beside its identity, if the kernel holds it."""
        packed = self._packed.get(type(node))
        if packed is not None:
            with self._lock:
                packed.update(node)

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
                if packed.rows and (node := packed.get(inode)) is not None:
                    break
        return node

    def _count(self, node: N) -> N:
        packed = self._packed.get(type(node))
        if packed is not None:
            if packed.count(node, self._is_free):
                return node
        elif self._is_free(node.inode):
            self._nodes[node.inode] = node
            return node
        return self._count_known(node)

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
                if packed.rows and packed.lower(inode, count):
                    return
        elif inode != ROOT_INODE:
            left = self._further.pop(inode, 0) - count
            if left < 0:
                del self._nodes[inode]
            elif left:
                self._further[inode] = left
