"""Program: mount a directory of files, read-only, on a filesystem whose locks can be made to fail.

Arguments: the mount point and the directory. While that holds a file `locks`, each lock fails with the errno whose name
is in it, or each that begins at the byte whose number follows; else it is granted. Says "ready" once it is mounted, and
ends when it is unmounted. It speaks the kernel's protocol itself (linux/fuse.h), because no library passes on the locks
of fcntl(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import sys
from enum import IntEnum
from pathlib import Path

POSIX_LOCKS = 1 << 1
ROOT = 1
HEADER = struct.Struct("=IIQQIIIHH")
LOCK_IN = struct.Struct("=3Q")
READ_IN = struct.Struct("=QQI")


class Op(IntEnum):
    """Operations of the kernel (enum fuse_opcode)."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    OPEN = 14
    READ = 15
    RELEASE = 18
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    RELEASEDIR = 29
    GETLK = 31
    SETLK = 32
    SETLKW = 33
    INTERRUPT = 36
    BATCH_FORGET = 42


class Lockless:
    """The files of one directory by inode number."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.paths = {ROOT: directory}

    def attributes(self, inode: int) -> bytes:
        status = self.paths[inode].stat()
        seconds, rest = divmod(status.st_mtime_ns, 10**9)
        kind = stat.S_IFDIR | 0o755 if inode == ROOT else stat.S_IFREG | 0o444
        times = (seconds,) * 3 + (rest,) * 3
        return struct.pack("=6Q10I", inode, status.st_size, 0, *times, kind, 1, 0, 0, 0, 4096, 0)

    def answer(self, operation: int, inode: int, body: bytes) -> bytes:
        """Return the body of a reply; raise `OSError` for an error."""
        match operation:
            case Op.INIT:
                return struct.pack("=4I2H2I2HI28x", 7, 31, 65536, POSIX_LOCKS, 12, 9, 65536, 1, 32, 0, 0)
            case Op.LOOKUP:
                path = self.directory / os.fsdecode(body.rstrip(b"\0"))
                found = path.stat().st_ino + ROOT
                self.paths[found] = path
                return struct.pack("=4Q2I", found, 0, 0, 0, 0, 0) + self.attributes(found)
            case Op.GETATTR:
                return struct.pack("=Q2I", 0, 0, 0) + self.attributes(inode)
            case Op.OPEN | Op.OPENDIR:
                return struct.pack("=QIi", 0, 0, 0)
            case Op.READ:
                _, offset, size = READ_IN.unpack_from(body)
                with self.paths[inode].open("rb") as file:
                    return os.pread(file.fileno(), size, offset)
            case Op.GETLK | Op.SETLK | Op.SETLKW:
                self.refuse_lock(*LOCK_IN.unpack_from(body))
                return struct.pack("=2Q2I", 0, 0, 2, 0) if operation == Op.GETLK else b""
            case Op.RELEASE | Op.FLUSH | Op.RELEASEDIR:
                return b""
        raise OSError(errno.ENOSYS, "")

    def refuse_lock(self, handle: int, owner: int, first: int) -> None:
        order = self.directory / "locks"
        if order.exists():
            name, _, byte = order.read_text().partition(" ")
            if not byte or int(byte) == first:
                raise OSError(getattr(errno, name), "")


def main(mountpoint: str, directory: str) -> None:
    """Do as the module says."""
    files = Lockless(Path(directory))
    device = os.open("/dev/fuse", os.O_RDWR)
    libc = ctypes.CDLL(None, use_errno=True)
    data = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    if libc.mount(b"lockless", os.fsencode(mountpoint), b"fuse", ctypes.c_ulong(0), data) != 0:
        raise OSError(ctypes.get_errno(), "mount")
    print("ready", flush=True)
    while True:
        try:
            request = os.read(device, 1 << 18)
        except OSError as error:
            if error.errno == errno.ENODEV:
                return
            raise
        _, operation, unique, inode, *_ = HEADER.unpack_from(request)
        if operation in (Op.FORGET, Op.BATCH_FORGET, Op.INTERRUPT):
            continue
        code, body = 0, b""
        try:
            body = files.answer(operation, inode, request[HEADER.size :])
        except OSError as error:
            code = error.errno or errno.EIO
        os.write(device, struct.pack("=IiQ", 16 + len(body), -code, unique) + body)


if __name__ == "__main__":
    main(*sys.argv[1:])
