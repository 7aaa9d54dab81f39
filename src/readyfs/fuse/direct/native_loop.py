"""The compiled loop (src/native/loop.c) as the engine sees it: it receives requests, and answers some by itself.

What it knows of files it takes from the rows of the inode table; what it has open moves to the handle table as soon as
a request for it is one of Python's. It asks the raw store only while that is allowed: `workers` says when.
"""

from __future__ import annotations

import errno
import os
from typing import Any, Final

from readyfs.fuse.direct.page_cache import PUSHED_BELOW_BYTES
from readyfs.fuse.direct.protocol import Opcode
from readyfs.fuse.direct.replies import attr_out
from readyfs.fuse.errno_table import NO_IOCTL
from readyfs.metrics.durations import BEGUN, REQUEST_BOUNDS_NS
from readyfs.metrics.request_tally import RequestTally
from readyfs.raw.store import RawStat
from readyfs.vfs.attributes import FOREVER_S
from readyfs.vfs.filesystem import Filesystem
from readyfs.vfs.handles import HandleNumber, RawFileHandle
from readyfs.vfs.inode_number import InodeNumber

ADOPTED: Final = b""
"""Received in place of a request that was adopted while the loop waited for the raw store on its behalf."""
ANY_CALL: Final = 0
"""Adopts whatever the loop waits for just now, if for anything."""
_OPERATIONS: Final = {
    Opcode.GETATTR: "getattr",
    Opcode.OPEN: "open",
    Opcode.READ: "read",
    Opcode.RELEASE: "release",
    Opcode.IOCTL: "ioctl",
    Opcode.READDIRPLUS: "readdir",
}
_ALL_SIZES: Final = 2**63 - 1


class NativeLoop:
    """One connection's loop. Used by workers and by the watch, on any thread.

    `passthrough_from` is the size from which the kernel reads files by itself, None if it never does. `opens` says
    whether opens come to us at all.
    """

    def __init__(
        self,
        native: Any,
        fd: int,
        filesystem: Filesystem,
        root: bytes,
        passthrough_from: int | None,
        *,
        opens: bool,
        pushes: bool,
    ) -> None:
        self._fs = filesystem
        template = attr_out(filesystem.presentation.file(InodeNumber(0), 0, 0), FOREVER_S)
        handles = filesystem.handles
        passed_from = _ALL_SIZES if passthrough_from is None else passthrough_from
        rows = filesystem.inodes.raw_rows
        pushed_below = PUSHED_BELOW_BYTES if pushes else 0
        self._loop = native.Loop(
            *(fd, rows, root, template, handles.max_files, REQUEST_BOUNDS_NS), passed_from, pushed_below
        )
        self.receive = self._loop.receive
        self.watch = self._loop.watch
        self.end_watch = self._loop.end_watch
        self.adopt = self._loop.adopt
        self.allow_calls = self._loop.allow_calls
        self.answer = self._loop.answer
        self.note_end = self._loop.note_end
        self.close_dropped = self._loop.close_dropped
        self.pushed = self._loop.pushed
        self.open_files = self._loop.open_files
        self.set_other_files = self._loop.set_other_files
        self.open_backing = self._loop.open_backing
        self.close_backing = self._loop.close_backing
        self.let_go = self._loop.let_go
        # While the kernel may hold views, each open is to be noted for them: see `Trees.note_open`.
        filesystem.watch_trees(lambda alone: self._loop.allow_opens(alone and opens))

    def open_handles(self) -> int:
        """Return how many files are open here, those that the kernel reads by itself included."""
        return int(self._loop.open_files() + self._loop.passed_files())

    def serve(self) -> None:
        """Receive from now on in place of `Channel.receive`: what is opened is one with what Python opens."""
        self._fs.handles.share(self)

    def take(self, number: HandleNumber) -> RawFileHandle | None:
        """Hand over a file that the loop has open; None if it has none of this number."""
        found = self._loop.take_handle(number)
        if found is None:
            return None
        inode, fd, size, mtime_ns, file = found
        handle = self._fs.hold_file(InodeNumber(inode), fd, RawStat(size, mtime_ns, file))
        if handle is None:
            os.close(fd)
        return handle

    def take_end(self, inode: InodeNumber, position: int) -> bool:
        """Never: the loop answers behind the end of a listing by itself."""
        return False

    def tally(self) -> RequestTally:
        """Return what the loop has answered so far."""
        tally = RequestTally()
        for opcode, counts in self._loop.counts().items():
            if counts[BEGUN]:
                tally.durations[_OPERATIONS[opcode]].add([counts])
        ioctls = tally.durations["ioctl"][BEGUN] if "ioctl" in tally.durations else 0
        if ioctls:
            tally.errors["ioctl", errno.errorcode[NO_IOCTL]] = ioctls
        return tally
