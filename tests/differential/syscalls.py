"""System calls that Python does not offer, or hides behind checks of its own: thin, with the errno of the kernel."""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

AT_FDCWD: Final = -100
AT_SYMLINK_NOFOLLOW: Final = 0x100
AT_EACCESS: Final = 0x200
AT_EMPTY_PATH: Final = 0x1000
AT_STATX_FORCE_SYNC: Final = 0x2000
AT_STATX_DONT_SYNC: Final = 0x4000
STATX_BASIC_STATS: Final = 0x7FF
STATX_ALL: Final = 0xFFF

_DIRENT: Final = struct.Struct("=QqHB")
_STATX: Final = struct.Struct("=IIQIIIHxxQQQQ")
_STATX_TIME: Final = struct.Struct("=qIxxxx")
_MAP_FAILED: Final = ctypes.c_void_p(-1).value
_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int),
    ctypes.c_int64,
]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.memcpy.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t]
_libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
_libc.getxattr.restype = _libc.pread.restype = _libc.copy_file_range.restype = ctypes.c_ssize_t


def call(name: str, *arguments: object) -> int:
    """Call a function of the C library; a result of -1 is raised as `OSError`."""
    converted = [os.fsencode(one) if isinstance(one, str) else one for one in arguments]
    result: int = getattr(_libc, name)(*converted)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


class Dirent(NamedTuple):
    """One record of getdents64(2)."""

    name: str
    inode: int
    kind: int
    position: int


def read_directory(fd: int, size: int) -> list[Dirent]:
    """Return the records of one getdents64(2) with a buffer of that size; none means the end."""
    buffer = ctypes.create_string_buffer(size)
    filled = call("getdents64", ctypes.c_int(fd), buffer, ctypes.c_size_t(size))
    return list(_records(buffer.raw[:filled]))


def _records(data: bytes) -> Iterator[Dirent]:
    offset = 0
    while offset < len(data):
        inode, position, length, kind = _DIRENT.unpack_from(data, offset)
        name = data[offset + _DIRENT.size : offset + length].split(b"\0", 1)[0]
        yield Dirent(os.fsdecode(name), inode, kind, position)
        offset += length


class Statx(NamedTuple):
    """What statx(2) fills in, as far as it is compared; times in nanoseconds."""

    mask: int
    block_size: int
    attributes: int
    links: int
    uid: int
    gid: int
    mode: int
    inode: int
    size: int
    blocks: int
    atime_ns: int
    ctime_ns: int
    mtime_ns: int


def ask_statx(path: str, flags: int, mask: int, directory: int = AT_FDCWD) -> Statx:
    """Ask the kernel by statx(2) what is at a path."""
    buffer = ctypes.create_string_buffer(256)
    call("statx", directory, path, flags, ctypes.c_uint(mask), buffer)
    fixed = _STATX.unpack_from(buffer.raw)
    times = [_STATX_TIME.unpack_from(buffer.raw, offset) for offset in (64, 96, 112)]
    return Statx(*fixed[:-1], *(seconds * 10**9 + rest for seconds, rest in times))


def access(path: str, mode: int, flags: int = 0) -> int:
    """Check by faccessat(2), which `os.access` turns into a truth value without the errno."""
    return call("faccessat", AT_FDCWD, path, mode, flags)


def pread_whole_pages(fd: int, size: int, offset: int) -> bytes:
    """Read into memory that begins at a page, as O_DIRECT wants it, whole pages from the start of a page."""
    start, end = offset // mmap.PAGESIZE * mmap.PAGESIZE, -(-(offset + size) // mmap.PAGESIZE) * mmap.PAGESIZE
    with mmap.mmap(-1, end - start + mmap.PAGESIZE) as buffer, memoryview(buffer)[: end - start] as view:
        filled = os.preadv(fd, [view], start)
        return bytes(view[:filled])


def pread_odd_memory(fd: int, size: int, offset: int) -> bytes:
    """Read into memory that begins at an odd address."""
    buffer = ctypes.create_string_buffer(size + 2)
    odd = ctypes.addressof(buffer) | 1
    filled = call("pread", fd, ctypes.c_void_p(odd), ctypes.c_size_t(size), ctypes.c_int64(offset))
    return ctypes.string_at(odd, filled)


def read_mapped(fd: int, size: int, offset: int, flags: int, protection: int, *, write: bool = False) -> bytes:
    """Map a file from the page of `offset` on and return up to `size` bytes, not beyond its last page.

    What lies behind the end of the file in its last page comes too. `write` puts a byte first. The C library reads
    the memory, without the interpreter's lock, so that a page that never comes holds up one thread only.
    """
    start = offset // mmap.PAGESIZE * mmap.PAGESIZE
    end_of_file = -(-os.fstat(fd).st_size // mmap.PAGESIZE) * mmap.PAGESIZE
    length = max(mmap.PAGESIZE, size)
    address = _libc.mmap(None, length, protection, flags, fd, start)
    if address == _MAP_FAILED:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    try:
        readable = min(length, max(0, end_of_file - start))
        if write and readable:
            _libc.memset(address, ord("#"), 1)
        buffer = ctypes.create_string_buffer(readable + 1)
        _libc.memcpy(buffer, address, readable)
        return buffer.raw[:readable]
    finally:
        _libc.munmap(address, length)
