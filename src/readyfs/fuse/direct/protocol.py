"""The FUSE kernel protocol, as far as a read-only filesystem speaks it.

Structures and constants carry their names from include/uapi/linux/fuse.h (protocol 7.45). Everything is in the
machine's byte order; the kernel pads nothing that is not written out here. Pure packing: no I/O.
"""

from __future__ import annotations

import struct
from enum import IntEnum, IntFlag
from typing import Final, NamedTuple, TypeAlias

KERNEL_VERSION: Final = 7
MINOR_VERSION: Final = 45
MINOR_WITH_EPOCH: Final = 44
"""The first that knows FUSE_NOTIFY_INC_EPOCH (Linux 6.16)."""

Buffer: TypeAlias = bytes | bytearray | memoryview


class Opcode(IntEnum):
    """enum fuse_opcode: the requests that a read-only mount answers with something better than ENOSYS."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    READLINK = 5
    OPEN = 14
    READ = 15
    STATFS = 17
    RELEASE = 18
    GETXATTR = 22
    LISTXATTR = 23
    INIT = 26
    INTERRUPT = 36
    DESTROY = 38
    IOCTL = 39
    BATCH_FORGET = 42
    READDIRPLUS = 44


class InitFlag(IntFlag):
    """FUSE_* flags of INIT, `flags` and `flags2` as one 64-bit word."""

    ASYNC_READ = 1 << 0
    AUTO_INVAL_DATA = 1 << 12
    DO_READDIRPLUS = 1 << 13
    NO_OPEN_SUPPORT = 1 << 17
    PARALLEL_DIROPS = 1 << 18
    MAX_PAGES = 1 << 22
    NO_OPENDIR_SUPPORT = 1 << 24
    INIT_EXT = 1 << 30
    PASSTHROUGH = 1 << 37
    ALLOW_IDMAP = 1 << 40


class OpenFlag(IntFlag):
    """FOPEN_* flags of an open's answer."""

    KEEP_CACHE = 1 << 1
    PASSTHROUGH = 1 << 7


class Notify(IntEnum):
    """enum fuse_notify_code: what a daemon tells the kernel unasked."""

    INVAL_INODE = 2
    INVAL_ENTRY = 3
    STORE = 4
    INC_EPOCH = 8


class InitIn(NamedTuple):
    """struct fuse_init_in, without what is unused."""

    major: int
    minor: int
    max_readahead: int
    flags: int
    flags2: int


IN_HEADER: Final = struct.Struct("=IIQQIIIHH")  # len, opcode, unique, nodeid, uid, gid, pid, total_extlen, padding
OUT_HEADER: Final = struct.Struct("=IiQ")
INIT_IN: Final = struct.Struct("=IIIII44x")
INIT_OUT: Final = struct.Struct("=IIIIHHIIHHIIH22x")
ATTR_OUT: Final = struct.Struct("=QIIQQQQQQIIIIIIIIII")  # fuse_attr_out with its fuse_attr
ENTRY_OUT: Final = struct.Struct("=QQQQIIQQQQQQIIIIIIIIII")  # fuse_entry_out with its fuse_attr
DIRENT: Final = struct.Struct("=QQII")  # a name follows, padded to 8 bytes; in READDIRPLUS a fuse_entry_out precedes
OPEN_IN: Final = struct.Struct("=II")  # the flags of open(2), open_flags
OPEN_OUT: Final = struct.Struct("=QIi")
HANDLE: Final = struct.Struct("=Q")  # with which fuse_read_in, fuse_release_in and fuse_open_out begin
READ_IN: Final = struct.Struct("=QQIIQII")  # fh, offset, size, read_flags, lock_owner, flags, padding
RELEASE_IN: Final = struct.Struct("=QIIQ")
STATFS_OUT: Final = struct.Struct("=QQQQQIIII24x")
GETXATTR_IN: Final = struct.Struct("=II")
GETXATTR_OUT: Final = struct.Struct("=II")
FORGET_IN: Final = struct.Struct("=Q")
BATCH_FORGET_IN: Final = struct.Struct("=II")
FORGET_ONE: Final = struct.Struct("=QQ")
INTERRUPT_IN: Final = struct.Struct("=Q")
NOTIFY_INVAL_INODE_OUT: Final = struct.Struct("=Qqq")
NOTIFY_INVAL_ENTRY_OUT: Final = struct.Struct("=QII")
NOTIFY_STORE_OUT: Final = struct.Struct("=QQII")
BACKING_MAP: Final = struct.Struct("=iIQ")
BACKING_ID: Final = struct.Struct("=I")

_BODY_BYTES: Final[dict[int, int]] = {
    Opcode.FORGET: FORGET_IN.size,
    Opcode.OPEN: OPEN_IN.size,
    Opcode.READ: READ_IN.size,
    Opcode.READDIRPLUS: READ_IN.size,
    Opcode.RELEASE: RELEASE_IN.size,
    Opcode.GETXATTR: GETXATTR_IN.size + 2,
    Opcode.LISTXATTR: GETXATTR_IN.size,
    Opcode.LOOKUP: 2,
    Opcode.BATCH_FORGET: BATCH_FORGET_IN.size,
    Opcode.INTERRUPT: INTERRUPT_IN.size,
}


def _write_ioctl(number: int, size: int) -> int:
    """Return an ioctl number of FUSE_DEV_IOC_MAGIC (include/uapi/asm-generic/ioctl.h)."""
    return 1 << 30 | size << 16 | 229 << 8 | number


IOC_BACKING_OPEN: Final = _write_ioctl(1, BACKING_MAP.size)
IOC_BACKING_CLOSE: Final = _write_ioctl(2, BACKING_ID.size)

NO_ANSWER: Final = frozenset({Opcode.FORGET, Opcode.BATCH_FORGET})
CHANGES: Final = frozenset({4, 6, 8, 9, 10, 11, 12, 13, 16, 21, 24, 35, 43, 45, 47, 51})
"""What would change something, from SETATTR to TMPFILE: sent only after somebody remounted for writing."""
MIN_READ_BUFFER: Final = 8192
"""FUSE_MIN_READ_BUFFER: the least that a read of the device must offer, and enough where nothing is written."""


def is_complete(opcode: int, length: int, received: int) -> bool:
    """Whether a request is as long in bytes as its header says, and long enough for its opcode."""
    return length == received and received - IN_HEADER.size >= _BODY_BYTES.get(opcode, 0)


def reply(unique: int, body: bytes = b"") -> bytes:
    """Return an answer whose body is small enough to be copied."""
    return OUT_HEADER.pack(OUT_HEADER.size + len(body), 0, unique) + body


def reply_header(unique: int, body_bytes: int) -> bytes:
    """Return the header of an answer whose body is sent beside it."""
    return OUT_HEADER.pack(OUT_HEADER.size + body_bytes, 0, unique)


def reply_error(unique: int, number: int) -> bytes:
    """Return an answer that is an errno."""
    return OUT_HEADER.pack(OUT_HEADER.size, -number, unique)


def notification(code: Notify, body: bytes = b"", data_bytes: int = 0) -> bytes:
    """Return a message that answers no request: the code stands where an answer has its error.

    So many bytes of data are sent beside it.
    """
    return OUT_HEADER.pack(OUT_HEADER.size + len(body) + data_bytes, code, 0) + body
