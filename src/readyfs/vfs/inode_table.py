"""The inode table: which nodes the kernel holds, and how often.

The kernel counts: every entry that we hand out raises a node's lookup count, FORGET lowers it, and at zero the node
is gone. Written by request handlers on any thread, under one lock; the root is always there.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import TypeVar

import structlog

from readyfs.errors import BrokenRunError, StaleHandleError
from readyfs.partition import escape_text
from readyfs.vfs.nodes import ROOT_INODE, InodeNumber, Node, root_node

log = structlog.get_logger("readyfs.inodes")

N = TypeVar("N", bound=Node)


class InodeCollisionError(BrokenRunError):
    """Two different things hash to one inode number: the newcomer is refused, never merged."""


class InodeTable:
    """Nodes by inode number, with lookup counts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._nodes: dict[InodeNumber, Node] = {ROOT_INODE: root_node()}

    def __len__(self) -> int:
        return len(self._nodes)

    def get(self, inode: InodeNumber) -> Node:
        """Return a node that the kernel holds; raise `StaleHandleError` if it should not hold it."""
        node = self._nodes.get(inode)
        if node is None:
            raise StaleHandleError(f"inode {inode} is not known")
        return node

    def peek(self, inode: InodeNumber) -> Node | None:
        """Return a node if the kernel holds it."""
        return self._nodes.get(inode)

    def remember(self, node: N) -> N:
        """Count one lookup; return the node that the table holds for this identity.

        Raises `InodeCollisionError` if the number belongs to something else.
        """
        return self.remember_all((node,))[0]

    def remember_all(self, nodes: Sequence[N]) -> list[N]:
        """Count one lookup for each node, or for none of them if any collides."""
        try:
            with self._lock:
                new: dict[InodeNumber, N] = {}
                held = [_same(self._nodes.get(node.inode) or new.setdefault(node.inode, node), node) for node in nodes]
                self._nodes.update(new)
                for node in held:
                    node.lookups += 1
        except InodeCollisionError as error:
            log.error("two things hash to one inode number, refusing the second", error=str(error))
            raise
        return held

    def forget(self, counts: Iterable[tuple[InodeNumber, int]]) -> None:
        """Lower lookup counts as the kernel asks; forgetting the unknown is harmless."""
        with self._lock:
            for inode, count in counts:
                node = self._nodes.get(inode)
                if node is None or inode == ROOT_INODE:
                    continue
                node.lookups -= count
                if node.lookups <= 0:
                    node.lookups = 0
                    del self._nodes[inode]


def _same(known: Node, node: N) -> N:
    """Return the known node if it is what `node` is."""
    if known is node or (type(known) is type(node) and known.identity == node.identity):
        return known
    holder, newcomer = (escape_text(b"/".join(one.identity)) for one in (known, node))
    raise InodeCollisionError(f"inode {node.inode} is held by {holder}, wanted by {newcomer}")
