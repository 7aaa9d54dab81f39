"""The extended attributes of each node: what `xattrs` says of a run, of a row, or of a whole tree."""

from __future__ import annotations

from readyfs.partition import render_time
from readyfs.vfs.catalogs import Catalogs
from readyfs.vfs.entries import Entries
from readyfs.vfs.freshness import Freshness
from readyfs.vfs.inode_number import LIVE, InodeNumber, TreeName
from readyfs.vfs.inode_table import InodeTable
from readyfs.vfs.nodes import AboveNode, BrokenNode, DateNode, ManifestNode, RawNode
from readyfs.vfs.trees import Trees
from readyfs.vfs.xattrs import attributes, get_attribute, list_attributes, row_lineage, run_lineage


class NodeXattrs:
    """Answers for nodes by their inode; raises as `readyfs.vfs.xattrs` does if they are not `enabled`, or not there."""

    def __init__(
        self,
        enabled: bool,
        inodes: InodeTable,
        catalogs: Catalogs,
        trees: Trees,
        entries: Entries,
        freshness: Freshness,
    ) -> None:
        self._enabled = enabled
        self._inodes = inodes
        self._catalogs = catalogs
        self._trees = trees
        self._entries = entries
        self._freshness = freshness

    def get(self, inode: InodeNumber, name: bytes, may_block: bool) -> bytes:
        """Return the value of one."""
        return get_attribute(self._enabled, lambda: self._all(inode, may_block), name)

    def names(self, inode: InodeNumber, may_block: bool) -> list[bytes]:
        """Return the names of all."""
        return list_attributes(self._enabled, lambda: self._all(inode, may_block))

    def _all(self, inode: InodeNumber, may_block: bool) -> dict[bytes, bytes]:
        node = self._inodes.get(inode)
        match node:
            case AboveNode() if not node.path:
                return self._root_xattrs() if node.tree == LIVE else self._view_xattrs(node.tree, may_block)
            case DateNode():
                partition = self._entries.current_row(node)
                return {} if partition is None else row_lineage(partition)
            case ManifestNode():
                return attributes(fingerprint=node.fingerprint.encode())
            case RawNode():
                return run_lineage(node.partition)
            case BrokenNode() if node.date_node.partition is not None:
                return run_lineage(node.date_node.partition)
            case _:
                return {}

    def _root_xattrs(self) -> dict[bytes, bytes]:
        in_force = self._catalogs.in_force
        found = attributes(revision=b"%d" % in_force.revision, fingerprint=in_force.catalog.fingerprint.encode())
        age_s, refreshed_at_ns = self._freshness.age_s(), self._freshness.refreshed_at_ns
        if age_s is not None and refreshed_at_ns is not None:
            found |= attributes(refreshed_at=render_time(refreshed_at_ns), age_seconds=b"%.3f" % age_s)
        return found

    def _view_xattrs(self, tree: TreeName, may_block: bool) -> dict[bytes, bytes]:
        view = self._trees.view(tree, may_block)
        found = attributes(
            fingerprint=tree, taken_at=render_time(view.taken_at_ns), layout=view.catalog.layout.template.encode()
        )
        expires_at_ns = None if view.expired else self._trees.views.expires_at_ns(view.fingerprint)
        return found if expires_at_ns is None else found | attributes(expires_at=render_time(expires_at_ns))
