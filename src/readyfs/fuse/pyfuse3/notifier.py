"""pyfuse3's notifications to the kernel."""

from __future__ import annotations

import pyfuse3

from readyfs.vfs.inode_number import InodeNumber


class Pyfuse3Notifier:
    """pyfuse3's blocking notifications; both release the interpreter lock while the kernel waits."""

    def invalidate_entry(self, parent: InodeNumber, name: bytes) -> None:
        """Drop one name."""
        pyfuse3.invalidate_entry(parent, name)

    def invalidate_inode(self, inode: InodeNumber, *, attributes_only: bool) -> None:
        """Drop a node's attributes, and its pages unless told otherwise."""
        pyfuse3.invalidate_inode(inode, attr_only=attributes_only)

    def expire_names(self) -> bool:
        """Return False: libfuse does not offer it."""
        return False
