"""The portable engine: pyfuse3's requests translated to the filesystem, and its notifications.

Handlers run on the trio loop and answer from memory there; what needs the raw store goes to worker threads with a
limit of its own, so that a slow disk holds up its own reader only. Every handler runs under one wrapper: our errors
become errno, an `OSError` its errno, anything else a logged EIO, because an exception would end pyfuse3's loop.
"""

from __future__ import annotations

import errno
import functools
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import pyfuse3
import structlog
import trio

from readyfs.errors import FilesystemError, FuseError, WouldBlockError
from readyfs.fuse.errno_table import errno_of
from readyfs.fuse.pyfuse3.raw_calls import RawCall, RawCalls
from readyfs.metrics.durations import BEGUN, Durations
from readyfs.metrics.request_tally import RequestTally
from readyfs.text import escape_text
from readyfs.vfs.attributes import FOREVER_S, IO_BYTES, Attributes, Entry, NegativeEntry
from readyfs.vfs.filesystem import Filesystem
from readyfs.vfs.handles import HandleNumber
from readyfs.vfs.inode_number import InodeNumber

log = structlog.get_logger("readyfs.fuse")

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

NAME_MAX: Final = 255
READ_INTERRUPT_S: Final = 0.25
TICK_S: Final = 0.25
"""How often it is seen to that calls which hang do not keep others from a thread."""
MAX_TASKS: Final = 4096
"""Requests that may be under way at once. One that waits for a hung raw store keeps its task, and when all are taken
not even the catalog can be listed; pyfuse3's own limit is 99."""


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
        except FilesystemError as error:
            number = errno_of(error)
        except OSError as error:
            number = error.errno or errno.EIO
            log.warning("request failed", operation=name, error=str(error))
        except Exception:
            number = errno.EIO
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
                raise pyfuse3.FUSEError(errno.ENOENT)
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
        attributes, timeout_s = self._fs.getattr(InodeNumber(inode))
        return _attributes(attributes, timeout_s, timeout_s)

    @_handler
    async def opendir(self, inode: int, ctx: object) -> int:
        """OPENDIR: the inode number is handle enough, because positions say where they belong."""
        return inode

    @_handler
    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        """READDIRPLUS: hand out entries until the kernel's buffer is full."""
        inode = InodeNumber(fh)
        try:
            entries = self._fs.read_directory(inode, start_id, may_block=False)
        except WouldBlockError:
            entries = await self._raw.run(
                "readdir", fh, lambda: self._fs.read_directory(inode, start_id, may_block=True)
            )
        given = []
        for listed in entries:
            if not pyfuse3.readdir_reply(token, listed.name, _entry(listed.entry), listed.next_position):
                break
            if listed.counted:
                given.append(listed.entry.node)
        self._fs.inodes.remember_all(given)

    @_handler
    async def releasedir(self, fh: int) -> None:
        """RELEASEDIR."""

    @_handler
    async def open(self, inode: int, flags: int, ctx: object) -> pyfuse3.FileInfo:
        """OPEN; the client's flags stay here, the mount is read-only."""
        if flags & os.O_ACCMODE != os.O_RDONLY:  # somebody remounted for writing
            raise pyfuse3.FUSEError(errno.EROFS)
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
        """FLUSH: nothing is ever written; ENOSYS makes the kernel stop asking (fs/fuse/file.c, fuse_flush)."""
        raise pyfuse3.FUSEError(errno.ENOSYS)

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
        """STATFS: no blocks of our own, one file per partition."""
        data = pyfuse3.StatvfsData()
        data.f_bsize = data.f_frsize = IO_BYTES
        data.f_blocks = data.f_bfree = data.f_bavail = 0
        data.f_files = self._fs.in_force.catalog.partitions
        data.f_ffree = data.f_favail = 0
        data.f_namemax = NAME_MAX
        return data

    @_handler
    async def getxattr(self, inode: int, name: bytes, ctx: object) -> bytes:
        """GETXATTR."""
        return self._fs.getxattr(InodeNumber(inode), name)

    @_handler
    async def listxattr(self, inode: int, ctx: object) -> Sequence[bytes]:
        """LISTXATTR."""
        return self._fs.listxattr(InodeNumber(inode))

    @_handler
    async def access(self, inode: int, mode: int, ctx: object) -> bool:
        """ACCESS: the kernel decides by mode and owner (`default_permissions`)."""
        raise pyfuse3.FUSEError(errno.ENOSYS)


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


