"""Nodes as rows: the columns that are needed to make a node anew, of which the first ones are its identity.

Used by `inode_table`; the types of nodes are in `packed_directories` and `packed_raw`. The kernel may know millions of
directories and files, so those are not kept as objects: a row holds what cannot be derived, and refers to names that
the catalog or another row holds anyway. It holds the lineage of its run itself, not the catalog's series: a node means
its run for as long as the kernel holds it (V5, V6), and must not keep alive what was replaced around it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

from readyfs.vfs.inode_number import InodeNumber, TreeName
from readyfs.vfs.nodes import Node
from readyfs.vfs.packed_path import Home, InView
from readyfs.vfs.packed_rows import SHARDS, Integers, MakeRows, References

N = TypeVar("N", bound=Node)

_MOST_LOOKUPS: Final = 1 << 62
"""More than any node has; a request may name 64 bits without a sign."""


class Identity(NamedTuple):
    """How many of a row's columns, from the first on, are the identity of its node; the key is not counted."""

    integers: int
    references: int


class PackedNodes(Generic[N]):
    """The nodes of one type, with lookup counts, in rows; abstract. The caller holds a lock."""

    integers: int
    references: int
    identity: Identity
    path: int
    """Which of the references is the path above or holds it, with its tree."""

    def __init__(self, make_rows: MakeRows) -> None:
        self.rows = make_rows(self.integers, self.references)

    def get(self, inode: InodeNumber) -> N | None:
        """Return a node, made anew, or None."""
        row = self.rows.get(inode)
        return None if row is None else self._unpack(inode, *row)

    def holds(self, node: N) -> bool | None:
        """Return whether a node is held as it is; None if none of this type is held by its number."""
        row = self.rows.get(node.inode)
        return None if row is None else row == self._pack(node)

    def count(self, node: N, is_free: Callable[[InodeNumber, PackedNodes[Any]], bool]) -> bool:
        """Count one lookup of a node; return False if its number belongs to another.

        `is_free` tells whether a number that is not known here is known to nobody else.
        """
        inode = node.inode
        integers, references = row = self._pack(node)
        known = self.rows.get(inode)
        if known is None:
            if not is_free(inode, self):
                return False
            self.rows.add(inode, integers, references)
            self._note(references, 1)
            return True
        return (known == row or self._is_same(integers, references, *known)) and self.rows.count(inode, 1) is not None

    def update(self, node: N) -> None:
        """Keep what became of a node beside its identity, if it is there."""
        known = self.rows.get(node.inode)
        if known is not None:
            integers, references = self._pack(node)
            self._note(references, 1)  # first, lest its series be missed by whoever asks without the lock
            self.rows.update(node.inode, integers, references)
            self._note(known[1], -1)

    def lower(self, inode: InodeNumber, count: int) -> bool:
        """Lower a lookup count; at zero the node is gone. Returns whether it was there."""
        gone = self.rows.count(inode, -min(count, _MOST_LOOKUPS))
        if gone:
            self._note(gone, -1)
        return gone is not None

    def nodes_of(self, tree: TreeName) -> list[N]:
        """Return the nodes of a view."""
        found: list[N] = []
        for shard in range(SHARDS):
            for key, path in self.rows.scan(shard, self.path):
                if path.__class__ is Home:
                    path = path.path
                if path.__class__ is InView and path.tree == tree:
                    node = self.get(InodeNumber(key))
                    assert node is not None
                    found.append(node)
        return found

    def _is_same(self, integers: Integers, references: References, known: Integers, names: References) -> bool:
        """Whether the row of a node and a known one are of the same identity."""
        numbers, objects = self.identity
        return known[:numbers] == integers[:numbers] and names[:objects] == references[:objects]

    def _note(self, references: Sequence[Any], change: int) -> None:
        """Take notice of a row that came (1) or went (-1)."""

    @abstractmethod
    def _pack(self, node: N) -> tuple[tuple[int, ...], tuple[Any, ...]]:
        """Return a node's integers and references, its identity first."""

    @abstractmethod
    def _unpack(self, inode: InodeNumber, integers: Any, references: Any) -> N:
        """Return the node that `_pack` took apart."""
