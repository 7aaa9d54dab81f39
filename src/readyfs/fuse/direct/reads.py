"""The two ways in which file contents reach a reader; one is chosen for the life of a mount.

`passthrough` hands each open raw file to the kernel. `cached` has the kernel open and close by itself and keep pages
for ever; what it has not got it reads by inode number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from readyfs.errors import StaleHandleError, WouldBlockError
from readyfs.fuse.direct.backing import BackingFiles, ReplacedFileError
from readyfs.fuse.direct.protocol import OPEN_OUT, OpenFlag
from readyfs.fuse.errno_table import UNSUPPORTED
from readyfs.vfs.filesystem import Filesystem
from readyfs.vfs.handles import HandleNumber, KernelFileHandle
from readyfs.vfs.inode_number import InodeNumber


class NoOpenError(OSError):
    """The kernel shall open files by itself from now on: an OPEN is not supported."""

    def __init__(self) -> None:
        super().__init__(UNSUPPORTED, "the kernel opens by itself")


class Reads(Protocol):
    """How OPEN, READ and RELEASE are answered. Sizes and offsets in bytes."""

    name: str

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

    name = "cached"

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


class PassthroughReads:
    """The kernel reads raw files itself; those that it refuses, and files without a raw file, are read through us."""

    name = "passthrough"

    def __init__(self, filesystem: Filesystem, backing: BackingFiles) -> None:
        self._fs = filesystem
        self._backing = backing

    def open(self, inode: InodeNumber, may_block: bool) -> tuple[bytes, Callable[[], None]]:
        """Open a file: every open checks that the raw file is still what was sealed."""
        if not self._fs.is_raw_file(inode):
            handle = self._fs.open_file(inode).handle
            return OPEN_OUT.pack(handle, 0, 0), lambda: self._fs.close_file(handle)
        if not may_block:
            raise WouldBlockError
        file = self._fs.open_raw(inode)
        try:
            backing_id = self._backing.open(inode, file.fileno())
        except ReplacedFileError:
            # With this answer the kernel looks the path up once more, and finds another inode for the other file.
            self._fs.supersede(inode)
            raise StaleHandleError("the raw file was replaced by its equal while it is open") from None
        finally:
            file.close()
        if backing_id is not None:
            handle = self._fs.handles.add(KernelFileHandle())
            return OPEN_OUT.pack(handle, OpenFlag.PASSTHROUGH, backing_id), lambda: self.release(
                inode, handle, may_block=True
            )
        try:
            handle = self._fs.open_file(inode).handle
        except BaseException:
            self._backing.close(inode)
            raise
        return OPEN_OUT.pack(handle, OpenFlag.KEEP_CACHE, 0), lambda: self.release(inode, handle, may_block=True)

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
        """Let go of registered raw files that were not opened for a while."""
        self._backing.expire_idle()
        self._fs.expire_idle()
