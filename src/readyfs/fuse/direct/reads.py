"""How file contents reach a reader: whether opens come to us or not is settled for the life of a mount.

`OpenedReads` answers each open. Then the kernel reads the raw file itself (passthrough) or asks us for what it has not
kept. With `CachedReads` the kernel opens and closes by itself, and what it has not got it reads by inode number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from readyfs.errors import StaleHandleError, WouldBlockError
from readyfs.fuse.direct.backing import BackingFiles, ReplacedFileError
from readyfs.fuse.direct.page_cache import PUSHED_BELOW_BYTES, PageCache
from readyfs.fuse.direct.protocol import OPEN_OUT, OpenFlag
from readyfs.fuse.errno_table import UNSUPPORTED
from readyfs.vfs.filesystem import Filesystem
from readyfs.vfs.handles import HandleNumber
from readyfs.vfs.inode_number import InodeNumber


class NoOpenError(OSError):
    """The kernel shall open files by itself from now on: an OPEN is not supported."""

    def __init__(self) -> None:
        super().__init__(UNSUPPORTED, "the kernel opens by itself")


class Reads(Protocol):
    """How OPEN, READ and RELEASE are answered. Sizes and offsets in bytes."""

    def open(self, inode: InodeNumber, may_block: bool) -> tuple[bytes, Callable[[], None]]:
        """Return the answer to an OPEN, and what undoes it."""
        ...

    def read(self, inode: InodeNumber, handle: int, offset: int, size: int, may_block: bool) -> bytes:
        """Return what a READ asks for."""
        ...

    def release(self, inode: InodeNumber, handle: int, may_block: bool) -> None:
        """Undo an open."""
        ...

    def expire_idle(self) -> None:
        """Let go of raw files that nobody has used for a while."""
        ...


class CachedReads:
    """The kernel opens; reads come by inode number and are kept in its page cache."""

    def __init__(self, filesystem: Filesystem) -> None:
        self._fs = filesystem

    def open(self, inode: InodeNumber, may_block: bool) -> tuple[bytes, Callable[[], None]]:
        """Refuse once and for all: no OPEN and no RELEASE comes after this answer (fuse_file_open of the kernel)."""
        raise NoOpenError

    def read(self, inode: InodeNumber, handle: int, offset: int, size: int, may_block: bool) -> bytes:
        """Return a file's bytes."""
        return self._fs.read_by_inode(inode, offset, size, may_block=may_block)

    def release(self, inode: InodeNumber, handle: int, may_block: bool) -> None:
        """Nothing: what was not opened is not released."""

    def expire_idle(self) -> None:
        """Close raw files that were not read for a while."""
        self._fs.expire_idle()


class OpenedReads:
    """We answer each open, after the raw file was compared with what was sealed, and it fails there if it must (V10).

    Files of `passthrough_from` bytes or more the kernel then reads by itself; None means none. Of the others, and of
    those that it refuses, the raw file stays open here until RELEASE, and the kernel keeps the pages that it read. With
    `pages` small ones are pushed with their first open.
    """

    def __init__(
        self,
        filesystem: Filesystem,
        backing: BackingFiles,
        passthrough_from: int | None,
        pages: PageCache | None = None,
    ) -> None:
        self._fs = filesystem
        self._pages = pages
        self._backing = backing
        self._passthrough_from = math.inf if passthrough_from is None else passthrough_from

    def open(self, inode: InodeNumber, may_block: bool) -> tuple[bytes, Callable[[], None]]:
        """Open a file: every open checks that the raw file is still what was sealed."""
        size = self._fs.sealed_size(inode)
        if not may_block and (size is not None or not self._fs.is_in_memory(inode)):
            raise WouldBlockError
        opened = self._fs.open_file(inode)
        handle = opened.handle
        backing_id = None
        if size is not None and size >= self._passthrough_from:
            try:
                backing_id = self._register(inode, handle)
            except BaseException:
                self._fs.close_file(handle)
                raise
        if backing_id is None:
            if self._pages is not None and size is not None and 0 < size < PUSHED_BELOW_BYTES:
                self._push(self._pages, inode, handle)
            flags = OpenFlag.KEEP_CACHE if opened.keep_pages else OpenFlag(0)
            return OPEN_OUT.pack(handle, flags, 0), lambda: self.release(inode, handle, may_block=True)
        self._fs.handles.hand_to_kernel(handle)
        return OPEN_OUT.pack(handle, OpenFlag.PASSTHROUGH, backing_id), lambda: self.release(
            inode, handle, may_block=True
        )

    def _register(self, inode: InodeNumber, handle: HandleNumber) -> int | None:
        """Return the backing id of an open file, None if the kernel refuses it."""
        try:
            return self._backing.open(inode, self._fs.raw_descriptor(handle))
        except ReplacedFileError:
            # With this answer the kernel looks the path up once more, and finds another inode for the other file.
            self._fs.supersede(inode)
            raise StaleHandleError("the raw file was replaced by its equal while it is open") from None

    def _push(self, pages: PageCache, inode: InodeNumber, handle: HandleNumber) -> None:
        """Give the kernel the bytes of an open file with its first open; one that cannot be read fails there."""
        try:
            data = self._fs.read_to_push(handle)
            if data is not None:
                pages.push(inode, data)
                self._fs.note_pushed(inode)
        except BaseException:
            self.release(inode, handle, may_block=True)  # what the kernel refused to read is counted as open, too
            raise

    def read(self, inode: InodeNumber, handle: int, offset: int, size: int, may_block: bool) -> bytes:
        """Return the bytes of a file that the kernel does not read itself."""
        number = HandleNumber(handle)
        data = self._fs.read_memory(number, offset, size)
        if data is not None:
            return data
        if not may_block:
            raise WouldBlockError
        return self._fs.read(number, offset, size)

    def release(self, inode: InodeNumber, handle: int, may_block: bool) -> None:
        """Undo an open."""
        number = HandleNumber(handle)
        if not may_block and self._fs.may_block_on_close(number):
            raise WouldBlockError
        self._fs.close_file(number)
        self._backing.close(inode)

    def expire_idle(self) -> None:
        """Let go of registered raw files that are no longer open."""
        self._fs.expire_idle()
        self._backing.let_go()
