"""How much the kernel reads ahead of a reader, and so how large the reads are that reach the daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import structlog

log = structlog.get_logger("readyfs.fuse")

READ_AHEAD_KB: Final = 1024
"""The largest read that the kernel sends to a FUSE daemon (256 pages, FUSE_MAX_MAX_PAGES of fs/fuse/fuse_i.h)."""
_BDI: Final = Path("/sys/class/bdi")


def raise_read_ahead(device: tuple[int, int], bdi: Path = _BDI) -> None:
    """Raise the readahead of a mount from 128 KiB, which its device number (major, minor) names.

    Needs root; without it the mount works all the same, with more and smaller reads.
    """
    setting = bdi / f"{device[0]}:{device[1]}" / "read_ahead_kb"
    try:
        setting.write_text(str(READ_AHEAD_KB))
    except OSError as error:
        log.debug("readahead stays as it is", setting=str(setting), error=error.strerror)