class Pyfuse3Engine:
    """One mount served by pyfuse3."""

    name = "pyfuse3"
    reads = "opened"
    reads_reason = "pyfuse3 knows no other way"

    def __init__(self, filesystem: Filesystem, raw_calls: RawCalls) -> None:
        self._raw_calls = raw_calls
        self._operations = Operations(filesystem, self._raw_calls)

    @property
    def requests(self) -> Counter[str]:
        """How often the kernel asked, by operation."""
        return self._operations.tally.requests()

    @property
    def errors(self) -> Counter[str]:
        """How often the answer was an error, by errno name."""
        return self._operations.tally.errors_by_errno()

    @property
    def errors_by_operation(self) -> Counter[tuple[str, str]]:
        """The same by operation and errno name."""
        return self._operations.tally.errors.copy()

    @property
    def durations(self) -> Mapping[str, Durations]:
        """How long requests took from being handed over to being answered, by operation."""
        return dict(self._operations.tally.durations)

    @property
    def fallbacks(self) -> Counter[str]:
        """Nothing: the kernel is never asked to read a raw file itself."""
        return Counter()

    def mount(self, mountpoint: str, options: Sequence[str]) -> None:
        """Mount; raise `FuseError` if the kernel or the mount helper refuses."""
        said: list[str] = []
        try:
            with _captured_stderr(said):
                pyfuse3.init(self._operations, mountpoint, set(options))
        except RuntimeError as error:
            reason = escape_text("; ".join(said) or str(error))
            raise FuseError(
                f"mount point {escape_text(mountpoint)}: the mount was refused: {reason}",
                "mend what it names, or mount as root",
            ) from error

    async def serve(self) -> None:
        """Answer requests until the mount is gone."""
        with _interrupted_reads():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._make_room)
                await pyfuse3.main(max_tasks=MAX_TASKS)
                nursery.cancel_scope.cancel()

    async def _make_room(self) -> None:
        while True:
            await trio.sleep(TICK_S)
            self._raw_calls.make_room()

    async def wait_served(self, ended: trio.Event) -> None:
        """Return once the kernel's INIT was answered; raise `FuseError` if the mount ends before."""
        async with trio.open_nursery() as nursery:

            async def give_up_when_ended() -> None:
                await ended.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(give_up_when_ended)
            await self._operations.served.wait()
            nursery.cancel_scope.cancel()
        if not self._operations.served.is_set():
            raise FuseError("the mount was taken away before it was served", "mount again")

    def raw_waits_s(self) -> Sequence[float]:
        """For how many seconds each request that waits for the raw store has waited."""
        return self._raw_calls.waits_s()

    def stuck_calls(self, seconds: float) -> Sequence[RawCall]:
        """Return requests that have waited for the raw store for longer than that."""
        return self._raw_calls.waiting_longer_than(seconds)

    def stop_serving(self) -> None:
        """Make `serve` return although the mount is still in use; requests that wait for the raw store get EIO."""
        self._raw_calls.give_up()
        pyfuse3.terminate()

    def close(self) -> None:
        """Free the session; the mount must be gone or detached before, no notification may be under way."""
        pyfuse3.close(unmount=False)


@contextmanager
def _interrupted_reads() -> Iterator[None]:
    """Interrupt the main thread now and then.

    pyfuse3 waits until a request is there and then reads it with a call that blocks, holding the interpreter. If the
    request is gone by then, because its client was killed, everything would stand still until the next one comes. A
    signal ends such a read with EINTR, and pyfuse3 waits again.
    """
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, READ_INTERRUPT_S, READ_INTERRUPT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _captured_stderr(lines: list[str]) -> Iterator[None]:
    """Collect what libfuse and the mount helper print on descriptor 2: the only place where they say what is wrong."""
    kept = os.dup(2)
    with os.fdopen(os.memfd_create("stderr"), "r+b") as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            captured.seek(0)
            lines.extend(line.decode("utf-8", "backslashreplace").strip() for line in captured if line.strip())


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
