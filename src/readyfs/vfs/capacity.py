"""What statfs(2) is told of the size of the tree: nothing, in a way that no alarm goes off (decision 0026)."""

from __future__ import annotations

from typing import Final, NamedTuple

from readyfs.layout import MAX_NAME_BYTES
from readyfs.vfs.attributes import IO_BYTES


class Capacity(NamedTuple):
    """The answer to statfs, in the order of `struct fuse_kstatfs` of linux/fuse.h."""

    blocks: int
    free_blocks: int
    available_blocks: int
    files: int
    free_files: int
    block_bytes: int
    name_bytes: int
    fragment_bytes: int


CAPACITY: Final = Capacity(0, 0, 0, 0, 0, IO_BYTES, MAX_NAME_BYTES, IO_BYTES)
"""Of both totals none: to `df`, to `df -i` and to whoever computes a share, such a file system has nothing to fill."""
