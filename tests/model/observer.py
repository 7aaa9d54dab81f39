"""The reading side of a model test: system calls whose failures are answers, and listings read in small pieces."""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Callable
from typing import Final, TypeVar

from tests.model.reference import Answer, Seen

T = TypeVar("T")

_GETDENTS: Final = ctypes.CDLL(None, use_errno=True).getdents64
_GETDENTS.restype = ctypes.c_ssize_t
_GETDENTS.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)


def attempt(call: Callable[[], T]) -> T | int:
    """Return what a call returns, or the errno with which it failed."""
    try:
        return call()
    except OSError as error:
        assert error.errno is not None
        return error.errno


def open_file(path: bytes, flags: int = os.O_RDONLY) -> tuple[int | None, int]:
    """Return a descriptor and 0, or None and the errno."""
    try:
        return os.open(path, flags), 0
    except OSError as error:
        assert error.errno is not None
        return None, error.errno


def look(path: bytes, directory: int | None = None) -> Answer:
    """Return what stat(2) shows of a name, by path or below an open directory."""
    return attempt(lambda: seen(os.stat(path, dir_fd=directory, follow_symlinks=False)))


def seen(found: os.stat_result) -> Seen:
    """Return what of a stat result the model knows; check what holds for every node (V9)."""
    is_directory = stat.S_ISDIR(found.st_mode)
    assert is_directory or stat.S_ISREG(found.st_mode)
    assert found.st_mode & 0o7777 == (0o555 if is_directory else 0o444)
    assert found.st_nlink == 1
    assert found.st_atime_ns == found.st_mtime_ns
    assert found.st_blocks == -(-found.st_size // 512)
    return Seen(is_directory, found.st_size, found.st_mtime_ns, found.st_ino)


def read_whole(path: bytes, directory: int | None = None) -> bytes | int:
    """Return a file's bytes, or the errno of the open or read that failed."""

    def read() -> bytes:
        descriptor = os.open(path, os.O_RDONLY, dir_fd=directory)
        try:
            return b"".join(iter(lambda: os.read(descriptor, 1 << 20), b""))
        finally:
            os.close(descriptor)

    return attempt(read)


def list_whole(target: bytes | int) -> dict[bytes, int] | int:
    """Return a directory's names with their inode numbers as the listing gives them, or the errno.

    A descriptor is read from its beginning.
    """
    if isinstance(target, int):
        os.lseek(target, 0, os.SEEK_SET)
        return attempt(lambda: PartialListing(target).rest())

    def list_path() -> dict[bytes, int]:
        descriptor = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return PartialListing(descriptor).rest()
        finally:
            os.close(descriptor)

    return attempt(list_path)


class PartialListing:
    """One pass over an open directory, a few names at a time (getdents64(2) with a small buffer)."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.names: dict[bytes, int] = {}
        self.is_done = False

    def rewind(self) -> None:
        """Begin a new pass."""
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self.names = {}
        self.is_done = False

    def read_some(self, size: int = 160) -> None:
        """Read as many names as fit into so many bytes; raise `OSError`, or `AssertionError` on a name read twice."""
        buffer = ctypes.create_string_buffer(size)
        length = _GETDENTS(self._descriptor, buffer, size)
        if length < 0:
            raise OSError(ctypes.get_errno(), "getdents64")
        self.is_done = length == 0
        data, offset = buffer.raw[:length], 0
        while offset < length:
            # struct linux_dirent64: d_ino, d_off, d_reclen, d_type, d_name
            inode, _, record = struct.unpack_from("=QqH", data, offset)
            name = data[offset + 19 : offset + record].split(b"\0", 1)[0]
            assert name not in self.names, f"{name!r} was listed twice in one pass"
            if name not in (b".", b".."):
                self.names[name] = inode
            offset += record

    def rest(self) -> dict[bytes, int]:
        """Read to the end and return all names."""
        while not self.is_done:
            self.read_some(32768)
        return self.names
