"""Raw files that are kept open between reads: where the kernel opens by itself, a read names an inode and no handle.

The least recently read ones are let go of when there are too many or when they were idle. Letting go drops our
reference and no more: a raw file closes itself when the last read of it is over. Used on any thread, under one lock.
"""

from __future__ import annotations

import errno
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from readyfs.partition import RunKey, run_of
from readyfs.vfs.handles import RawFileHandle
from readyfs.vfs.inode_number import InodeNumber
from readyfs.vfs.nodes import RawNode

KEPT: Final = 1024
IDLE_S: Final = 5.0


@dataclass(slots=True)
class _Kept:
    handle: RawFileHandle
    used_s: float


class Descriptors:
    """Open raw files by inode number, the least recently read first."""

    def __init__(self, kept: int = KEPT, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._kept = kept
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._files: OrderedDict[InodeNumber, _Kept] = OrderedDict()
        self._doomed: list[_Kept] = []

    def __len__(self) -> int:
        return len(self._files) + len(self._doomed)

    def get(self, node: RawNode) -> RawFileHandle | None:
        """Return the open file of a node."""
        with self._lock:
            kept = self._files.get(node.inode)
            if kept is None or not kept.handle.node.is_same_file(node):
                return None
            kept.used_s = self._monotonic()
            self._files.move_to_end(node.inode)
            return kept.handle

    def keep(self, handle: RawFileHandle) -> None:
        """Keep a file that was just opened; of two that were opened at once the later one stays."""
        let_go = []
        with self._lock:
            let_go.append(self._files.pop(handle.node.inode, None))
            self._files[handle.node.inode] = _Kept(handle, self._monotonic())
            while len(self._files) > self._kept:
                let_go.append(self._files.popitem(last=False)[1])
        let_go.clear()  # not under the lock: closing a raw file can make us wait for a store that hangs

    def drop(self, handle: RawFileHandle) -> None:
        """Let go of a file that failed, unless another took its place."""
        with self._lock:
            kept = self._files.get(handle.node.inode)
            if kept is not None and kept.handle is handle:
                del self._files[handle.node.inode]
        del kept

    def let_go(self, runs: Collection[RunKey]) -> bool:
        """Have the files of some runs closed by the next `expire_idle`; return whether there are any."""
        with self._lock:
            doomed = [inode for inode, kept in self._files.items() if run_of(kept.handle.node.partition) in runs]
            self._doomed.extend(self._files.pop(inode) for inode in doomed)
        return bool(doomed)

    def expire_idle(self) -> None:
        """Let go of files that were not read for a while, or whose run is not wanted any more; may block."""
        with self._lock:
            let_go, self._doomed = self._doomed, []
            oldest_s = self._monotonic() - IDLE_S
            while self._files and next(iter(self._files.values())).used_s <= oldest_s:
                let_go.append(self._files.popitem(last=False)[1])
        let_go.clear()


def are_exhausted(error: OSError) -> bool:
    """Whether an open failed because this process or machine has no descriptor left, which says nothing of the file."""
    return error.errno in (errno.EMFILE, errno.ENFILE)
