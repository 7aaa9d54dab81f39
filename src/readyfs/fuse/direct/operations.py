"""The handler of each request: its body taken apart, the filesystem asked, the answer packed."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType
from typing import Final, NamedTuple, TypeAlias

from readyfs import native
from readyfs.fuse.direct.in_flight import Request
from readyfs.fuse.direct.listings import Ends, Listings
from readyfs.fuse.direct.protocol import (
    BATCH_FORGET_IN,
    FORGET_IN,
    FORGET_ONE,
    GETXATTR_IN,
    GETXATTR_OUT,
    OPEN_IN,
    READ_IN,
    RELEASE_IN,
    STATFS_OUT,
    Buffer,
    Opcode,
)
from readyfs.fuse.direct.reads import Reads
from readyfs.fuse.direct.replies import PackEntry, attr_out, entry_out, negative_out, pack_listing
from readyfs.fuse.errno_table import ABSENT, NO_IOCTL, READ_ONLY, VALUE_TOO_LONG
from readyfs.vfs.attributes import NegativeEntry
from readyfs.vfs.capacity import CAPACITY
from readyfs.vfs.filesystem import Filesystem
from readyfs.vfs.inode_number import InodeNumber


class Answer(NamedTuple):
    """The body of an answer, and what takes back its promises (lookup counts, opens) if nobody received it."""

    body: Buffer = b""
    undo: Callable[[], None] | None = None


Handler: TypeAlias = Callable[[Request, bool], Answer]


class Operations:
    """The handlers by opcode.

    A handler is given the request and whether it may wait for the raw store. It raises `WouldBlockError` if it must
    and may not, a `FilesystemError` or an `OSError` for an errno. Answers are packed by the `compiled` module, if any.
    """

    def __init__(
        self,
        filesystem: Filesystem,
        reads: Reads,
        drop_listing: Callable[[InodeNumber], None],
        ends: Ends,
        compiled: ModuleType | None = native.module,
    ) -> None:
        self._fs = filesystem
        self._pack_entry: PackEntry = entry_out if compiled is None else compiled.pack_entry
        self._reads = reads
        pack = pack_listing if compiled is None else compiled.pack_listing
        self._listings = Listings(filesystem, drop_listing, ends, pack)
        self.handlers: Final[dict[int, tuple[str, Handler]]] = {
            Opcode.LOOKUP: ("lookup", self._lookup),
            Opcode.GETATTR: ("getattr", self._getattr),
            Opcode.READLINK: ("readlink", self._readlink),
            Opcode.READDIRPLUS: ("readdir", self._readdirplus),
            Opcode.OPEN: ("open", self._open),
            Opcode.READ: ("read", self._read),
            Opcode.RELEASE: ("release", self._release),
            Opcode.STATFS: ("statfs", self._statfs),
            Opcode.GETXATTR: ("getxattr", self._getxattr),
            Opcode.LISTXATTR: ("listxattr", self._listxattr),
            Opcode.IOCTL: ("ioctl", self._ioctl),
            Opcode.DESTROY: ("destroy", lambda request, may_block: Answer()),
        }

    def must_wait(self, request: Request) -> bool:
        """Whether a request is known to need the raw store: for the first look at a run."""
        if request.opcode == Opcode.LOOKUP or (request.opcode == Opcode.READDIRPLUS and _begins(request.body)):
            return self._fs.must_look(InodeNumber(request.inode))
        return False

    # ---- names --------------------------------------------------------------------------------------------------

    def _lookup(self, request: Request, may_block: bool) -> Answer:
        entry = self._fs.lookup(InodeNumber(request.inode), request.body[:-1], may_block=may_block)
        if isinstance(entry, NegativeEntry):
            if not entry.timeout_s:
                raise OSError(ABSENT, "no such name")
            return Answer(negative_out(entry))
        inode = entry.node.inode
        return Answer(self._pack_entry(entry), lambda: self._fs.forget([(inode, 1)]))

    def forget(self, inode: int, body: bytes) -> None:
        """FORGET, which has no answer."""
        (count,) = FORGET_IN.unpack_from(body)
        self._fs.forget([(InodeNumber(inode), count)])

    def batch_forget(self, body: bytes) -> None:
        """BATCH_FORGET, which has no answer."""
        count, _ = BATCH_FORGET_IN.unpack_from(body)
        end = BATCH_FORGET_IN.size + count * FORGET_ONE.size
        self._fs.forget(FORGET_ONE.iter_unpack(memoryview(body)[BATCH_FORGET_IN.size : end]))

    def _getattr(self, request: Request, may_block: bool) -> Answer:
        return Answer(attr_out(*self._fs.getattr(InodeNumber(request.inode), may_block=may_block)))

    def _readlink(self, request: Request, may_block: bool) -> Answer:
        return Answer(self._fs.readlink(InodeNumber(request.inode)))

    # ---- listings -----------------------------------------------------------------------------------------------

    def _readdirplus(self, request: Request, may_block: bool) -> Answer:
        _, offset, size, _, _, _, _ = READ_IN.unpack_from(request.body)
        body, nodes = self._listings.read(InodeNumber(request.inode), offset, size, may_block)
        return Answer(body, lambda: self._fs.forget([(node.inode, 1) for node in nodes]))

    # ---- files --------------------------------------------------------------------------------------------------

    def _open(self, request: Request, may_block: bool) -> Answer:
        flags, _ = OPEN_IN.unpack_from(request.body)
        if flags & os.O_ACCMODE != os.O_RDONLY:
            # A raw file that the kernel passes through it opens anew, with these flags and our rights.
            raise OSError(READ_ONLY, "nothing can be written")
        return Answer(*self._reads.open(InodeNumber(request.inode), may_block))

    def _read(self, request: Request, may_block: bool) -> Answer:
        handle, offset, size, _, _, _, _ = READ_IN.unpack_from(request.body)
        return Answer(self._reads.read(InodeNumber(request.inode), handle, offset, size, may_block))

    def _release(self, request: Request, may_block: bool) -> Answer:
        handle, _, _, _ = RELEASE_IN.unpack_from(request.body)
        self._reads.release(InodeNumber(request.inode), handle, may_block)
        return Answer()

    def _ioctl(self, request: Request, may_block: bool) -> Answer:
        raise OSError(NO_IOCTL, "no ioctl is known")

    # ---- the rest -----------------------------------------------------------------------------------------------

    def _statfs(self, request: Request, may_block: bool) -> Answer:
        return Answer(STATFS_OUT.pack(*CAPACITY, 0))

    def _getxattr(self, request: Request, may_block: bool) -> Answer:
        size, _ = GETXATTR_IN.unpack_from(request.body)
        name = request.body[GETXATTR_IN.size : -1]
        return _xattr_answer(self._fs.getxattr(InodeNumber(request.inode), name, may_block=may_block), size)

    def _listxattr(self, request: Request, may_block: bool) -> Answer:
        size, _ = GETXATTR_IN.unpack_from(request.body)
        names = self._fs.listxattr(InodeNumber(request.inode), may_block=may_block)
        return _xattr_answer(b"".join(name + b"\0" for name in names), size)


def _begins(body: bytes) -> bool:
    """Whether a READDIRPLUS is the first of its pass: what lies behind the end of a listing needs no look."""
    return not any(body[8:16])  # the offset


def _xattr_answer(value: bytes, size: int) -> Answer:
    """Answer as getxattr(2) does: a size of 0 asks for the length."""
    if not size:
        return Answer(GETXATTR_OUT.pack(len(value), 0))
    if len(value) > size:
        raise OSError(VALUE_TOO_LONG, "the value is longer")
    return Answer(value)
