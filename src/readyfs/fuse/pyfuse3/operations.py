"""pyfuse3's requests translated to the filesystem, and its answers packed.

Handlers run on the trio loop and answer from memory there; what needs the raw store goes to worker threads with a
limit of its own, so that a slow disk holds up its own reader only. Every handler runs under one wrapper: whatever
it raises becomes an errno, and a bug is logged besides, because an exception would end pyfuse3's loop.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import pyfuse3
import structlog
import trio

from readyfs.errors import FilesystemError, RawStoreUnresponsiveError, WouldBlockError
from readyfs.fuse.errno_table import ABSENT, READ_ONLY, UNSUPPORTED, errno_of
from readyfs.fuse.pyfuse3.raw_calls import RawCalls
from readyfs.metrics.durations import BEGUN
from readyfs.metrics.request_tally import RequestTally
from readyfs.vfs.attributes import FOREVER_S, IO_BYTES, Attributes, Entry, NegativeEntry
from readyfs.vfs.capacity import CAPACITY
from readyfs.vfs.filesystem import Filesystem
from readyfs.vfs.handles import HandleNumber
from readyfs.vfs.inode_number import InodeNumber
from readyfs.vfs.listing import DirectoryPass

log = structlog.get_logger("readyfs.fuse")

P = ParamSpec("P")
R = TypeVar("R")


def _handler(
    method: Callable[Concatenate[Operations, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[Operations, P], Coroutine[Any, Any, R]]:
    """Wrap a handler: count it, and turn whatever it raises into an errno."""
    name = method.__name__

    @functools.wraps(method)
    async def answer(self: Operations, /, *args: P.args, **kwargs: P.kwargs) -> R:
        durations = self.tally.durations[name]
        durations[BEGUN] += 1
        began_ns = time.perf_counter_ns()
        try:
            return await method(self, *args, **kwargs)
        except pyfuse3.FUSEError:
            raise
        except (OSError, RawStoreUnresponsiveError) as error:
            number = errno_of(error)
            log.warning("request failed", operation=name, error=str(error))
        except FilesystemError as error:
            number = errno_of(error)
        except Exception as error:
            number = errno_of(error)
            log.exception("request failed unexpectedly", operation=name)
        finally:
            durations.note(time.perf_counter_ns() - began_ns)
        self.tally.failed(name, number)
        raise pyfuse3.FUSEError(number)

    return answer


class Operations(pyfuse3.Operations):
    """pyfuse3's handlers; `tally` counts them, on the trio loop alone."""

    # A hashed inode number cannot be turned back into a name once it was forgotten.
    supports_dot_lookup = False

    def __init__(self, filesystem: Filesystem, raw_calls: RawCalls) -> None:
        super().__init__()
        self._fs = filesystem
        self._raw = raw_calls
        self.tally = RequestTally()
        self.served = trio.Event()

    def init(self) -> None:
        """Note that the kernel's INIT was answered: from now on the mount is served."""
        self.served.set()

    @_handler
    async def lookup(self, parent: int, name: bytes, ctx: object) -> pyfuse3.EntryAttributes:
        """LOOKUP."""
        inode = InodeNumber(parent)
        try:
            found = self._fs.lookup(inode, name, may_block=False)
        except WouldBlockError:
            found = await self._raw.run(
                "lookup", parent, lambda: self._fs.lookup(inode, name, may_block=True), self._forget_lookup
            )
        if isinstance(found, NegativeEntry):
            if not found.timeout_s:
                raise pyfuse3.FUSEError(ABSENT)
            return _negative(found)
        return _entry(found)

    def _forget_lookup(self, found: Entry | NegativeEntry) -> None:
        """Take back the count of a lookup whose answer nobody waited for."""
        if isinstance(found, Entry):
            self._fs.forget([(found.attributes.inode, 1)])

    # Not wrapped: pyfuse3 has nobody to answer, and the filesystem's forget raises nothing.
    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        """FORGET and BATCH_FORGET."""
        durations = self.tally.durations["forget"]
        durations[BEGUN] += 1
        began_ns = time.perf_counter_ns()
        self._fs.forget([(InodeNumber(inode), count) for inode, count in inode_list])
        durations.note(time.perf_counter_ns() - began_ns)

    @_handler
    async def getattr(self, inode: int, ctx: object) -> pyfuse3.EntryAttributes:
        """GETATTR."""
        number = InodeNumber(inode)
        attributes, timeout_s = await self._of_view(
            "getattr", inode, lambda may_block: self._fs.getattr(number, may_block=may_block)
        )
        return _attributes(attributes, timeout_s, timeout_s)

    async def _of_view(self, operation: str, inode: int, ask: Callable[[bool], R]) -> R:
        """Ask the filesystem here, or on a worker thread if the catalog of a view must be read for the answer."""
        try:
            return ask(False)
        except WouldBlockError:
            return await self._raw.run(operation, inode, lambda: ask(True))

    @_handler
    async def readlink(self, inode: int, ctx: object) -> bytes:
        """READLINK."""
        return self._fs.readlink(InodeNumber(inode))

    @_handler
    async def opendir(self, inode: int, ctx: object) -> int:
        """OPENDIR: the inode number is handle enough, because positions say where they belong."""
        return inode

    @_handler
    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        """READDIRPLUS: hand out entries until the kernel's buffer is full."""
        inode = InodeNumber(fh)
        given: list[tuple[InodeNumber, int]] = []
        position: int | None = start_id
        try:
            while position is not None:
                position = self._hand_out(await self._read_directory(inode, position), token, given)
        except BaseException:
            self._fs.forget(given)
            raise

    async def _read_directory(self, inode: InodeNumber, position: int) -> DirectoryPass:
        try:
            return self._fs.read_directory(inode, position, may_block=False)
        except WouldBlockError:
            return await self._raw.run(
                "readdir", inode, lambda: self._fs.read_directory(inode, position, may_block=True)
            )

    def _hand_out(
        self, found: DirectoryPass, token: pyfuse3.ReaddirToken, given: list[tuple[InodeNumber, int]]
    ) -> int | None:
        """Fill the kernel's buffer; return from where on another pass must go on, None if none need."""
        position = found.position
        for name, entry, next_position, counted in found:
            # What is in the buffer cannot be taken back, so each node is counted before its entry is put there.
            if counted and not self._fs.remember_listed(found, (entry.node,)):
                return position
            counts = [(entry.node.inode, 1)] if counted else []
            if not pyfuse3.readdir_reply(token, name, _entry(entry), next_position):
                self._fs.forget(counts)
                return None
            given += counts
            position = next_position
        return None

    @_handler
    async def releasedir(self, fh: int) -> None:
        """RELEASEDIR."""

    @_handler
    async def open(self, inode: int, flags: int, ctx: object) -> pyfuse3.FileInfo:
        """OPEN; the client's flags stay here, the mount is read-only."""
        if flags & os.O_ACCMODE != os.O_RDONLY:  # somebody remounted for writing
            raise pyfuse3.FUSEError(READ_ONLY)
        number = InodeNumber(inode)
        if self._fs.is_in_memory(number):
            opened = self._fs.open_file(number)
        else:
            opened = await self._raw.run(
                "open", inode, lambda: self._fs.open_file(number), lambda late: self._fs.close_file(late.handle)
            )
        return pyfuse3.FileInfo(fh=opened.handle, keep_cache=opened.keep_pages, direct_io=opened.direct)

    @_handler
    async def read(self, fh: int, offset: int, size: int) -> bytes:
        """READ."""
        handle = HandleNumber(fh)
        data = self._fs.read_memory(handle, offset, size)
        if data is None:
            data = await self._raw.run("read", 0, lambda: self._fs.read(handle, offset, size))
        return data

    @_handler
    async def flush(self, fh: int) -> None:
        """FLUSH: nothing is ever written; the kernel shall stop asking (fs/fuse/file.c, fuse_flush)."""
        raise pyfuse3.FUSEError(UNSUPPORTED)

    @_handler
    async def release(self, fh: int) -> None:
        """RELEASE."""
        handle = HandleNumber(fh)
        if self._fs.may_block_on_close(handle):
            await self._raw.run("release", 0, lambda: self._fs.close_file(handle))
        else:
            self._fs.close_file(handle)

    @_handler
    async def statfs(self, ctx: object) -> pyfuse3.StatvfsData:
        """STATFS."""
        data = pyfuse3.StatvfsData()
        data.f_blocks, data.f_bfree, data.f_bavail = CAPACITY.blocks, CAPACITY.free_blocks, CAPACITY.available_blocks
        data.f_files, data.f_ffree, data.f_favail = CAPACITY.files, CAPACITY.free_files, CAPACITY.free_files
        data.f_bsize, data.f_frsize = CAPACITY.block_bytes, CAPACITY.fragment_bytes
        data.f_namemax = CAPACITY.name_bytes
        return data

    @_handler
    async def getxattr(self, inode: int, name: bytes, ctx: object) -> bytes:
        """GETXATTR."""
        number = InodeNumber(inode)
        return await self._of_view(
            "getxattr", inode, lambda may_block: self._fs.getxattr(number, name, may_block=may_block)
        )

    @_handler
    async def listxattr(self, inode: int, ctx: object) -> Sequence[bytes]:
        """LISTXATTR."""
        number = InodeNumber(inode)
        return await self._of_view(
            "listxattr", inode, lambda may_block: self._fs.listxattr(number, may_block=may_block)
        )

    @_handler
    async def access(self, inode: int, mode: int, ctx: object) -> bool:
        """ACCESS: the kernel decides by mode and owner (`default_permissions`)."""
        raise pyfuse3.FUSEError(UNSUPPORTED)


def _attributes(attributes: Attributes, entry_timeout_s: float, attr_timeout_s: float) -> pyfuse3.EntryAttributes:
    result = pyfuse3.EntryAttributes()
    result.st_ino = attributes.inode
    result.generation = 0
    result.entry_timeout = entry_timeout_s
    result.attr_timeout = attr_timeout_s
    result.st_mode = attributes.mode
    result.st_nlink = 1
    result.st_uid = attributes.uid
    result.st_gid = attributes.gid
    result.st_rdev = 0
    result.st_size = attributes.size
    result.st_blksize = IO_BYTES
    result.st_blocks = attributes.blocks
    result.st_atime_ns = result.st_mtime_ns = result.st_ctime_ns = attributes.time_ns
    return result


def _entry(entry: Entry) -> pyfuse3.EntryAttributes:
    return _attributes(entry.attributes, entry.entry_timeout_s, entry.attr_timeout_s)


def _negative(entry: NegativeEntry) -> pyfuse3.EntryAttributes:
    result = pyfuse3.EntryAttributes()
    result.st_ino = 0
    result.entry_timeout = min(entry.timeout_s, FOREVER_S)
    return result
