"""How deep our filesystem may be stacked over the raw files that the kernel reads by itself.

The kernel counts filesystems that lie on others (FILESYSTEM_MAX_STACK_DEPTH of include/linux/fs.h is 2). A mount that
may pass through files of a stacked filesystem uses up both levels, and no overlayfs can then lie over it. So the depth
is 1 wherever that is enough.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from readyfs.fuse.mount_table import Mount, mount_containing

PLAIN_DEPTH: Final = 1
OVER_STACKED_DEPTH: Final = 2
_STACKED: Final = frozenset({"overlay", "ecryptfs"})


def stack_depth(raw_root: Path, mounts: Sequence[Mount]) -> int:
    """Return the `max_stack_depth` of INIT for a raw root; `mounts` is the mount table."""
    mount = mount_containing(mounts, Path(os.path.realpath(raw_root)))
    return OVER_STACKED_DEPTH if mount is not None and mount.fs_type in _STACKED else PLAIN_DEPTH
