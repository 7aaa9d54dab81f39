"""Which file system a partition's run lies on, found out without touching it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from readyfs.fuse.mount_table import mount_containing, read_mount_table
from readyfs.layout import RawLayout
from readyfs.partition import Partition


def volume_finder(root: Path, layout: RawLayout) -> Callable[[Partition], tuple[int, int] | None]:
    """Return what names the device that the mount table has for a partition's run; None if it cannot be read.

    Symbolic links on the way to `root` are followed now, while the raw root is known to answer. Raises `OSError`.
    """
    resolved = Path(os.path.realpath(root))

    def volume_of(partition: Partition) -> tuple[int, int] | None:
        path = resolved.joinpath(*map(os.fsdecode, layout.directory_of(partition)))
        try:
            mount = mount_containing(read_mount_table(), path)
        except OSError:
            return None
        return None if mount is None else mount.device

    return volume_of
